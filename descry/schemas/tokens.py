"""Written by the `tokens` stage: activations on each token of exemplars and of example sentences."""

from descry.storage.schema import ArraySchema

TOKEN_ARRAYS = ArraySchema(
    "tokens",
    {
        "rows": ("int32", ("sentences",)),
        "lengths": ("int32", ("sentences",)),
        "start": ("int32", ("tokens",)),
        "stop": ("int32", ("tokens",)),
        "exemplars": ("int32", ("neurons", "shown")),
        "values": ("float16", ("values",)),
    },
)
EXAMPLE_ARRAYS = ArraySchema(
    "examples",
    {
        "rows": ("int32", ("sentences",)),
        "lengths": ("int32", ("sentences",)),
        "start": ("int32", ("tokens",)),
        "stop": ("int32", ("tokens",)),
        "pooled": ("float32", ("sentences", "neurons")),
        "values": ("float32", ("tokens", "neurons")),
    },
)
