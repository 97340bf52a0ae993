"""Written by the `label` stage: labels, and the agreement of a student with its teacher."""

from descry.storage.schema import ArraySchema, TableSchema

AGREEMENT_TABLE = TableSchema(
    "agreement",
    {
        "descriptor": "string",
        "f1": "double",
        "chance": "double",
        "positives": "int32",
        "sentences": "int32",
    },
)
LABEL_ARRAYS = ArraySchema(
    "labels",
    {
        "labels": ("int8", ("sentences", "descriptors")),
        "scores": ("float32", ("sentences", "descriptors")),
    },
)
