"""label: which descriptors apply to which sentence of both splits, in one labeller's opinion."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from descry import artifacts
from descry.descriptors import Descriptor
from descry.labelling import Labeller, Labels
from descry.settings import Asking, Label, Llms, Runtime
from stages import _llms, _stage

if TYPE_CHECKING:
    from descry.embedder import Embedder
    from descry.labelling.distil import Distiller
    from descry.labelling.prompted import Teacher


def _embedder() -> Embedder:
    from descry.embedder import Embedder

    return Embedder(_stage.MODELS / "embedder", _stage.settings(Runtime).device)


def _teacher(way: str, settings: Label) -> Teacher:
    from descry.labelling import prompted

    asking, options = _stage.settings(Asking), settings.prompted
    asker = prompted.Asker(
        _llms.client(options.llm, _stage.settings(Llms), asking),
        _llms.answers(asking),
        _llms.prompt("label_again", prompted.AGAIN_FIELDS),
        settings.max_missing,
    )
    if way == "list":
        return prompted.ListTeacher(asker, _llms.prompt("label_list", prompted.LIST_FIELDS), options.max_tokens)
    return prompted.EachTeacher(asker, _llms.prompt("label_each", prompted.EACH_FIELDS), options.threshold)


def _distiller(settings: Label) -> Distiller:
    from descry.labelling.distil import Distiller

    options = settings.distil
    return Distiller(_teacher(options.teacher, settings), _embedder(), options.sample, options.seed)


def _labeller(name: str, settings: Label) -> Labeller:
    if name == "embedding":
        from descry.labelling.embedding import EmbeddingLabeller

        return EmbeddingLabeller(_embedder(), **settings.embedding.model_dump())
    if name == "lexical":
        from descry.labelling.lexical import LexicalLabeller

        return LexicalLabeller(**settings.lexical.model_dump())
    from descry.labelling.prompted import PromptedLabeller

    return PromptedLabeller(_teacher(name, settings))


def main() -> None:
    opinion = sys.argv[1]
    settings = _stage.settings(Label)
    name = settings.labeller if opinion == "first" else settings.second
    calibration, validation = (
        artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences") for split in _stage.SPLITS
    )
    candidates = artifacts.read_table(_stage.CANDIDATES, "candidates")
    descriptors = [
        Descriptor(entry["name"], tuple(entry["members"]), entry["sentences"])
        for entry in artifacts.read_json(_stage.DESCRIPTORS)["descriptors"]
    ]
    names = [descriptor.name for descriptor in descriptors]
    found: list[Labels]
    if name == "distil":
        found, agreed = _distiller(settings).distilled(calibration, [validation], names)
        artifacts.write_table(_stage.LABELS / opinion / "agreement.parquet", agreed, "agreement")
    else:
        found = _labeller(name, settings).labels(calibration, [validation], candidates, descriptors)
    meta = {"descriptors": names, "labeller": name}
    for split, labels in zip(_stage.SPLITS, found, strict=True):
        artifacts.write_arrays(_stage.LABELS / opinion / f"{split}.safetensors", vars(labels), "labels", meta)
        missing = (labels.labels < 0).mean()
        print(
            f"{name}, {split}: {(labels.labels == 1).sum(axis=1).mean():.2f} labels a sentence"
            + (f", {100 * missing:.2f} % of all missing" if missing else "")
        )


if __name__ == "__main__":
    _stage.run(main)
