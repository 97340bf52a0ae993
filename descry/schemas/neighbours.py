"""Written by the `neighbours` stage: neurons that share exemplars."""

from descry.storage.schema import ArraySchema

NEIGHBOUR_ARRAYS = ArraySchema(
    "neighbours",
    {
        "neuron": ("int32", ("neurons", "nearest")),
        "shared": ("int16", ("neurons", "nearest")),
        "elsewhere": ("int16", ("neurons", "nearest")),
        "sizes": ("int16", ("neurons", "splits")),
    },
)
