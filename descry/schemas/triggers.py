"""Written by the `triggers` stage: the words that drive every neuron."""

from descry.storage.schema import TableSchema

TRIGGER_TABLE = TableSchema(
    "triggers",
    {
        "layer": "int16",
        "index": "int32",
        "class": "string",
        "validation_class": "string",
        "words": "list<element: string>",
        "shares": "list<element: double>",
        "peak": "double",
        "pattern": "string",
        "pattern_share": "double",
        "validation_count": "int32",
        "validation_sentences": "int32",
        "validation_p": "double",
        "pearson": "double",
    },
)
