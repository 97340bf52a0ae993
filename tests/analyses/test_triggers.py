"""Which words drive neurons: planted ones are found, and every figure is that of a plain loop."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import hypergeom, pearsonr

from descry.activations.record import Activations
from descry.activations.token_words import TokenReadings, WordForms, build_word_presence, find_word_forms
from descry.analyses import triggers
from descry.analyses.trigger_measures import WordChecker, check_words, measure_triggers, tabulate_triggers
from descry.analyses.triggers import (
    CONTEXTUAL,
    LEXICAL,
    TOKEN_BOUND,
    NeuronTriggers,
    WordRule,
    classify_neurons,
    find_leading,
    find_patterns,
    measure_word_shares,
    shuffle_tokens,
)
from descry.evaluation.chance import Draws
from descry.splits import Pair

COMMON = ["the", "a", "it", "is", "very", "and", "this"]
RARE = ["cheap", "costly", "price", "dollars", "money", "cents", "sale", "paid", "battery"]
BOUND, FEW, NONE = ({8}, set(range(8)), set[int]())
"""Rare words that each kind of neuron fires on; the last fires on whole sentences."""
KINDS = (TOKEN_BOUND, LEXICAL, CONTEXTUAL)
SENTENCES, SHOWN, EACH, WORDS = 600, 60, 8, 8


class Split:
    """Sentences of a split, and neurons: EACH of every kind."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        words = [list(generator.choice(COMMON, generator.integers(5, 10))) for _ in range(SENTENCES)]
        for row in range(0, SENTENCES, 2):
            words[row][generator.integers(len(words[row]))] = generator.choice(RARE)
        self.texts = [" ".join(own) for own in words]
        self.layer = np.repeat([1, 2], 3 * EACH // 2).astype(np.int16)
        values = []
        for neuron in range(3 * EACH):
            loved = {RARE[word] for word in (BOUND, FEW, NONE)[neuron % 3]}
            mood = generator.normal(0, 2.0 * (not loved), SENTENCES)
            values.append(
                [
                    np.array([4.0 * (word in loved) for word in own]) + mood[row] + 0.3 * generator.random(len(own))
                    for row, own in enumerate(words)
                ]
            )
        pooled = np.array([[own.mean() for own in neuron] for neuron in values])
        self.mean = pooled.mean(1).astype(np.float32)
        rows = np.argsort(-pooled, axis=1, kind="stable")
        exemplars = rows[:, :SHOWN].astype(np.int32)
        exemplars[-1, -2:] = -1
        used = np.unique(exemplars[exemplars >= 0]).astype(np.int32)
        starts, stops = [], []
        for row in used:
            ends = np.cumsum([len(word) + 1 for word in words[row]]) - 1
            stops += ends.tolist()
            starts += [end - len(word) for end, word in zip(ends.tolist(), words[row], strict=True)]
        on_tokens = np.concatenate([values[n][row] for n in range(len(exemplars)) for row in exemplars[n] if row >= 0])
        lengths = np.array([len(words[row]) for row in used], np.int32)
        self.values, self.words = values, words
        self.read = TokenReadings(
            used,
            lengths,
            np.array(starts, np.int32),
            np.array(stops, np.int32),
            exemplars,
            on_tokens.astype(np.float16),
        )
        self.forms = find_word_forms([self.texts[row] for row in used], lengths, self.read.stop)
        self.active = Activations(
            count=SENTENCES,
            layer=self.layer,
            index=np.tile(np.arange(3 * EACH // 2), 2).astype(np.int32),
            values=np.take_along_axis(pooled, rows[:, :40], 1).astype(np.float32),
            rows=rows[:, :40].astype(np.int32),
            beyond=np.sort(pooled, axis=1)[:, -41].astype(np.float32),
            mean=self.mean,
            std=pooled.std(1).astype(np.float32),
            maximum=pooled.max(1).astype(np.float32),
            probe_rows=np.arange(0, SENTENCES, 2).astype(np.int32),
            probe=pooled.T[::2].astype(np.float16),
            pooling="mean",
        )


@pytest.fixture(scope="module")
def splits() -> Pair[Split]:
    return Pair(Split(0), Split(1))


def driven(split: Split, mean: np.ndarray) -> NeuronTriggers:
    return NeuronTriggers.of(split.read, split.forms, mean, WordRule(WORDS, 0.2))


def test_what_words_carry_equals_a_loop_over_tokens(splits: Pair[Split], monkeypatch: pytest.MonkeyPatch) -> None:
    split = splits.calibration
    monkeypatch.setattr(triggers, "BLOCK", 5)
    found = measure_word_shares(split.read, split.forms, split.mean)
    for neuron in range(3 * EACH):
        share: dict[str, float] = defaultdict(float)
        even: dict[str, float] = defaultdict(float)
        peaks = []
        for row in split.read.exemplars[neuron]:
            if row < 0:
                continue
            above = np.maximum(split.values[neuron][row].astype(np.float16) - split.mean[neuron], 0)
            if above.sum() > 0:
                peaks.append(above.max() / above.sum())
                for word, value in zip(split.words[row], above / above.sum(), strict=True):
                    share[word] += value
                    even[word] += 1 / len(above)
        names = split.forms.names
        for table_, expected in ((found.share, share), (found.even, even)):
            own = table_[[neuron]].toarray()[0]
            np.testing.assert_allclose(own, [expected[name] / len(peaks) for name in names], atol=2e-3)
        assert found.peak[neuron] == pytest.approx(np.mean(peaks), abs=2e-3)
    np.testing.assert_allclose(found.share.sum(axis=1), 1, atol=1e-5)


def test_planted_neurons_are_told_by_their_words(splits: Pair[Split]) -> None:
    for split in splits:
        found = driven(split, splits.calibration.mean)
        assert found.classes.tolist() == [*KINDS] * EACH
        for neuron in range(0, 3 * EACH, 3):
            assert found.names[found.words.column[neuron, 0]] == "battery"
            few = {found.names[column] for column in found.words.column[neuron + 1] if column >= 0}
            assert few == {RARE[word] for word in FEW}
        assert found.peak[0] > 0.5 > found.peak[2]


def test_a_neuron_that_has_nothing_to_fire_on_is_contextual() -> None:
    read = TokenReadings(
        np.array([3], np.int32), np.array([2], np.int32), np.array([0, 2], np.int32), np.array([1, 3], np.int32),
        np.array([[3], [-1]], np.int32), np.zeros(2, np.float16),
    )  # fmt: skip
    found = NeuronTriggers.of(
        read, find_word_forms(["a b"], read.lengths, read.stop), np.ones(2, np.float32), WordRule(3, 0.2)
    )
    assert found.classes.tolist() == [CONTEXTUAL, CONTEXTUAL]
    assert (found.words.column == -1).all()
    assert not found.peak.any()


def test_leading_columns_are_the_best_above_nothing() -> None:
    generator = np.random.default_rng(0)
    dense = np.where(generator.random((30, 12)) < 0.5, generator.integers(-3, 4, (30, 12)), 0).astype(np.float32)
    found = find_leading(csr_array(dense), 4)
    for row, values in enumerate(dense):
        best = sorted((column for column in range(12) if values[column] > 0), key=lambda c: (-values[c], c))[:4]
        assert found.column[row].tolist() == best + [-1] * (4 - len(best))
        assert found.value[row].tolist() == [*values[best], *[0] * (4 - len(best))]


def test_the_rule_of_the_classes() -> None:
    value = np.array([[0.2, 0.0], [0.19, 0.01], [0.19, 0.005], [0.0, 0.0]], np.float32)
    found = classify_neurons(triggers.Leading(np.zeros(value.shape, int), value), 0.2)
    assert found.tolist() == [TOKEN_BOUND, LEXICAL, CONTEXTUAL, CONTEXTUAL]


def test_what_words_have_in_common_is_told_where_it_is_more_than_a_word() -> None:
    names = ["charger", "charging", "charged", "loud", "12345", "the"]
    beyond = csr_array(
        np.array([[0.1, 0.1, 0.1, 0, 0, 0], [0, 0, 0, 0.4, 0, 0], [0.3, 0.05, 0, 0, 0.3, 0.2]], np.float32)
    )
    named, share = find_patterns(beyond, names)
    assert named == ["char-", "", ""]
    np.testing.assert_allclose(share, [0.3, 0, 0], atol=1e-6)
    ending = csr_array(np.array([[0.1, 0.1]], np.float32))
    assert find_patterns(ending, ["running", "jumping"])[0] == ["-ing"]
    assert find_patterns(ending, ["a", "1"])[0] == [""]


def test_shuffling_keeps_every_sentences_values_and_loses_the_words(splits: Pair[Split]) -> None:
    split = splits.calibration
    moved = shuffle_tokens(split.read, np.random.default_rng(0))
    ends = np.cumsum(split.read.sizes.ravel())[:-1]
    for before, after in zip(np.split(split.read.on_tokens, ends), np.split(moved.on_tokens, ends), strict=True):
        assert sorted(before.tolist()) == sorted(after.tolist())
    assert (moved.on_tokens != split.read.on_tokens).mean() > 0.5
    found = NeuronTriggers.of(moved, split.forms, split.mean, WordRule(WORDS, 0.2))
    assert (found.classes[::3] != TOKEN_BOUND).mean() > 0.9


def test_what_words_tell_equals_counts_by_hand(splits: Pair[Split]) -> None:
    own = driven(splits.calibration, splits.calibration.mean)
    there = splits.validation
    held = build_word_presence(there.texts, own.names)
    active = there.active
    sets = active.exemplars(30)
    found = check_words(own.words.column, held, sets, active.probe_rows, active.probe)
    for neuron, columns in enumerate(own.words.column.tolist()):
        loved = {own.names[column] for column in columns if column >= 0}
        holds = np.array([bool(loved & set(words)) for words in there.words])
        count, drawn = int(holds[sets[neuron][sets[neuron] >= 0]].sum()), int((sets[neuron] >= 0).sum())
        assert (found.count[neuron], found.positives[neuron]) == (count, holds.sum())
        expected = hypergeom.logsf(count - 1, SENTENCES, holds.sum(), drawn)
        assert found.log_p[neuron] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        here = holds[active.probe_rows]
        if here.std():
            assert found.pearson[neuron] == pytest.approx(
                pearsonr(here, active.probe[:, neuron].astype(float))[0], abs=1e-6
            )


def measured(splits: Pair[Split], there: Split) -> tuple[Any, Any, WordChecker]:
    both = Pair(splits.calibration, there)
    found = both.map(lambda split: driven(split, splits.calibration.mean))
    judge = WordChecker(build_word_presence(there.texts, found.calibration.names), there.active, 30)
    described = np.arange(3 * EACH)[::-1], np.linspace(1, 0, 3 * EACH)
    read = (splits.calibration.read, splits.calibration.forms, splits.calibration.mean)
    options = {"strongest": 10, "rule": WordRule(WORDS, 0.2), "draws": Draws(20, 0)}
    return *measure_triggers(found, read, judge, described, **options), judge


def test_planted_neurons_are_the_same_on_both_splits_and_their_words_tell(splits: Pair[Split]) -> None:
    own, chance, judge = measured(splits, splits.validation)
    told_ = own["tokens"]
    assert told_["agreement"] == told_["agreement_described"] == told_["replication"] == 1
    assert told_["token_bound"] == told_["lexical"] == pytest.approx(1 / 3)
    assert told_["words_correlation"] > 0.7
    bound = np.array([neuron % 3 != 2 for neuron in range(3 * EACH)[::-1]])
    assert told_["descriptor_correlation"] == pytest.approx(np.median(np.linspace(1, 0, 3 * EACH)[bound]))
    permuted = chance["permuted_neurons"]
    assert permuted["tokens.agreement_described"].mean() == pytest.approx(1 / 3, abs=0.1)
    assert permuted["tokens.words_correlation"].mean() < 0.7
    assert chance["shuffled_tokens"]["tokens.token_bound"].mean() < 0.05
    drives = Pair(*(driven(split, splits.calibration.mean) for split in splits))
    rows = tabulate_triggers(drives, judge)
    assert (
        rows["class"].tolist() == rows["validation_class"].tolist() == ["token-bound", "lexical", "contextual"] * EACH
    )
    assert rows["words"].iloc[0][0] == "battery"
    assert [len(one) for one in rows["words"]] == [len(one) for one in rows["shares"]]
    assert (rows["validation_p"][rows["class"] != "contextual"] < 1e-6).all()


def test_words_that_mean_nothing_elsewhere_tell_nothing(splits: Pair[Split]) -> None:
    """On sentences whose words were dealt out anew, what neurons do has nothing to do with their words."""
    there = Split(1)
    generator = np.random.default_rng(0)
    order = generator.permutation(SENTENCES)
    there.texts = [there.texts[row] for row in order]
    own = measured(splits, there)[0]["tokens"]
    assert own["replication"] <= 0.3
    assert abs(own["words_correlation"]) < 0.15


def test_no_described_neuron_is_no_error(splits: Pair[Split]) -> None:
    both = splits.map(lambda split: driven(split, splits.calibration.mean))
    judge = WordChecker(
        build_word_presence(splits.validation.texts, both.calibration.names), splits.validation.active, 30
    )
    nothing = np.zeros(0, int), np.zeros(0)
    read = (splits.calibration.read, splits.calibration.forms, splits.calibration.mean)
    options = {"strongest": 10, "rule": WordRule(WORDS, 0.2), "draws": Draws(2, 0)}
    own = measure_triggers(both, read, judge, nothing, **options)[0]["tokens"]
    assert set(own.values()) == {0.0}


def test_a_tokenizer_that_tells_no_places_gives_one_form(splits: Pair[Split]) -> None:
    split = splits.calibration
    nowhere = find_word_forms(
        [split.texts[row] for row in split.read.rows], split.read.lengths, np.zeros_like(split.read.stop)
    )
    assert nowhere.names == [""]
    found = NeuronTriggers.of(split.read, WordForms(nowhere.names, nowhere.of_token), split.mean, WordRule(WORDS, 0.2))
    assert (found.classes == CONTEXTUAL).all()
