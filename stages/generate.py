"""generate: candidate descriptors for calibration's sentences, by each generator in turn."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from descry.embedding.vectors import Encoder
from descry.results import layout
from descry.schemas.generate import ANSWER_TABLE, CANDIDATE_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.llms import Llms
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.settings.text import Generate
from descry.storage.tables import read_table, write_table
from descry.vocabulary.candidates import RETRIEVAL, Generator, Proposals, unite
from descry.vocabulary.prompted import FIELDS, Example, Prompted, draw_example
from stages.harness.stage import read_settings, run_stage
from stages.shared.encoder import open_encoder
from stages.shared.llms import open_answers, open_client, read_prompt

if TYPE_CHECKING:
    from descry.vocabulary.retrieval import Retrieval


def proposed(sentences: pd.DataFrame, encoder: Encoder, sharding: Sharding) -> Proposals:
    """What the generators propose."""
    settings, llms, asking = read_settings(Generate), read_settings(Llms), read_settings(Asking)

    @cache
    def retrieval() -> Retrieval:
        from descry.vocabulary.retrieval import Retrieval

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
        drawn = draw_example(sentences, retrieval())
        print(f"the prompt's example is drawn: {drawn.sentence} -> {drawn.answer}")
        return drawn

    def generator(name: str) -> Generator:
        if name == RETRIEVAL:
            return retrieval()
        return Prompted(
            open_client(name, llms, asking, sharding),
            open_answers(asking),
            read_prompt("generate", FIELDS),
            example(),
            per_sentence=settings.per_sentence,
            sample=settings.sample,
            words=settings.prompted.words,
            max_tokens=settings.prompted.max_tokens,
        )

    return unite([generator(name).propose(sentences) for name in settings.generators])


def main() -> None:
    sentences = read_table(layout.SENTENCES / "calibration.parquet", SENTENCE_TABLE)
    sharding = read_settings(Sharding)
    with open_encoder("generate", read_settings(Runtime), sharding) as encoder:
        found = proposed(sentences, encoder, sharding)
        write_table(layout.CANDIDATES, found.candidates, CANDIDATE_TABLE)
        write_table(layout.ANSWERS, found.answers, ANSWER_TABLE)
    for name, part in found.candidates.groupby("generator"):
        print(f"{name}: {len(part)} candidates, {part['candidate'].nunique()} different")


if __name__ == "__main__":
    run_stage(main)
