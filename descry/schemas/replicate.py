"""Written by the `replicate` stage: descriptors and assigned pairs, tested on the other corpus."""

from descry.storage.schema import TableSchema

TRANSFER_TABLE = TableSchema(
    "transfer",
    {
        "descriptor": "string",
        "prevalence": "double",
        "there_prevalence": "double",
        "pairs": "int32",
        "replication": "double",
        "unassigned": "double",
    },
)
TRANSFER_PAIR_TABLE = TableSchema(
    "transfer_pairs",
    {
        "layer": "int16",
        "index": "int32",
        "descriptor": "string",
        "count": "int32",
        "known": "int32",
        "p": "double",
    },
)
