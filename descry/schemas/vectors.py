"""Embeddings of a shard of texts, kept until the stage that needs them is done."""

from descry.storage.schema import ArraySchema

VECTOR_ARRAYS = ArraySchema("vectors", {"vectors": ("float32", ("texts", "width"))})
