"""Written by the `writes` stage, besides measures: the tokens that every neuron promotes, and assigned pairs."""

from descry.storage.schema import TableSchema

WRITES_TABLE = TableSchema(
    "writes",
    {
        "layer": "int16",
        "index": "int32",
        **{
            f"{which}{suffix}": f"list<element: {kind}>"
            for which in ("promoted", "suppressed")
            for suffix, kind in (("", "string"), ("_logits", "double"))
        },
    },
)
WRITTEN_PAIR_TABLE = TableSchema(
    "written_pairs",
    {"layer": "int16", "index": "int32", "end": "string", "descriptor": "string", "auroc": "double"},
)
