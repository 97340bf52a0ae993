"""Opens the labellers that params.yaml names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from descry.labelling.labels import Labelled, Labeller
from descry.results import layout
from descry.schemas.generate import CANDIDATE_TABLE
from descry.settings.llms import Llms
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.settings.text import Label
from descry.storage.files import read_json
from descry.storage.tables import read_table
from descry.vocabulary.descriptors import Descriptor
from stages.shared.encoder import open_encoder
from stages.shared.llms import open_answers, open_client, open_likelihood, read_prompt

if TYPE_CHECKING:
    from descry.embedding.vectors import Encoder
    from descry.labelling.likelihood import LikelihoodScorer
    from descry.labelling.prompted import Teacher


def read_vocabulary() -> list[Descriptor]:
    """Read the descriptors of the vocabulary."""
    entries = read_json(layout.DESCRIPTORS)["descriptors"]
    return [Descriptor(entry["name"], tuple(entry["members"]), entry["sentences"]) for entry in entries]


@dataclass(frozen=True)
class Labelling:
    """The settings of the stages that label."""

    settings: Label
    llms: Llms
    asking: Asking
    sharding: Sharding
    runtime: Runtime

    @contextmanager
    def label(
        self, name: str, stage: str, tables: Sequence[pd.DataFrame], descriptors: Sequence[Descriptor]
    ) -> Iterator[Labelled]:
        """Label tables with the labeller `name`, which learns from the first of them, calibration, alone. stage: the
        folder of its finished shards, which are kept until the block, which writes the labels, has ended."""
        calibration, *others = tables
        candidates = read_table(layout.CANDIDATES, CANDIDATE_TABLE)
        with open_encoder(stage, self.runtime, self.sharding) as encoder:
            yield self._open(name, encoder).label(calibration, others, candidates, descriptors)

    def _open_teacher(self, way: str) -> Teacher:
        from descry.labelling import likelihood, prompted

        if way == "likelihood":
            return likelihood.LikelihoodTeacher(self._open_scorer())
        options = self.settings.prompted
        asker = prompted.Asker(
            open_client(options.llm, self.llms, self.asking, self.sharding),
            open_answers(self.asking),
            read_prompt("label_again", prompted.AGAIN_FIELDS),
            self.settings.max_missing,
        )
        if way == "list":
            return prompted.ListTeacher(asker, read_prompt("label_list", prompted.LIST_FIELDS), options.max_tokens)
        return prompted.EachTeacher(asker, read_prompt("label_each", prompted.EACH_FIELDS), options.threshold)

    def _open_scorer(self) -> LikelihoodScorer:
        from descry.labelling import likelihood

        return likelihood.LikelihoodScorer(
            open_likelihood(self.settings.prompted.llm, self.llms, self.sharding),
            open_answers(self.asking),
            read_prompt("label_likelihood", likelihood.LIKELIHOOD_FIELDS),
            self.settings.likelihood.breadth,
            self.settings.max_missing,
        )

    def _open(self, name: str, encoder: Encoder) -> Labeller:
        if name == "embedding":
            from descry.labelling.embedding import EmbeddingLabeller

            return EmbeddingLabeller(encoder, **self.settings.embedding.model_dump())
        if name == "lexical":
            from descry.labelling.lexical import LexicalLabeller

            return LexicalLabeller(**self.settings.lexical.model_dump())
        if name == "distil":
            from descry.labelling.distil import Distiller

            options = self.settings.distil
            return Distiller(self._open_teacher(options.teacher), encoder, options.sample, options.seed)
        if name == "likelihood":
            from descry.labelling.likelihood import LikelihoodLabeller

            return LikelihoodLabeller(self._open_scorer())
        from descry.labelling.prompted import PromptedLabeller

        return PromptedLabeller(self._open_teacher(name))
