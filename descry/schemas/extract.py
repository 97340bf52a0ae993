"""Written by `extract`, `controls` and `transfer`: the record of a pass, and the checkpoint of an unfinished one."""

from descry.storage.schema import ArraySchema

ACTIVATION_ARRAYS = ArraySchema(
    "activations",
    {
        "layer": ("int16", ("neurons",)),
        "index": ("int32", ("neurons",)),
        "values": ("float32", ("neurons", "kept")),
        "rows": ("int32", ("neurons", "kept")),
        "beyond": ("float32", ("neurons",)),
        "mean": ("float32", ("neurons",)),
        "std": ("float32", ("neurons",)),
        "maximum": ("float32", ("neurons",)),
        "probe_rows": ("int32", ("sampled",)),
        "probe": ("float16", ("sampled", "neurons")),
    },
    sparse=("probe",),
)
KEPT_ARRAYS = ArraySchema(
    "kept",
    {
        "layer": ("int16", ("neurons",)),
        "index": ("int32", ("neurons",)),
        "count": ("int64", ("poolings",)),
        "best": ("int64", ("poolings", "neurons", "kept")),
        "sums": ("int64", ("poolings", "two", "neurons")),
        "squares": ("int64", ("poolings", "three", "neurons")),
        "max": ("float32", ("poolings", "neurons")),
        "min": ("float32", ("poolings", "neurons")),
        "probe_rows": ("int32", ("poolings", "sampled")),
        "probe": ("float16", ("poolings", "sampled", "neurons")),
        "seen": ("bool", ("poolings", "sampled")),
    },
)
