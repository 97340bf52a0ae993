"""Proper names among terms: people, brands, places. Case tells them where the corpus has it, the encoder elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from descry.embedding.vectors import Encoder
from descry.vocabulary.candidates import TOKEN

CASED = 0.5
"""Share of a corpus's sentences that begin with a capital, from which on its case is trusted."""
TOO_MANY = 0.25
"""If a larger share of the words is capitalised, as in German, capitals do not tell names."""
SURE = 0.5
"""Log odds, by the encoder, from which on a word is a name."""

_BEFORE_A_START = frozenset(".!?:;\"“”-–—(*'")
# fmt: off
_NAMES = (
    "john mary michael jennifer david sarah james linda robert susan peter anna carlos maria ahmed yuki emily kevin "
    "julia tom scott jack brian karen nancy ruth steve sony samsung canon toyota nike microsoft apple google amazon "
    "dell nikon philips bosch honda adidas nestle lego disney walmart hilton london paris boston texas chicago "
    "germany china tokyo california manhattan canada rome sydney mexico brooklyn spain oxford seattle africa india"
).split()
_OTHER_WORDS = (
    "battery screen price kitchen waiter breakfast service delivery shoes handle zipper button manual fabric colour "
    "taste smell noise weight size bed shower location parking staff menu music story chapter author character lens "
    "software keyboard cable charger box seat wheel engine food soup salad clean easy comfortable loud cheap broken "
    "fast slow warm dirty friendly beautiful heavy soft responsive incredible impossible zoom adapter microphone "
    "great various lost older modern popular install charge wash eat read buy return walk sleep drive fit work look "
    "play based compare remember shows times ones stars children daughter husband people family states list past "
    "weeks minutes hundreds kinds brands cities stores museum animals"
).split()
# fmt: on


def count_capitals(texts: Iterable[str]) -> tuple[Counter[str], Counter[str], float]:
    """Count words inside sentences, and how many of them have a capital; and the share of texts that begin with one.

    The first word of a text or after a stop, words wholly in capitals, and texts in which most words have a capital
    (headlines) are not counted. Words are keys in lower case.
    """
    counted: Counter[str] = Counter()
    capital: Counter[str] = Counter()
    begin = total = 0
    for text in texts:
        tokens = TOKEN.findall(text)
        words = [token for token in tokens if token[0].isalpha()]
        if not words:
            continue
        total += 1
        begin += words[0][0].isupper()
        if 2 * sum(word[0].isupper() for word in words[1:]) > len(words) - 1:
            continue
        for before, word in pairwise(tokens):
            if word[0].isalpha() and before not in _BEFORE_A_START and not (word.isupper() and len(word) > 1):
                counted[word.lower()] += 1
                capital[word.lower()] += word != word.lower()
    return counted, capital, begin / max(total, 1)


def judge_by_meaning(words: Sequence[str], embedder: Encoder, template: str) -> np.ndarray:
    """Judge whether words are names by a linear probe of the encoder, fitted to a few of either kind: log odds [words].

    template: the phrase, with {}, in which words are embedded.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import

    known = embedder.encode([template.format(word) for word in (*_NAMES, *_OTHER_WORDS)])
    probe = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
    probe.fit(known, np.repeat([1, 0], [len(_NAMES), len(_OTHER_WORDS)]))
    vectors = embedder.encode([template.format(word) for word in words], "embedding words")
    return np.asarray(probe.decision_function(vectors))


def find_proper_names(terms: Sequence[str], texts: Sequence[str], embedder: Encoder, template: str) -> set[str]:
    """Find the terms (lower case; words, or words joined by blanks) that hold a proper name.

    A word is a name if `texts` capitalise it inside sentences more often than not. Where they do not show it (they do
    not begin with capitals, capitalise too much, or never have the word inside a sentence), `judge_by_meaning` decides.
    """
    words = sorted({word for term in terms for word in term.split()})
    counted, capital, begin = count_capitals(texts)
    names = {word for word in words if 2 * capital[word] > counted[word]}
    if len(names) > TOO_MANY * len(words):
        names, begin = set(), 0.0
    shown = names if begin < CASED else {word for word in words if counted[word]}
    unknown = [word for word in words if word not in shown]
    if unknown:
        likely = judge_by_meaning(unknown, embedder, template) > SURE
        names = names.union(word for word, name in zip(unknown, likely, strict=True) if name)
    return {term for term in terms if not names.isdisjoint(term.split())}


def drop_proper_names(candidates: pd.DataFrame, texts: Sequence[str], embedder: Encoder, template: str) -> pd.DataFrame:
    """Drop the candidates (`candidates.COLUMNS`) that hold a proper name by `find_proper_names`."""
    terms = candidates["candidate"].str.lower()
    names = find_proper_names(list(dict.fromkeys(terms)), texts, embedder, template)
    return candidates[~terms.isin(names)].reset_index(drop=True)
