import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import known_answers
from descry.activations.extraction import extract
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign
from descry.evaluation.gold import label_aspects
from descry.models.surgery import find_up_maps
from descry.models.target import Target
from descry.storage.nesting import flatten
from tests.conftest import ROOT

ALPHA = 0.05
RULE = Rule(exemplars=200, alpha=ALPHA)


@pytest.fixture(scope="module")
def world() -> known_answers.Synthetic:
    return known_answers.build_synthetic(0)


def test_a_world_is_its_seed(world: known_answers.Synthetic) -> None:
    again, other = known_answers.build_synthetic(0), known_answers.build_synthetic(1)
    assert all(np.array_equal(value, vars(again)[name]) for name, value in vars(world).items())
    assert not np.array_equal(world.activations, other.activations)


def test_neurons_fire_on_what_they_are_said_to_fire_on(world: known_answers.Synthetic) -> None:
    for neuron in range(len(world.kind)):
        kind, values = world.kind[neuron], world.activations[:, neuron]
        about = world.truth[:, world.about[neuron]]
        if kind == "dead":
            assert not values.any()
        elif kind == "decoy":
            assert not about.size
        else:
            assert about.shape[1] == (1 if kind in ("one", "opposed") else 2)
            holds = about.all(axis=1) if "conjunction" in kind else about.any(axis=1) ^ (kind == "opposed")
            assert kind != "conjunction" or holds.sum() >= 40
            assert kind != "rare_conjunction" or holds.sum() < 40
            if holds.sum() >= 10:
                assert 1.0 < values[holds].mean() - values[~holds].mean() < 4.0


def test_noise_drops_and_adds_the_shares_it_is_told_to() -> None:
    truth = np.random.default_rng(0).random((50_000, 3)) < [0.02, 0.1, 0.3]
    observed = known_answers.add_label_noise(np.random.default_rng(1), truth, 0.2, 0.1)
    assert observed.dtype == np.int8
    for column, true in zip((observed == 1).T, truth.T, strict=True):
        assert (~column & true).sum() / true.sum() == pytest.approx(0.2, abs=0.04)
        assert (column & ~true).sum() / true.sum() == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(known_answers.add_label_noise(np.random.default_rng(1), truth, 0.0, 0.0), truth)


def test_exemplars_are_an_exact_sort_and_dead_neurons_have_none() -> None:
    values = np.random.default_rng(0).normal(size=(60, 9)).astype(np.float32)
    values[:, 4] = 0.0
    values[:, 5] *= np.arange(60) % 20 == 0  # fires on three sentences at most
    expected = np.argsort(-values, axis=0, kind="stable")[:7].T
    expected[np.take_along_axis(values.T, expected, 1) == 0] = -1
    np.testing.assert_array_equal(known_answers.take_exemplars(values, 7), expected)


def test_recovery_counts_as_a_slow_count_does(world: known_answers.Synthetic) -> None:
    found = known_answers.measure_planted_recovery(world, replace(RULE, exemplars=100))
    evidence = gather_evidence(known_answers.take_exemplars(world.activations, 100), world.observed)
    assigned = assign(evidence, RULE).assigned
    pairs = {(n, d) for n, d in np.argwhere(assigned).tolist()}
    truth = {(n, d) for n, d in np.argwhere(world.about).tolist() if world.kind[n] not in ("opposed", "decoy", "dead")}
    usual = {(n, d) for n, d in truth if world.kind[n] != "rare_conjunction"}
    assert found["recall"] == pytest.approx(len(pairs & usual) / len(usual))
    assert found["recall_with_rare"] == pytest.approx(len(pairs & truth) / len(truth))
    assert found["fdr"] == pytest.approx(len(pairs - truth) / len(pairs))
    two = {(n, d) for n, d in truth if world.kind[n] == "two"}
    assert found["kinds"]["two"]["recall"] == pytest.approx(len(pairs & two) / len(two))


@pytest.fixture(scope="module")
def recovered() -> dict[str, float]:
    worlds = [known_answers.build_synthetic(seed) for seed in range(5)]
    runs = [flatten(known_answers.measure_planted_recovery(world, RULE)) for world in worlds]
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}


def test_planted_pairs_are_found_and_little_else(recovered: dict[str, float]) -> None:
    assert recovered["recall"] >= 0.95
    assert min(recovered[f"kinds.{kind}.recall"] for kind in ("one", "two", "conjunction")) >= 0.93
    assert 0 < recovered["fdr"] <= ALPHA + 0.01


def test_neurons_without_a_descriptor_receive_hardly_any(recovered: dict[str, float]) -> None:
    assert recovered["opposed"] == 0.0
    assert recovered["kinds.dead.false_pairs"] == 0.0
    assert recovered["kinds.decoy.false_pairs"] < 0.05
    assert recovered["kinds.opposed.false_pairs"] < 0.05


def test_noise_in_the_labels_lowers_recall_and_not_the_share_of_true_findings() -> None:
    worlds = [known_answers.build_synthetic(2, dropped=share) for share in (0.0, 0.4, 0.8)]
    runs = [known_answers.measure_planted_recovery(world, RULE) for world in worlds]
    assert runs[0]["recall"] > runs[1]["recall"] > runs[2]["recall"]
    assert max(run["fdr"] for run in runs) <= ALPHA + 0.01


@pytest.fixture(scope="module")
def reviews() -> tuple[list[str], np.ndarray, list[str]]:
    """Texts, labels of three gold aspects, and review ids of the first reviews of the corpus."""
    names = ["battery life", "noise", "taste and smell"]
    lines = [json.loads(line) for line in (ROOT / "data/reviews.jsonl").read_text("utf-8").splitlines()[:90]]
    rows = [(s["text"], [a for a in s["aspects"] if a in names], r["review_id"]) for r in lines for s in r["sentences"]]
    texts, aspects, ids = map(list, zip(*rows, strict=True))
    return texts, label_aspects(aspects, names), ids


def test_inputs_are_what_the_up_maps_read(tiny_bert: Path) -> None:
    target, texts = Target(tiny_bert), ["the battery died", "small loud box and sound"]
    inputs = known_answers.read_ffn_inputs(target, texts, pooling="mean")
    assert sorted(inputs) == [1, 2, 3]
    for site in target.sites:
        seen: list[torch.Tensor] = []
        (up,) = find_up_maps(target.model, site).values()
        hook = up.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0][0, 1:-1].mean(0)))
        for text in texts:
            known_answers.read_last_hidden_state(target, [text])
        hook.remove()
        np.testing.assert_allclose(inputs[site.layer], torch.stack(seen).numpy(), atol=2e-3)
    assert target.widths == [48] * 3


def test_thresholded_neurons_are_open_on_their_share_of_sentences() -> None:
    generator = np.random.default_rng(0)
    inputs, weights = generator.normal(1.0, 3.0, size=(1000, 8)), generator.normal(size=(5, 8))
    new = known_answers.set_thresholds(weights, inputs, quantile=0.9, scale=2.0)
    before = inputs @ new.weights.numpy().T + new.biases.numpy()
    np.testing.assert_allclose((before > 0).mean(axis=0), 0.1, atol=2e-3)
    np.testing.assert_allclose(before.std(axis=0), 2.0)
    cosine = (
        (new.weights.numpy() * weights).sum(1) / np.linalg.norm(new.weights, axis=1) / np.linalg.norm(weights, axis=1)
    )
    np.testing.assert_allclose(cosine, 1.0)


def test_named_asks_for_the_strongest_assigned_descriptor() -> None:
    strength = np.array([[9.0, 5.0, 1.0], [9.0, 5.0, 1.0], [3.0, 5.0, 9.0], [9.0, 5.0, 1.0]])
    assigned = np.array([[True, True, False], [False, True, True], [False, False, False], [True, False, False]])
    found: Any = Findings(None, strength, strength, strength, assigned)  # type: ignore[arg-type]
    wanted = np.array([[True, False, False], [False, True, False], [True, True, True], [False, True, True]])
    assert known_answers.share_named(found, np.arange(4), wanted) == 0.5
    assert known_answers.share_named(found, np.array([1]), wanted[[1]]) == 1.0


def test_change_of_outputs_is_seen_where_there_is_one(tiny_bert: Path) -> None:
    one, other = Target(tiny_bert), Target(tiny_bert)
    texts = ["the battery died after a week", "loud", "box was torn"]
    assert known_answers.measure_output_change(one, other, texts, batch=2) == 0.0
    other.sites[2].module.bias.data[0] += 1.0
    assert known_answers.measure_output_change(one, other, texts, batch=2) > 0.01


@pytest.fixture(scope="module")
def operated(
    embedded_model: Path, reviews: tuple[list[str], np.ndarray, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Target, Target]:
    """The first three layers of the embedded model, and a copy with 2 x 3 probes and 6 decoys in the second."""
    texts, labels, ids = reviews
    whole, folder = Target(embedded_model), tmp_path_factory.mktemp("operated")
    whole.model.encoder.layer, whole.model.config.num_hidden_layers = whole.model.encoder.layer[:3], 3
    original = whole.replace_model(whole.model)
    inputs = known_answers.read_ffn_inputs(original, texts)[2]
    probes = known_answers.train_linear_probes(inputs, labels == 1, ids, repeats=2, seed=0).reshape(6, -1)
    weights = np.concatenate([probes, np.random.default_rng(0).normal(size=probes.shape)])
    known_answers.save_copy(original, {2: known_answers.set_thresholds(weights, inputs)}, folder)
    return original, Target(folder)


def test_the_copy_computes_what_the_original_does(
    operated: tuple[Target, Target], reviews: tuple[list[str], np.ndarray, list[str]]
) -> None:
    original, copy = operated
    assert original.widths == [1536] * 3
    assert copy.widths == [1548] * 3
    assert known_answers.measure_output_change(original, copy, reviews[0][:50]) == 0.0


def test_neurons_planted_in_a_real_model_are_named(
    operated: tuple[Target, Target], reviews: tuple[list[str], np.ndarray, list[str]]
) -> None:
    texts, labels, _ = reviews
    active = extract(operated[1], texts, np.arange(0), top_k=50)
    found = assign(gather_evidence(active.exemplars(50), labels), Rule())
    new = np.flatnonzero((active.layer == 2) & (active.index >= 1536))
    aspect = np.eye(3, dtype=bool)
    assert known_answers.share_named(found, new[:6], np.tile(aspect, (2, 1))) == 1.0
    assert known_answers.share_named(found, new[:6], np.tile(aspect[[1, 2, 0]], (2, 1))) == 0.0
    strength = found.strength.max(axis=1)
    assert strength[new[:6]].min() > strength[new[6:]].max()
    untouched = (active.layer != 2) & (active.index >= 1536)
    assert not found.described[untouched].any()
