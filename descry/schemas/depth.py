"""What the `depth` stage writes: where in depth each descriptor lives."""

from descry.storage.schema import TableSchema

DEPTH_TABLE = TableSchema(
    "depth",
    {
        "descriptor": "string",
        "neurons": "int32",
        **dict.fromkeys(("depth", "expected", "low", "high", "p", "q", "validation_depth"), "double"),
    },
)
