"""Written by the `judge` stage, besides measures: every described unit's description and its scores."""

from descry.storage.schema import TableSchema

JUDGED_TABLE = TableSchema(
    "judged",
    {
        "whose": "string",
        "layer": "int16",
        "index": "int32",
        "description": "string",
        "descriptor": "string",
        "first": "double",
        **{
            f"{score}{beside}": "double"
            for score in ("auroc", "average_precision", "correlation", "detection")
            for beside in ("", "_swapped", "_random", "_descriptor")
        },
    },
)
"""whose: `given` (`judge.source`) or `written` (the stage `describe`); the other columns: `descry.judging.judge`."""
