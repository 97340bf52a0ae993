"""Written by the `depth` stage: the mean relative depth of each descriptor's neurons."""

from descry.storage.schema import TableSchema

DEPTH_TABLE = TableSchema(
    "depth",
    {
        "descriptor": "string",
        "neurons": "int32",
        **dict.fromkeys(("depth", "expected", "low", "high", "p", "q", "validation_depth"), "double"),
    },
)
