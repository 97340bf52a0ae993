"""Written by the `judge` stage: every judged unit's scores, beside chance."""

from descry.storage.schema import TableSchema

COMPARED = ("", "_swapped", "_random", "_descriptor")
OTHERS = {
    score: tuple(f"{score}{end}" for end in COMPARED)
    for score in ("auroc", "average_precision", "correlation", "detection")
}
"""The columns of each score: the unit's own description, and what it is compared with."""
JUDGED_TABLE = TableSchema(
    "judged",
    {
        "layer": "int16",
        "index": "int32",
        "description": "string",
        "descriptor": "string",
        "first": "double",
        **{column: "double" for columns in OTHERS.values() for column in columns},
    },
)
