"""label: which descriptors apply to which sentence of both splits, according to one labeller."""

import sys

from descry.results import layout
from descry.schemas.label import AGREEMENT_TABLE, LABEL_ARRAYS
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.llms import Llms
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.settings.text import Label
from descry.splits import SPLITS
from descry.storage.arrays import write_arrays
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.labelling import Labelling, read_vocabulary


def main() -> None:
    opinion = sys.argv[1]
    settings = read_settings(Label)
    name = settings.labeller if opinion == "first" else settings.second
    labelling = Labelling(
        settings,
        read_settings(Llms),
        read_settings(Asking),
        read_settings(Sharding),
        read_settings(Runtime),
    )
    tables = [read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE) for split in SPLITS]
    descriptors = read_vocabulary()
    meta = {"descriptors": [descriptor.name for descriptor in descriptors], "labeller": name}
    with labelling.label(name, f"label-{opinion}", tables, descriptors) as labelled:
        if labelled.taught is not None:
            write_table(layout.LABELS / opinion / "agreement.parquet", labelled.taught, AGREEMENT_TABLE)
        for split, labels in zip(SPLITS, labelled.tables, strict=True):
            write_arrays(layout.LABELS / opinion / f"{split}.safetensors", vars(labels), LABEL_ARRAYS, meta)
            missing = (labels.labels < 0).mean()
            print(
                f"{name}, {split}: {(labels.labels == 1).sum(axis=1).mean():.2f} labels a sentence"
                + (f", {100 * missing:.2f} % of all missing" if missing else "")
            )


if __name__ == "__main__":
    run_stage(main)
