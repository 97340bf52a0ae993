"""Written by the `assign` stage: assigned pairs of a neuron and a descriptor."""

from descry.storage.schema import TableSchema

ASSIGNMENT_TABLE = TableSchema(
    "assignments",
    {
        "layer": "int16",
        "index": "int32",
        "descriptor": "string",
        "count": "int32",
        "known": "int32",
        "composition": "double",
        "prevalence": "double",
        "lift": "double",
        "p": "double",
        "q": "double",
        "enrichment_assigned": "bool",
        "enrichment_rank": "int16",
        "composition_assigned": "bool",
        "composition_rank": "int16",
    },
)
