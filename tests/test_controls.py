from pathlib import Path

import numpy as np
import pytest
import torch

from descry import controls
from descry.activations import Target, extract
from descry.surgery import matrix, up_maps
from tests.conftest import TEXT

WORDS = TEXT.split()
TEXTS = [
    " ".join(np.random.default_rng(row).choice(WORDS, size))
    for row, size in enumerate(np.random.default_rng(9).integers(2, 12, 60))
]


def inputs_of(target: Target, text: str) -> list[torch.Tensor]:
    """What goes into each layer's feed-forward block, own tokens only, one sentence at a time."""
    ids, special = target.encode([text])
    modules = [module for site in target.sites for module in up_maps(target.model, site).values()]
    return target.inputs(ids, special, [(module, lambda values, own: values[own]) for module in modules])


def test_moments_equal_those_of_all_tokens_in_one_pile(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    modules = [module for site in target.sites for module in up_maps(target.model, site).values()]
    found = controls.token_moments(target, TEXTS, modules, batch_tokens=40)
    piles = [
        torch.cat(layer).double().numpy() for layer in zip(*(inputs_of(target, text) for text in TEXTS), strict=True)
    ]
    for (mean, covariance), pile in zip(found, piles, strict=True):
        np.testing.assert_allclose(mean, pile.mean(0), atol=1e-5)
        np.testing.assert_allclose(covariance, np.cov(pile.T, bias=True), atol=1e-5)


def test_a_random_direction_has_the_mean_and_spread_of_its_neuron_but_not_its_direction(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    control = controls.random_directions(target, TEXTS, seed=3)
    assert control.widths == target.widths
    layers = zip(*(inputs_of(target, text) for text in TEXTS), strict=True)
    for pile, site, wide in zip(map(torch.cat, layers), target.sites, control.sites, strict=True):
        (own,) = up_maps(target.model, site).values()
        (both,) = up_maps(control.model, wide).values()
        neurons, directions = (pile @ matrix(both).T + both.get_parameter("bias")).split(site.width, dim=1)
        torch.testing.assert_close(matrix(both)[: site.width], matrix(own), rtol=0, atol=0)
        torch.testing.assert_close(directions.mean(0), neurons.mean(0), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(directions.std(0), neurons.std(0), atol=1e-4, rtol=1e-3)
        cosines = torch.nn.functional.cosine_similarity(matrix(both)[: site.width], matrix(both)[site.width :])
        assert cosines.abs().mean() < 0.35


def test_only_the_directions_are_read_and_the_model_runs_as_it_did(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    before = extract(target, TEXTS, np.arange(5), top_k=5)
    control = controls.random_directions(target, TEXTS, seed=3)
    found, again, other = (
        extract(control, TEXTS, np.arange(5), top_k=5),
        extract(controls.random_directions(target, TEXTS, seed=3), TEXTS, np.arange(5), top_k=5),
        extract(controls.random_directions(target, TEXTS, seed=4), TEXTS, np.arange(5), top_k=5),
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
    one, again, other = (controls.untrained(target, seed) for seed in (5, 5, 6))
    torch.testing.assert_close(torch.random.get_rng_state(), state)
    assert one.widths == target.widths
    weights = [dict(who.model.named_parameters()) for who in (target, one, again, other)]
    assert all(parts.keys() == weights[0].keys() for parts in weights)
    name = next(name for name in weights[0] if name.endswith("intermediate.dense.weight"))
    torch.testing.assert_close(weights[1][name], weights[2][name], rtol=0, atol=0)
    assert (weights[1][name] - weights[3][name]).abs().mean() > 1e-3
    assert weights[1][name].std().item() == pytest.approx(target.model.config.initializer_range, rel=0.2)


def test_every_control_is_named_and_works(tiny_bert: Path) -> None:
    assert sorted(controls.CONTROLS) == ["random_directions", "untrained_target"]
    for make in controls.CONTROLS.values():
        found = extract(make(Target(tiny_bert), TEXTS, 0), TEXTS[:8], np.arange(2), top_k=3)
        assert np.isfinite(found.values).all()
        assert (found.std > 0).all()
