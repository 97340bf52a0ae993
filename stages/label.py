"""label: which descriptors apply to which sentence of both splits, in one labeller's opinion."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from descry import artifacts
from descry.descriptors import Descriptor
from descry.labelling import Labeller, Labels
from descry.settings import Asking, Label, Llms, Runtime, Sharding
from stages import _encoder, _llms, _stage

if TYPE_CHECKING:
    from descry.embedding import Encoder
    from descry.labelling.distil import Distiller
    from descry.labelling.prompted import Teacher


def _teacher(way: str, settings: Label) -> Teacher:
    from descry.labelling import prompted

    asking, options = _stage.settings(Asking), settings.prompted
    asker = prompted.Asker(
        _llms.client(options.llm, _stage.settings(Llms), asking, _stage.settings(Sharding)),
        _llms.answers(asking),
        _llms.prompt("label_again", prompted.AGAIN_FIELDS),
        settings.max_missing,
    )
    if way == "list":
        return prompted.ListTeacher(asker, _llms.prompt("label_list", prompted.LIST_FIELDS), options.max_tokens)
    return prompted.EachTeacher(asker, _llms.prompt("label_each", prompted.EACH_FIELDS), options.threshold)


def _distiller(settings: Label, encoder: Encoder) -> Distiller:
    from descry.labelling.distil import Distiller

    options = settings.distil
    return Distiller(_teacher(options.teacher, settings), encoder, options.sample, options.seed)


def _labeller(name: str, settings: Label, encoder: Encoder) -> Labeller:
    if name == "embedding":
        from descry.labelling.embedding import EmbeddingLabeller

        return EmbeddingLabeller(encoder, **settings.embedding.model_dump())
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
    meta = {"descriptors": names, "labeller": name}
    found: list[Labels]
    with _encoder.encoder(f"label-{opinion}", _stage.settings(Runtime), _stage.settings(Sharding)) as encoder:
        if name == "distil":
            found, agreed = _distiller(settings, encoder).distilled(calibration, [validation], names)
            artifacts.write_table(_stage.LABELS / opinion / "agreement.parquet", agreed, "agreement")
        else:
            found = _labeller(name, settings, encoder).labels(calibration, [validation], candidates, descriptors)
        for split, labels in zip(_stage.SPLITS, found, strict=True):
            artifacts.write_arrays(_stage.LABELS / opinion / f"{split}.safetensors", vars(labels), "labels", meta)
    for split, labels in zip(_stage.SPLITS, found, strict=True):
        missing = (labels.labels < 0).mean()
        print(
            f"{name}, {split}: {(labels.labels == 1).sum(axis=1).mean():.2f} labels a sentence"
            + (f", {100 * missing:.2f} % of all missing" if missing else "")
        )


if __name__ == "__main__":
    _stage.run(main)
