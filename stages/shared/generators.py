"""The generators of candidate descriptors that params.yaml names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from descry.embedding.vectors import Encoder
from descry.settings.llms import Llms
from descry.settings.runtime import Asking, Sharding
from descry.settings.text import Generate
from descry.vocabulary.candidates import RETRIEVAL, Generator, Proposals, unite
from descry.vocabulary.prompted import FIELDS, Example, Prompted, draw_example
from descry.vocabulary.proper_names import drop_proper_names
from stages.shared.llms import open_answers, open_client, read_prompt

if TYPE_CHECKING:
    from descry.vocabulary.retrieval import Retrieval


@dataclass(frozen=True)
class Generators:
    """The settings of the generators, and the sentences of calibration that they propose candidates for."""

    settings: Generate
    llms: Llms
    asking: Asking
    sharding: Sharding
    sentences: pd.DataFrame
    encoder: Encoder

    def propose(self) -> Proposals:
        """The candidates of all generators, in turn; without proper names unless they are wanted."""
        return unite([self._propose(name) for name in self.settings.generators])

    def _propose(self, name: str) -> Proposals:
        proposals = self._open(name).propose(self.sentences)
        if name == RETRIEVAL or self.settings.proper_names:  # `retrieval` leaves them out before it searches
            return proposals
        texts, template = self.sentences["text"].tolist(), self.settings.retrieval.template
        kept = drop_proper_names(proposals.candidates, texts, self.encoder, template)
        return Proposals(kept, proposals.answers)

    @cached_property
    def _retrieval(self) -> Retrieval:
        from descry.vocabulary.retrieval import Retrieval

        return Retrieval(
            self.encoder,
            per_sentence=self.settings.per_sentence,
            sample=self.settings.sample,
            proper_names=self.settings.proper_names,
            **self.settings.retrieval.model_dump(),
        )

    @cached_property
    def _example(self) -> Example:
        written = self.settings.prompted
        if written.sentence:
            if written.sentence not in set(self.sentences["text"]):
                print("generate.prompted.sentence is not in calibration; an example of your own data teaches more")
            return Example(written.sentence, written.answer)
        drawn = draw_example(self.sentences, self._retrieval)
        print(f"the prompt's example is drawn: {drawn.sentence} -> {drawn.answer}")
        return drawn

    def _open(self, name: str) -> Generator:
        if name == RETRIEVAL:
            return self._retrieval
        return Prompted(
            open_client(name, self.llms, self.asking, self.sharding),
            open_answers(self.asking),
            read_prompt("generate", FIELDS),
            self._example,
            per_sentence=self.settings.per_sentence,
            sample=self.settings.sample,
            words=self.settings.prompted.words,
            max_tokens=self.settings.prompted.max_tokens,
        )
