from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from descry.activations.extraction import extract
from descry.models import controls
from descry.models.neurons import Site
from descry.models.surgery import find_up_maps, split_halves, weight_matrix
from descry.models.target import Target
from tests.conftest import TEXT
from tests.support.families import FAMILIES

WORDS = TEXT.split()
TEXTS = [
    " ".join(np.random.default_rng(row).choice(WORDS, size))
    for row, size in enumerate(np.random.default_rng(9).integers(2, 12, 60))
]


def into(target: Target) -> list[Site]:
    """The inputs of the maps that lead into the neurons."""
    return [replace(site, module=up) for site in target.sites for up in find_up_maps(target.model, site).values()]


def inputs_of(target: Target, text: str) -> list[torch.Tensor]:
    """What goes into each layer's feed-forward block, own tokens only, one sentence at a time."""
    ids, special = target.encode([text])
    return target.read(ids, special, [(site, lambda values, own: values[own]) for site in into(target)])


def test_moments_equal_those_of_all_tokens_in_one_pile(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    found = controls.measure_token_moments(target, TEXTS, into(target), batch_tokens=40)
    piles = [
        torch.cat(layer).double().numpy() for layer in zip(*(inputs_of(target, text) for text in TEXTS), strict=True)
    ]
    for (mean, covariance), pile in zip(found, piles, strict=True):
        np.testing.assert_allclose(mean, pile.mean(0), atol=1e-5)
        np.testing.assert_allclose(covariance, np.cov(pile.T, bias=True), atol=1e-5)


def test_a_random_direction_has_the_mean_and_spread_of_its_neuron_but_not_its_direction(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    control = controls.build_random_directions(target, TEXTS, seed=3)
    assert control.widths == target.widths
    layers = zip(*(inputs_of(target, text) for text in TEXTS), strict=True)
    for pile, site, wide in zip(map(torch.cat, layers), target.sites, control.sites, strict=True):
        (own,) = find_up_maps(target.model, site).values()
        (both,) = find_up_maps(control.model, wide).values()
        neurons, directions = (pile @ weight_matrix(both).T + both.get_parameter("bias")).split(site.width, dim=1)
        torch.testing.assert_close(weight_matrix(both)[: site.width], weight_matrix(own), rtol=0, atol=0)
        torch.testing.assert_close(directions.mean(0), neurons.mean(0), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(directions.std(0), neurons.std(0), atol=1e-4, rtol=1e-3)
        cosines = torch.nn.functional.cosine_similarity(
            weight_matrix(both)[: site.width], weight_matrix(both)[site.width :]
        )
        assert cosines.abs().mean() < 0.35


def test_only_the_directions_are_read_and_the_model_runs_as_it_did(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    before = extract(target, TEXTS, np.arange(5), top_k=5)
    control = controls.build_random_directions(target, TEXTS, seed=3)
    found, again, other = (
        extract(control, TEXTS, np.arange(5), top_k=5),
        extract(controls.build_random_directions(target, TEXTS, seed=3), TEXTS, np.arange(5), top_k=5),
        extract(controls.build_random_directions(target, TEXTS, seed=4), TEXTS, np.arange(5), top_k=5),
    )
    np.testing.assert_array_equal(found.layer, before.layer)
    np.testing.assert_array_equal(found.values, again.values)
    assert not np.allclose(found.mean, other.mean)
    assert not np.allclose(found.mean, before.mean, atol=1e-3)
    np.testing.assert_array_equal(extract(target, TEXTS, np.arange(5), top_k=5).values, before.values)
    ids, special = target.encode(TEXTS[:4])
    tokens, attention, _ = target.batch(ids, special)
    with torch.inference_mode():
        outs = [model(input_ids=tokens, attention_mask=attention)[0] for model in (target.model, control.model)]
    torch.testing.assert_close(outs[1], outs[0], rtol=0, atol=0)


def test_the_untrained_target_is_the_same_architecture_with_the_seeds_weights(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    state = torch.random.get_rng_state()
    one, again, other = (controls.build_untrained(target, seed) for seed in (5, 5, 6))
    torch.testing.assert_close(torch.random.get_rng_state(), state)
    assert one.widths == target.widths
    weights = [dict(who.model.named_parameters()) for who in (target, one, again, other)]
    assert all(parts.keys() == weights[0].keys() for parts in weights)
    name = next(name for name in weights[0] if name.endswith("intermediate.dense.weight"))
    torch.testing.assert_close(weights[1][name], weights[2][name], rtol=0, atol=0)
    assert (weights[1][name] - weights[3][name]).abs().mean() > 1e-3
    assert weights[1][name].std().item() == pytest.approx(target.model.config.initializer_range, rel=0.2)


def test_every_control_is_named_and_works(tiny_bert: Path) -> None:
    assert sorted(controls.MAKERS) == ["random_directions", "target_neurons", "untrained_target"]
    for make in controls.MAKERS.values():
        found = extract(make(Target(tiny_bert), TEXTS, 0), TEXTS[:8], np.arange(2), top_k=3)
        assert np.isfinite(found.values).all()
        assert (found.std > 0).all()


STACKED = [("t5", "encoder"), ("t5", "decoder"), ("t5", "both"), ("t5_gated", "both")]
ALONE = ["bert", "albert_groups", "modernbert", "gpt2", "neox", "llama", "gemma", "phi3"]


@pytest.mark.parametrize(("name", "stack"), [*((name, "encoder") for name in ALONE), *STACKED])
def test_directions_have_the_moments_of_their_neurons(name: str, stack: Any, tmp_path: Path) -> None:
    target = Target(FAMILIES[name].save(tmp_path), stack=stack, layers=[1, 2])
    control = controls.build_random_directions(target, TEXTS, seed=3)
    assert control.widths == target.widths
    piles = map(torch.cat, zip(*(inputs_of(target, text) for text in TEXTS), strict=True))
    for pile, one, other in zip(piles, into(target), into(control), strict=True):
        if one.call:  # it shares the weights of the layer before, of whose neurons they have the moments
            continue
        bias = getattr(other.module, "bias", None)
        outputs = pile @ weight_matrix(other.module).T + (0 if bias is None else bias)
        neurons, directions = split_halves(outputs.T.contiguous(), 2 * one.width).split(one.width, dim=1)
        torch.testing.assert_close(directions.std(-1), neurons.std(-1), atol=1e-3, rtol=1e-2)
        if bias is not None:
            torch.testing.assert_close(directions.mean(-1), neurons.mean(-1), atol=1e-3, rtol=1e-2)
        kept = split_halves(weight_matrix(other.module).contiguous(), 2 * one.width)[:, : one.width]
        torch.testing.assert_close(kept.flatten(0, 1), weight_matrix(one.module))
    found = extract(control, TEXTS, np.arange(5), top_k=5)
    assert found.layer.tolist() == np.repeat([1, 2], target.widths).tolist()
    assert (found.std > 0).all()


@pytest.mark.parametrize("site", ["hidden", "attention"])
@pytest.mark.parametrize(
    ("name", "stack"), [("bert", "encoder"), ("albert", "encoder"), ("gpt2", "encoder"), ("t5", "both")]
)
def test_directions_of_values_without_a_non_linearity_have_their_mean_and_spread(
    name: str, stack: Any, site: Any, tmp_path: Path
) -> None:
    target = Target(FAMILIES[name].save(tmp_path), site=site, stack=stack, layers=[1, 3])
    control = controls.build_random_directions(target, TEXTS, seed=3)
    assert [site.layer for site in control.sites] == [1, 3]

    def values(which: Target) -> list[torch.Tensor]:
        ids, special = which.encode(TEXTS)
        sights = [(site, lambda values, own, site=site: site.read(values)[own]) for site in which.sites]
        return which.read(ids, special, sights)  # type: ignore[arg-type]

    for one, other, again in zip(
        values(target), values(control), values(controls.build_random_directions(target, TEXTS, seed=3)), strict=True
    ):
        torch.testing.assert_close(other.mean(0), one.mean(0), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(other.std(0), one.std(0), atol=1e-4, rtol=1e-3)
        correlations = np.corrcoef(one.T, other.T)[: one.shape[1], one.shape[1] :]
        assert np.abs(np.diag(correlations)).mean() < 0.5
        torch.testing.assert_close(again, other, rtol=0, atol=0)
    before = extract(target, TEXTS, np.arange(5), top_k=5)
    found = extract(control, TEXTS, np.arange(5), top_k=5)
    assert found.layer.tolist() == before.layer.tolist()
    assert np.isfinite(found.values).all()
    assert not np.allclose(found.values, before.values, atol=1e-2)


@pytest.mark.parametrize("stack", ["encoder", "decoder", "both"])
@pytest.mark.parametrize("site", ["ffn", "attention"])
def test_the_untrained_target_reads_the_same_neurons(stack: Any, site: Any, tmp_path: Path) -> None:
    target = Target(FAMILIES["t5"].save(tmp_path), site=site, stack=stack, layers=[2])
    control = controls.build_untrained(target, 0)
    assert [(one.name, one.width) for one in control.sites] == [(one.name, one.width) for one in target.sites]
    found = extract(control, TEXTS[:8], np.arange(2), top_k=3)
    assert not np.allclose(found.values, extract(target, TEXTS[:8], np.arange(2), top_k=3).values)
