"""Written by the `relations` stage: every ordered pair of descriptors."""

from descry.storage.schema import TableSchema

RELATION_TABLE = TableSchema(
    "relations",
    {
        "descriptor": "string",
        "other": "string",
        "sentences": "int32",
        **dict.fromkeys(
            ("bearing", "pmi", "phi", "low", "high", "alike", "seen", "expected", "ratio", "z", "p", "q"), "double"
        ),
        "neurons": "int32",
        "neurons_expected": "double",
    },
)
