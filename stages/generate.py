"""generate: candidate descriptors for calibration's sentences, by each generator in turn."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from descry import artifacts
from descry.embedding import Encoder
from descry.generation import RETRIEVAL, Generator, Proposals, union
from descry.generation.prompted import FIELDS, Example, Prompted, drawn_example
from descry.settings import Asking, Generate, Llms, Runtime, Sharding
from stages import _encoder, _llms, _stage

if TYPE_CHECKING:
    from descry.generation.retrieval import Retrieval


def proposed(sentences: pd.DataFrame, encoder: Encoder, sharding: Sharding) -> Proposals:
    """What the generators propose."""
    settings, llms, asking = _stage.settings(Generate), _stage.settings(Llms), _stage.settings(Asking)

    @cache
    def retrieval() -> Retrieval:
        from descry.generation.retrieval import Retrieval

        return Retrieval(
            encoder, per_sentence=settings.per_sentence, sample=settings.sample, **settings.retrieval.model_dump()
        )

    @cache
    def example() -> Example:
        written = settings.prompted
        if written.sentence:
            if written.sentence not in set(sentences["text"]):
                print("generate.prompted.sentence is none of calibration's; an example of your own data teaches more")
            return Example(written.sentence, written.answer)
        drawn = drawn_example(sentences, retrieval())
        print(f"the prompt's example is drawn: {drawn.sentence} -> {drawn.answer}")
        return drawn

    def generator(name: str) -> Generator:
        if name == RETRIEVAL:
            return retrieval()
        return Prompted(
            _llms.client(name, llms, asking, sharding),
            _llms.answers(asking),
            _llms.prompt("generate", FIELDS),
            example(),
            per_sentence=settings.per_sentence,
            sample=settings.sample,
            words=settings.prompted.words,
            max_tokens=settings.prompted.max_tokens,
        )

    return union([generator(name).propose(sentences) for name in settings.generators])


def main() -> None:
    sentences = artifacts.read_table(_stage.SENTENCES / "calibration.parquet", "sentences")
    sharding = _stage.settings(Sharding)
    with _encoder.encoder("generate", _stage.settings(Runtime), sharding) as encoder:
        found = proposed(sentences, encoder, sharding)
        artifacts.write_table(_stage.CANDIDATES, found.candidates, "candidates")
        artifacts.write_table(_stage.ANSWERS, found.answers, "answers")
    for name, part in found.candidates.groupby("generator"):
        print(f"{name}: {len(part)} candidates, {part['candidate'].nunique()} different")


if __name__ == "__main__":
    _stage.run(main)
