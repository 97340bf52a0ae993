"""Written by the `evaluate` stage, besides measures: gold aspects, and the descriptors of their sentences."""

from descry.storage.schema import TableSchema

ASPECT_TABLE = TableSchema(
    "aspects",
    {
        "aspect": "string",
        "descriptor": "string",
        "average_precision": "double",
        "chance": "double",
        "f1": "double",
        "prevalence": "double",
        "sentences": "int32",
    },
)
CONFUSION_TABLE = TableSchema("confusion", {"aspect": "string", "descriptor": "string", "sentences": "int32"})
