"""label: which descriptors apply to which sentence of both splits."""

from descry import artifacts
from descry.clustering import Descriptor
from descry.embedding import Embedder
from descry.labelling.embedding import EmbeddingLabeller
from descry.settings import Label, Runtime
from stages import _stage


def main() -> None:
    settings, runtime = _stage.settings(Label), _stage.settings(Runtime)
    calibration, validation = (
        artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences") for split in _stage.SPLITS
    )
    candidates = artifacts.read_table(_stage.CANDIDATES, "candidates")
    descriptors = [
        Descriptor(entry["name"], tuple(entry["members"]), entry["sentences"])
        for entry in artifacts.read_json(_stage.DESCRIPTORS)["descriptors"]
    ]
    labeller = EmbeddingLabeller(Embedder(_stage.MODELS / "embedder", runtime.device), **settings.model_dump())
    found = labeller.labels(calibration, [validation], candidates, descriptors)
    meta = {"descriptors": [descriptor.name for descriptor in descriptors]}
    for split, labels in zip(_stage.SPLITS, found, strict=True):
        artifacts.write_arrays(_stage.LABELS / f"{split}.safetensors", vars(labels), "labels", meta)
        print(f"{split}: {(labels.labels == 1).sum(axis=1).mean():.2f} labels a sentence")


if __name__ == "__main__":
    _stage.run(main)
