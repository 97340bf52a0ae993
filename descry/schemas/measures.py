"""The table of measures that every measuring stage writes: each measure once for every null beside it."""

from descry.storage.schema import TableSchema

MEASURE_TABLE = TableSchema(
    "measures",
    {
        "measure": "string",
        "null": "string",
        "value": "double",
        "chance": "double",
        "low": "double",
        "high": "double",
        "repeats": "int32",
        "adjusted": "double",
    },
)
