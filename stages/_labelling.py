"""Who labels, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from descry import artifacts
from descry.descriptors import Descriptor
from descry.labelling import Labeller, Labels
from descry.settings import Asking, Label, Llms, Runtime, Sharding
from stages import _encoder, _llms, _stage

if TYPE_CHECKING:
    from descry.embedding import Encoder
    from descry.labelling.prompted import Teacher


def vocabulary() -> list[Descriptor]:
    """The descriptors."""
    entries = artifacts.read_json(_stage.DESCRIPTORS)["descriptors"]
    return [Descriptor(entry["name"], tuple(entry["members"]), entry["sentences"]) for entry in entries]


@dataclass(frozen=True)
class Labelling:
    """The settings of the stages that label."""

    settings: Label
    llms: Llms
    asking: Asking
    sharding: Sharding
    runtime: Runtime

    def labels(
        self, name: str, stage: str, tables: Sequence[pd.DataFrame], descriptors: Sequence[Descriptor]
    ) -> tuple[list[Labels], pd.DataFrame | None]:
        """Labels of calibration and of other tables, by a labeller of that name that has learned from calibration,
        the first of them, alone; of `distil` also its agreement with its teacher. stage: keeps finished shards."""
        calibration, *others = tables
        with _encoder.encoder(stage, self.runtime, self.sharding) as encoder:
            if name == "distil":
                from descry.labelling.distil import Distiller

                options = self.settings.distil
                distiller = Distiller(self._teacher(options.teacher), encoder, options.sample, options.seed)
                return distiller.distilled(calibration, others, [descriptor.name for descriptor in descriptors])
            candidates = artifacts.read_table(_stage.CANDIDATES, "candidates")
            return self._labeller(name, encoder).labels(calibration, others, candidates, descriptors), None

    def _teacher(self, way: str) -> Teacher:
        from descry.labelling import prompted

        options = self.settings.prompted
        asker = prompted.Asker(
            _llms.client(options.llm, self.llms, self.asking, self.sharding),
            _llms.answers(self.asking),
            _llms.prompt("label_again", prompted.AGAIN_FIELDS),
            self.settings.max_missing,
        )
        if way == "list":
            return prompted.ListTeacher(asker, _llms.prompt("label_list", prompted.LIST_FIELDS), options.max_tokens)
        return prompted.EachTeacher(asker, _llms.prompt("label_each", prompted.EACH_FIELDS), options.threshold)

    def _labeller(self, name: str, encoder: Encoder) -> Labeller:
        if name == "embedding":
            from descry.labelling.embedding import EmbeddingLabeller

            return EmbeddingLabeller(encoder, **self.settings.embedding.model_dump())
        if name == "lexical":
            from descry.labelling.lexical import LexicalLabeller

            return LexicalLabeller(**self.settings.lexical.model_dump())
        from descry.labelling.prompted import PromptedLabeller

        return PromptedLabeller(self._teacher(name))
