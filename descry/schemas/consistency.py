"""What the `consistency` stage writes besides measures: histograms of p values."""

from descry.storage.schema import TableSchema

P_VALUE_TABLE = TableSchema("p_values", {"split": "string", "labels": "string", "p": "double", "share": "double"})
