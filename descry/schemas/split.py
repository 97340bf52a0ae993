"""Written by the `split` stage: sentences, and in a file of their own the gold aspects."""

from descry.storage.schema import TableSchema

SENTENCE_TABLE = TableSchema(
    "sentences",
    {
        "sentence_id": "string",
        "review_id": "string",
        "position": "int32",
        "product": "string",
        "text": "string",
    },
)
GOLD_TABLE = TableSchema("gold", {"sentence_id": "string", "aspects": "list<element: string>"})
