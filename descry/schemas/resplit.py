"""Written by the `resplit` stage: measures on other splits."""

from descry.storage.schema import TableSchema

RESPLIT_TABLE = TableSchema("resplits", {"neurons": "string", "measure": "string", "split": "int64", "value": "double"})
