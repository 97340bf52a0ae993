"""transfer: another corpus, labelled with the same vocabulary and read by the same target."""

from itertools import chain

from descry import artifacts
from descry.corpus import read_reviews, undivided
from descry.settings import Asking, Extract, Label, Llms, Runtime, Sharding, Transfer
from stages import _passes, _stage
from stages._labelling import Labelling, vocabulary

SENTENCES = _stage.TRANSFER / "sentences.parquet"


def _corpus(chosen: Transfer) -> None:
    """Its sentences that neither split has, and their gold aspects."""
    known = chain.from_iterable(
        text for split in _stage.SPLITS for text in artifacts.read_pieces(_passes.sentences(split), "sentences", "text")
    )
    source = chosen.hub or chosen.source
    sentences, gold, counts = undivided(
        read_reviews(**chosen.given()), language=chosen.language, known=set(known), source=source
    )
    artifacts.write_table(SENTENCES, sentences, "sentences")
    artifacts.write_table(_stage.TRANSFER / "gold.parquet", gold, "gold")
    print(", ".join(f"{name} {count}" for name, count in counts.items()))


def main() -> None:
    chosen, label, extract = _stage.settings(Transfer), _stage.settings(Label), _stage.settings(Extract)
    runtime, sharding = _stage.settings(Runtime), _stage.settings(Sharding)
    labelling = Labelling(label, _stage.settings(Llms), _stage.settings(Asking), sharding, runtime)
    passes = _passes.Passes(extract, runtime, sharding)
    if not chosen.enabled:
        for kind in ("sentences", "gold"):
            artifacts.write_table(_stage.TRANSFER / f"{kind}.parquet", None, kind)
        return
    _corpus(chosen)
    descriptors = vocabulary()
    tables = [artifacts.read_table(path, "sentences") for path in (_passes.sentences("calibration"), SENTENCES)]
    with passes.kept("transfer", [SENTENCES]) as folder:  # until the labels are there too
        checkpoint = folder / "kept.safetensors"
        [found] = passes.over(SENTENCES, passes.target(), [extract.pooling], checkpoint, "transfer")
        labels = labelling.labels(label.labeller, "transfer-labels", tables, descriptors)[0][1]
        meta = {"descriptors": [descriptor.name for descriptor in descriptors], "labeller": label.labeller}
        artifacts.write_arrays(_stage.TRANSFER / "labels.safetensors", vars(labels), "labels", meta)
        artifacts.write_activations(_stage.TRANSFER / "activations.safetensors", found)


if __name__ == "__main__":
    _stage.run(main)
