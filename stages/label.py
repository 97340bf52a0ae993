"""label: which descriptors apply to which sentence of both splits, in one labeller's opinion."""

import sys

from descry import artifacts
from descry.clustering import Descriptor
from descry.embedding import Embedder
from descry.labelling import Labeller
from descry.settings import Label, Runtime
from stages import _stage


def _labeller(name: str, settings: Label, runtime: Runtime) -> Labeller:
    if name == "lexical":
        from descry.labelling.lexical import LexicalLabeller

        return LexicalLabeller(**settings.lexical.model_dump())
    from descry.labelling.embedding import EmbeddingLabeller

    return EmbeddingLabeller(Embedder(_stage.MODELS / "embedder", runtime.device), **settings.embedding.model_dump())


def main() -> None:
    opinion = sys.argv[1]
    settings, runtime = _stage.settings(Label), _stage.settings(Runtime)
    name = settings.labeller if opinion == "first" else settings.second
    calibration, validation = (
        artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences") for split in _stage.SPLITS
    )
    candidates = artifacts.read_table(_stage.CANDIDATES, "candidates")
    descriptors = [
        Descriptor(entry["name"], tuple(entry["members"]), entry["sentences"])
        for entry in artifacts.read_json(_stage.DESCRIPTORS)["descriptors"]
    ]
    found = _labeller(name, settings, runtime).labels(calibration, [validation], candidates, descriptors)
    meta = {"descriptors": [descriptor.name for descriptor in descriptors], "labeller": name}
    for split, labels in zip(_stage.SPLITS, found, strict=True):
        artifacts.write_arrays(_stage.LABELS / opinion / f"{split}.safetensors", vars(labels), "labels", meta)
        print(f"{name}, {split}: {(labels.labels == 1).sum(axis=1).mean():.2f} labels a sentence")


if __name__ == "__main__":
    _stage.run(main)
