"""What neurons write: the tokens that a neuron's output weights promote and suppress, and whether the words of its
descriptors are among them. No forward pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from descry.evaluation.chance import Draws, repeat
from descry.models.heads import Unembedding, list_written
from descry.models.target import Target

BLOCK = 256
"""Neurons whose logits of all tokens are held in memory at once."""
ENDS = ("positive", "negative")
"""The ends of a neuron: when it is strongly negative, what its output weights suppress is promoted."""

AssignedPairs = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Of each end, assigned pairs: neurons and columns of the descriptors, int [pairs] both."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a tokenizer that stand for text, without special ones.

    ids: int64 [tokens], ascending; texts: of each as it stands behind another token, so that one that begins a word
    begins with a space.
    """

    ids: np.ndarray
    texts: Sequence[str]

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Spell every token of a tokenizer."""
        special = {*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", {})}
        ids = sorted(set(tokenizer.get_vocab().values()) - special)

        def spell(behind: Sequence[int]) -> list[str]:
            spelled = [[*behind, token] for token in ids]
            return list(tokenizer.batch_decode(spelled, clean_up_tokenization_spaces=False))

        front = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        before = tokenizer.decode(front, clean_up_tokenization_spaces=False)
        return cls(np.array(ids, dtype=np.int64), [text.removeprefix(before) for text in spell(front)])

    def find_words(self, phrases: Sequence[str]) -> np.ndarray:
        """Positions of the tokens that are a whole word of some phrases, whatever the case of its letters: int64,
        ascending. Words that no single token stands for are left out."""
        wanted = {f" {word}" for phrase in phrases for word in re.findall(r"\w+", phrase.lower())}
        return np.array([place for place, text in enumerate(self.texts) if text.lower() in wanted], dtype=np.int64)


@dataclass(frozen=True)
class Written:
    """What every neuron writes, in order of layer, then index.

    promoted, suppressed: int32 [neurons, shown], positions in the vocabulary, strongest first; promoted_logits,
    suppressed_logits: float32, same shapes, how a neuron changes these tokens' logits, up to a positive factor of its
    own; auroc: float32 [neurons, descriptors], in [0, 1]: how often a token of the descriptor's words has a higher
    logit than another token of the vocabulary, 0.5 at random; NaN for a descriptor of whose words none is a token.
    """

    promoted: np.ndarray
    promoted_logits: np.ndarray
    suppressed: np.ndarray
    suppressed_logits: np.ndarray
    auroc: np.ndarray


def read_written(
    target: Target,
    unembedding: Unembedding,
    vocabulary: Vocabulary,
    words: Sequence[np.ndarray],
    shown: int,
    progress: str = "",
) -> Written:
    """Read what every neuron of a target writes, a block of neurons at a time.

    target: whose head the unembedding is; words: of every descriptor, positions of tokens in the vocabulary; shown:
    tokens kept of each neuron at either end; progress: label of the progress bar, "" for none.
    """
    shown, ids = min(shown, len(vocabulary.ids)), torch.from_numpy(vocabulary.ids).to(target.device)
    own = replace(unembedding, weight=unembedding.weight[ids])
    parts: list[tuple[np.ndarray, ...]] = []
    with tqdm(total=sum(target.widths), desc=progress, unit="neuron", disable=not progress) as bar:
        for site in target.sites:
            directions = list_written(site)
            for start in range(0, len(directions), BLOCK):
                logits = own.logits(directions[start : start + BLOCK])
                (high, up), (low, down) = logits.topk(shown, dim=1), logits.topk(shown, dim=1, largest=False)
                kept = [part.cpu().numpy() for part in (up.to(torch.int32), high, down.to(torch.int32), low)]
                parts.append((*kept, measure_auroc(logits.cpu().numpy(), words)))
                bar.update(len(logits))
    return Written(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def measure_auroc(values: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
    """AUROC of sets of columns against all other columns, in each row: float32 [rows, sets], ties counting half; NaN
    for a set that is empty or holds every column. values: float [rows, columns]."""
    columns, place = np.unique(np.concatenate([np.zeros(0, np.int64), *sets]), return_inverse=True)
    sizes = np.array([len(members) for members in sets])
    member = np.zeros((len(columns), len(sets)))
    member[place, np.repeat(np.arange(len(sets)), sizes)] = 1
    below = np.empty((len(values), len(columns)))
    for row, (ranked, wanted) in enumerate(zip(np.sort(values, axis=1), values[:, columns], strict=True)):
        below[row] = (np.searchsorted(ranked, wanted) + np.searchsorted(ranked, wanted, side="right")) / 2
    others = sizes * (values.shape[1] - sizes)
    with np.errstate(invalid="ignore"):
        return np.asarray((below @ member - sizes**2 / 2) / np.where(others, others, np.nan), dtype=np.float32)


def tabulate_written(written: Written, vocabulary: Vocabulary, layer: np.ndarray, index: np.ndarray) -> pd.DataFrame:
    """Tabulate what neurons write: layer, index, promoted and suppressed (texts of tokens, strongest first), and their
    logits. layer, index: int [neurons]."""
    table = pd.DataFrame({"layer": layer, "index": index})
    for which, places in (("promoted", written.promoted), ("suppressed", written.suppressed)):
        table[which] = [[vocabulary.texts[place] for place in row] for row in places.tolist()]
        table[f"{which}_logits"] = list(getattr(written, f"{which}_logits").astype(np.float64))
    return table


def score_pairs(auroc: np.ndarray, pairs: AssignedPairs) -> dict[str, np.ndarray]:
    """The AUROC of each assigned pair: float32 [pairs] of each end; at the negative end a neuron promotes what its
    weights suppress. auroc: of `Written`."""
    scores = {end: auroc[neurons, columns] for end, (neurons, columns) in pairs.items()}
    return {end: 1 - values if end == "negative" else values for end, values in scores.items()}


def measure_writing(
    auroc: np.ndarray, layer: np.ndarray, pairs: AssignedPairs, draws: Draws
) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `writes`, and their values under the null `permuted_rows`, in which the neurons of a layer
    exchange their output weights.

    agreement: mean AUROC of the pairs assigned at the positive end; extremity: their mean |2 AUROC - 1|, in [0, 1],
    which is high where the words are promoted or suppressed; negative_agreement, negative_extremity: of the pairs at
    the negative end. Pairs of descriptors without tokens are left out, ends without pairs too. auroc: of `Written`;
    layer: int [neurons], ascending.
    """
    prefixes = {"positive": "", "negative": "negative_"}

    def measure(rows: np.ndarray) -> Mapping[str, Any]:
        measures: dict[str, float] = {}
        for end, scores in score_pairs(auroc[rows], pairs).items():
            known = scores[~np.isnan(scores)].astype(np.float64)
            if len(known):
                measures[f"{prefixes[end]}agreement"] = float(known.mean())
                measures[f"{prefixes[end]}extremity"] = float(np.abs(2 * known - 1).mean())
        return {"writes": measures}

    def permute(generator: np.random.Generator) -> Mapping[str, Any]:
        return measure(np.lexsort((generator.random(len(layer)), layer)))

    return measure(np.arange(len(layer))), {"permuted_rows": repeat(permute, draws)}
