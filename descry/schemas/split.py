"""What the `split` stage writes: sentences, and gold aspects apart from them."""

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
