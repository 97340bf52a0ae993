"""Written by the `describe` stage: what a language model wrote of units, and the candidate that was kept of each."""

from descry.storage.schema import TableSchema

WRITTEN_TABLE = TableSchema(
    "written",
    {
        "layer": "int16",
        "index": "int32",
        "description": "string",
        "auroc": "double",
        "descriptor": "string",
        "descriptor_auroc": "double",
        "candidates": "list<element: string>",
        "candidate_aurocs": "list<element: double>",
    },
)
"""All AUROC are of held-back calibration sentences."""
