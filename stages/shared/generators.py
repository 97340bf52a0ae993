"""The generators of candidate descriptors that params.yaml names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from descry.embedding.vectors import Encoder
from descry.llm.prompts import Prompt
from descry.settings.llms import Llms, LocalLlm
from descry.settings.runtime import Asking, Sharding
from descry.settings.text import Generate
from descry.vocabulary.candidates import RETRIEVAL, Generator, Proposals, unite
from descry.vocabulary.prompted import COMPLETED_FIELDS, FIELDS, Example, Prompted, draw_example
from descry.vocabulary.proper_names import drop_proper_names
from descry.vocabulary.ranked import CHOICE, Ranked
from stages.shared.llms import open_answers, open_client, open_likelihood, read_prompt

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
        return self._retrieve(self.settings.per_sentence)

    def _retrieve(self, per_sentence: int) -> Retrieval:
        from descry.vocabulary.retrieval import Retrieval

        return Retrieval(
            self.encoder,
            per_sentence=per_sentence,
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
        return self._open_ranked(name) if self.settings.prompted.how == "rank" else self._open_writer(name)

    def _open_writer(self, name: str) -> Generator:
        options = self.settings.prompted
        llm = self.llms.entries.get(name)
        completes = isinstance(llm, LocalLlm) and llm.complete
        return Prompted(
            open_client(name, self.llms, self.asking, self.sharding),
            open_answers(self.asking),
            self._completed_prompt if completes else read_prompt("generate", FIELDS),
            None if completes else self._example,
            per_sentence=self.settings.per_sentence,
            sample=options.sample,
            words=options.words,
            max_tokens=options.max_tokens,
        )

    def _open_ranked(self, name: str) -> Generator:
        return Ranked(
            open_likelihood(name, self.llms, self.sharding),
            open_answers(self.asking),
            self._completed_prompt,
            self._retrieve(max(CHOICE, self.settings.per_sentence)),
            per_sentence=self.settings.per_sentence,
            sample=self.settings.prompted.sample,
        )

    @property
    def _completed_prompt(self) -> Prompt:
        return read_prompt("generate_complete", COMPLETED_FIELDS)
