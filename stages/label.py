"""label: which descriptors apply to which sentence of both splits, in one labeller's opinion."""

import sys

from descry import artifacts
from descry.settings import Asking, Label, Llms, Runtime, Sharding
from stages import _stage
from stages._labelling import Labelling, vocabulary


def main() -> None:
    opinion = sys.argv[1]
    settings = _stage.settings(Label)
    name = settings.labeller if opinion == "first" else settings.second
    labelling = Labelling(
        settings,
        _stage.settings(Llms),
        _stage.settings(Asking),
        _stage.settings(Sharding),
        _stage.settings(Runtime),
    )
    tables = [artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences") for split in _stage.SPLITS]
    descriptors = vocabulary()
    found, agreed = labelling.labels(name, f"label-{opinion}", tables, descriptors)
    if agreed is not None:
        artifacts.write_table(_stage.LABELS / opinion / "agreement.parquet", agreed, "agreement")
    meta = {"descriptors": [descriptor.name for descriptor in descriptors], "labeller": name}
    for split, labels in zip(_stage.SPLITS, found, strict=True):
        artifacts.write_arrays(_stage.LABELS / opinion / f"{split}.safetensors", vars(labels), "labels", meta)
        missing = (labels.labels < 0).mean()
        print(
            f"{name}, {split}: {(labels.labels == 1).sum(axis=1).mean():.2f} labels a sentence"
            + (f", {100 * missing:.2f} % of all missing" if missing else "")
        )


if __name__ == "__main__":
    _stage.run(main)
