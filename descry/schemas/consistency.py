"""Written by the `consistency` stage, besides measures: histograms of p values."""

from descry.storage.schema import TableSchema

P_VALUE_TABLE = TableSchema("p_values", {"split": "string", "labels": "string", "p": "double", "share": "double"})
