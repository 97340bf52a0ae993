"""Written by the `associate` stage: every assigned pair, measured on validation."""

from descry.storage.schema import TableSchema

ASSOCIATION_TABLE = TableSchema(
    "associations",
    {
        "layer": "int16",
        "index": "int32",
        "descriptor": "string",
        "validation_count": "int32",
        "validation_known": "int32",
        "validation_p": "double",
        **{f"{m}{b}": "double" for m in ("pearson", "cosine", "auprc", "f1", "iou") for b in ("", "_low", "_high")},
    },
)
