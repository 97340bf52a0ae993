"""How well texts fit sentences, by a language model's likelihood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from descry.errors import InputError
from descry.judging.fit import bin_lengths, level
from descry.labelling.likelihood import split_prompt
from descry.llm.asking import score
from descry.llm.cache import AnswerCache
from descry.llm.client import Client
from descry.llm.prompts import Prompt, quote


class LikelihoodFitter:
    """The likelihood of the text behind the sentence, compared with what is usual for the text and for the sentence.

    Log-likelihoods are standardised over the sentences, for each text; then the mean over all texts is subtracted, for
    each sentence. Errors: InputError if the model can read none of the sentences; one that it cannot read fits as the
    mean does.
    """

    def __init__(
        self, client: Client, cache: AnswerCache, prompt: Prompt, sentences: Sequence[str], texts: Sequence[str]
    ) -> None:
        """client: a `likelihood.LikelihoodModel`, or what stands for it; prompt: with LIKELIHOOD_FIELDS."""
        before, between, blank = split_prompt(prompt)
        self._by_length = bin_lengths(sentences)
        known = list(dict.fromkeys(texts))
        suffixes = [f"{blank}{' '.join(text.split())}\n" for text in known]
        found = score(client, before, [quote(text) + between for text in sentences], suffixes, cache, "judge")
        read = ~np.isnan(found).any(axis=1)
        if not read.any():
            raise InputError(f"judge: {client.name} cannot read the sentences: they are too long; choose another model")
        spread = found[read].std(axis=0)
        usual = (found - found[read].mean(axis=0)) / np.where(spread > 0, spread, np.inf)
        usual[~read] = 0.0
        fits = (usual - usual.mean(axis=1, keepdims=True)).T.astype(np.float32)
        self._fits = dict(zip(known, fits, strict=True))

    def fit(self, texts: Sequence[str]) -> np.ndarray:
        """See `Fitter`."""
        return level(np.stack([self._fits[text] for text in texts]), self._by_length)
