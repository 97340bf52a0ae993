"""Written by the `ablate` stage: the losses with the neurons of each descriptor switched off."""

from descry.storage.schema import TableSchema

ABLATION_TABLE = TableSchema(
    "ablation",
    {
        "descriptor": "string",
        "assigned": "int32",
        "neurons": "int32",
        "auroc": "double",
        "words": "int32",
        **{
            f"{prefix}{name}": "double"
            for prefix in ("", "separation_", "word_")
            for name in (
                *("own", "others", "random_own"),
                *(
                    f"{measure}{bound}"
                    for measure in ("specificity", "random", "above")
                    for bound in ("", "_low", "_high")
                ),
            )
        },
    },
)
