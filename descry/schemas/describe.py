"""Written by the `describe` stage: what a language model wrote of units and of descriptors, and the candidate that was
kept of each."""

from descry.storage.schema import TableSchema

UNIT = ("layer", "index")
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
GLOSS_TABLE = TableSchema("glosses", {name: kind for name, kind in WRITTEN_TABLE.columns.items() if name not in UNIT})
"""A description of a descriptor. In both tables all AUROC are of held-back calibration sentences: how well the
text, and the descriptor's name, tell those on which the unit fires, or that have the descriptor."""
