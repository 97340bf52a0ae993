"""One sentence explained: by laws, beside a loop, and as the vote over many sentences ranks it."""

import numpy as np

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign
from descry.evaluation.explanation import Explanation, count_token_votes, explain
from descry.evaluation.voting import Electorate, fit_electorate, standardise

NEURONS, DESCRIPTORS = 40, 6


def made_up(seed: int = 0) -> tuple[Activations, Findings, Electorate]:
    """Activations of 300 sentences that know their descriptors, what is found there, and the vote."""
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
    found = assign(gather_evidence(active.exemplars(20), labels), Rule())
    return active, found, fit_electorate(active, found, labels, [str(row // 3) for row in range(300)])


def explained(active: Activations, electorate: Electorate, tokens: np.ndarray, **options: int) -> Explanation:
    z = standardise(tokens, active)
    return explain(electorate, z.mean(axis=0), z, **options)


def test_the_tokens_share_out_what_the_sentence_casts() -> None:
    """The law of mean pooling: the mean over tokens is the votes of the pooled activation, before z is cut."""
    active, _, electorate = made_up()
    tokens = np.random.default_rng(1).normal(size=(7, NEURONS)).astype(np.float32)
    pooled = standardise(tokens.mean(axis=0), active)
    shares = count_token_votes(electorate, standardise(tokens, active))
    np.testing.assert_allclose(shares.mean(axis=0), pooled @ electorate.voice, atol=1e-5)
    assert np.abs(shares[0] - shares[1]).max() > 0.1


def test_every_part_equals_a_loop() -> None:
    active, found, electorate = made_up()
    tokens = 5 * np.random.default_rng(2).normal(size=(5, NEURONS)).astype(np.float32)
    result = explained(active, electorate, tokens, descriptors=4, neurons=100)
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
    assert (result.order == np.argsort(-result.probability, kind="stable")).all()
    np.testing.assert_array_equal(result.prevalence, found.evidence.prevalence)


def test_a_silent_sentence_has_no_speakers_and_scores_low() -> None:
    active, _, electorate = made_up()
    quiet = explained(active, electorate, np.tile(active.mean - 2 * active.std, (3, 1)))
    loud = explained(active, electorate, np.tile(active.mean + 2 * active.std, (3, 1)))
    assert all(len(speakers.neuron) == 0 for speakers in quiet.speakers)
    assert all(len(speakers.neuron) == 5 for speakers in loud.speakers)
    assert (quiet.tokens < loud.tokens).all()


def test_speakers_are_as_many_as_asked_for() -> None:
    active, _, electorate = made_up()
    result = explained(active, electorate, np.tile(active.mean + active.std, (2, 1)), descriptors=2, neurons=3)
    assert [len(speakers.neuron) for speakers in result.speakers] == [3, 3]
