"""Written by every measuring stage: one row for each measure and each null it is compared with."""

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
