"""One sentence explained: by laws, beside a loop, and as the vote over many sentences ranks it."""

from pathlib import Path

import numpy as np
import pytest

from descry.activations.record import Activations, read_activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign, rank
from descry.evaluation.explanation import Explanation, count_token_votes, explain
from descry.evaluation.voting import (
    Electorate,
    limit_loudness,
    measure_firing,
    measure_firing_pair,
    rank_descriptors,
    standardise,
)
from descry.schemas.label import LABEL_ARRAYS
from descry.splits import Pair
from descry.storage.arrays import read_arrays
from tests.conftest import ROOT

NEURONS, DESCRIPTORS = 40, 6
ACTIVATIONS = ROOT / "data" / "activations"


def made_up(seed: int = 0) -> tuple[Activations, Findings]:
    """Activations of 300 sentences that know their descriptors, and what is found there."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((300, DESCRIPTORS)) < 0.2).astype(np.int8)
    values = generator.normal(size=(300, NEURONS)).astype(np.float32)
    values[:, :30] += 2 * labels[:, np.arange(30) % DESCRIPTORS]
    values[:, -1] = 0.5
    rows = np.argsort(-values, axis=0)[:20].T.astype(np.int32)
    active = Activations(
        count=300,
        layer=np.ones(NEURONS, np.int16),
        index=np.arange(NEURONS, dtype=np.int32),
        values=np.take_along_axis(values.T, rows, 1),
        rows=rows,
        beyond=np.sort(values, axis=0)[-21],
        mean=values.mean(0),
        std=np.append(values.std(0)[:-1], np.float32(0)),
        maximum=values.max(0),
        probe_rows=np.arange(300, dtype=np.int32),
        probe=values.astype(np.float16),
        pooling="mean",
    )
    return active, assign(gather_evidence(active.exemplars(20), labels), Rule())


def explained(active: Activations, found: Findings, tokens: np.ndarray, **options: int) -> Explanation:
    own = measure_firing(active, active)
    electorate = Electorate.of(own, found)
    z = standardise(tokens, active)
    return explain(electorate, electorate.scores(own), z.mean(axis=0), z, **options)


def test_the_tokens_share_out_what_the_sentence_casts() -> None:
    """The law of mean pooling: the mean over tokens is the votes of the pooled activation, before z is cut."""
    active, found = made_up()
    tokens = np.random.default_rng(1).normal(size=(7, NEURONS)).astype(np.float32)
    own = measure_firing(active, active)
    electorate = Electorate.of(own, found)
    pooled = standardise(tokens.mean(axis=0), active)
    shares = count_token_votes(electorate, standardise(tokens, active))
    np.testing.assert_allclose(shares.mean(axis=0), pooled @ electorate.voice, atol=1e-5)
    assert np.abs(shares[0] - shares[1]).max() > 0.1


def test_every_part_equals_a_loop() -> None:
    active, found = made_up()
    tokens = 5 * np.random.default_rng(2).normal(size=(5, NEURONS)).astype(np.float32)
    result = explained(active, found, tokens, descriptors=4, neurons=100)
    own = measure_firing(active, active)
    electorate = Electorate.of(own, found)
    known = electorate.scores(own)
    z = [(tokens[:, n].mean() - active.mean[n]) / active.std[n] if active.std[n] > 0 else 0.0 for n in range(NEURONS)]
    assert min(z) < -1
    assert max(z) > 3
    for place, d in enumerate(result.order[:4]):
        parts = {n: electorate.voice[n, d] * min(max(z[n], -1.0), 3.0) for n in range(NEURONS)}
        heard = sorted((n for n in parts if parts[n] > 0), key=lambda n: -parts[n])
        speakers = result.speakers[place]
        assert speakers.neuron.tolist() == heard
        np.testing.assert_allclose(speakers.contribution, [parts[n] for n in heard], rtol=1e-3)
        np.testing.assert_allclose(speakers.z, [z[n] for n in heard], rtol=1e-3)
    for d in range(DESCRIPTORS):
        as_high = sum(known[x, d] >= result.score[d] for x in range(300))
        assert result.chance[d] == as_high / 300
    assert (result.order == np.argsort(-result.score, kind="stable")).all()


def test_a_sentence_of_calibration_is_as_likely_as_its_place_there() -> None:
    active, found = made_up()
    own = measure_firing(active, active)
    electorate = Electorate.of(own, found)
    known = electorate.scores(own)
    z = standardise(active.probe, active)
    chances = np.stack([explain(electorate, known, row, row[None]).chance for row in z])
    expected = (known[None] >= known[:, None] - 1e-4).mean(axis=1)
    np.testing.assert_allclose(chances, expected, atol=3 / 300)
    assert chances.mean() == pytest.approx(0.5, abs=0.02)


def test_a_silent_sentence_has_no_speakers_and_scores_low() -> None:
    active, found = made_up()
    quiet = explained(active, found, np.tile(active.mean - 2 * active.std, (3, 1)))
    loud = explained(active, found, np.tile(active.mean + 2 * active.std, (3, 1)))
    assert all(len(speakers.neuron) == 0 for speakers in quiet.speakers)
    assert all(len(speakers.neuron) == 5 for speakers in loud.speakers)
    assert (quiet.tokens < loud.tokens).all()


def test_speakers_are_as_many_as_asked_for() -> None:
    active, found = made_up()
    result = explained(active, found, np.tile(active.mean + active.std, (2, 1)), descriptors=2, neurons=3)
    assert [len(speakers.neuron) for speakers in result.speakers] == [3, 3]


def previous_order(fired: Pair[np.ndarray], found: Findings) -> np.ndarray:
    """The vote as it was before the electorate had a name: one function, step by step."""
    from descry.evaluation.voting import decorrelation, weigh_voices

    voice = weigh_voices(found)
    speaks = np.flatnonzero(voice.any(axis=1))
    if 2 * len(speaks) > len(voice):
        known, scores = fired.calibration @ voice, fired.validation @ voice
    else:
        known, scores = fired.calibration[:, speaks] @ voice[speaks], fired.validation[:, speaks] @ voice[speaks]
    spread = known.std(axis=0)
    spoken = np.flatnonzero(spread > 0)
    mean, spread = known[:, spoken].mean(axis=0), spread[spoken]
    out = np.tile(-1e9 + found.evidence.prevalence, (len(scores), 1))
    out[:, spoken] = (scores[:, spoken] - mean) / spread @ decorrelation((known[:, spoken] - mean) / spread)
    return out


@pytest.mark.skipif(not ACTIVATIONS.is_dir(), reason="the activations are not at hand: run `dvc repro` or `dvc pull`")
@pytest.mark.parametrize("alpha", [0.05, 1e-12])
def test_on_the_committed_run_the_vote_is_what_it_was_and_explanations_rank_as_it_does(alpha: float) -> None:
    active = Pair(*(read_activations(ACTIVATIONS / f"{split}.safetensors") for split in Pair.__annotations__))
    path = Path(ROOT / "data/labels/first/calibration.safetensors")
    labels = read_arrays(path, LABEL_ARRAYS)[0]["labels"]
    found = assign(gather_evidence(active.calibration.exemplars(200), labels), Rule(alpha=alpha))
    heard = measure_firing_pair(active)
    electorate = Electorate.of(heard.calibration, found)
    scores = electorate.scores(heard.validation)
    np.testing.assert_array_equal(scores, previous_order(heard, found))
    order = rank_descriptors(heard, found)
    np.testing.assert_array_equal(order, rank(scores))
    known = electorate.scores(heard.calibration)
    z = standardise(active.validation.probe[:200], active.calibration)
    np.testing.assert_array_equal(limit_loudness(z), heard.validation[:200])
    for row, expected in zip(z, order, strict=False):
        np.testing.assert_array_equal(explain(electorate, known, row, row[None]).order[:5], expected[:5])
