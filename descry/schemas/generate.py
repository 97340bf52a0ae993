"""Written by the `generate` stage: candidates, and the raw answers they were read from."""

from descry.storage.schema import TableSchema

CANDIDATE_TABLE = TableSchema(
    "candidates",
    {
        "row": "int32",
        "candidate": "string",
        "score": "float",
        "rank": "int16",
        "generator": "string",
    },
)
ANSWER_TABLE = TableSchema("answers", {"row": "int32", "generator": "string", "answer": "string"})
