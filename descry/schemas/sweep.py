"""Written by the `sweep` stage: measures as a setting varies."""

from descry.storage.schema import TableSchema

SWEEP_TABLE = TableSchema(
    "sweeps",
    {
        "sweep": "string",
        "x": "string",
        "rule": "string",
        "neurons": "string",
        "measure": "string",
        "value": "double",
    },
)
