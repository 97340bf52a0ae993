"""Written by the `relations` stage: every ordered pair of descriptors, and the units of each descriptor."""

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
COFIRING_TABLE = TableSchema(
    "cofiring",
    {
        "descriptor": "string",
        **dict.fromkeys(("units", "compared", "sentences"), "int32"),
        "ratio": "double",
        **dict.fromkeys(("tested", "split", "absorbed"), "int32"),
        "chance": "double",
    },
)
EXCLUSIVE_TABLE = TableSchema(
    "exclusive",
    {
        "descriptor": "string",
        "kind": "string",
        **dict.fromkeys(
            ("layer", "index", "other_layer", "other_index", "sentences", "fired", "other_fired", "both"), "int32"
        ),
        **dict.fromkeys(("expected", "p", "q"), "double"),
    },
)
