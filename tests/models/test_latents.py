"""Where the values of dictionaries are found in a model, and what is read there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForMaskedLM

from descry.activations.extraction import extract
from descry.activations.firing import count_firing
from descry.errors import InputError
from descry.models.controls import build_random_directions, build_untrained
from descry.models.dictionary import Dictionary
from descry.models.neurons import describe_sites
from descry.models.reconstruction import check_dictionaries, measure_explained_variance
from descry.models.target import Target
from tests.conftest import TEXT
from tests.support.dictionaries import LATENTS, WIDTH, K, run_by_hand, save_dictionary

WORDS = TEXT.split()
TEXTS = [
    " ".join(np.random.default_rng(row).choice(WORDS, size))
    for row, size in enumerate(np.random.default_rng(9).integers(2, 12, 50))
]
NEURONS = 48


def hooked(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"hook_name": name, **more}}


PLACES = {
    "layer": (hooked("blocks.1.hook_resid_post"), WIDTH, 2, "encoder.layer.1", True),
    "layer before": (hooked("blocks.2.hook_resid_pre"), WIDTH, 2, "encoder.layer.1", True),
    "ffn output": (hooked("blocks.0.hook_mlp_out"), WIDTH, 1, "encoder.layer.0.output.dense", True),
    "ffn neurons": (hooked("blocks.0.mlp.hook_post"), NEURONS, 1, "encoder.layer.0.output.dense", False),
    "ffn input": (hooked("blocks.2.ln2.hook_normalized"), WIDTH, 3, "encoder.layer.2.intermediate.dense", False),
    "attention output": (hooked("blocks.1.hook_attn_out"), WIDTH, 2, "encoder.layer.1.attention.output.dense", True),
    "attention input": (hooked("blocks.1.attn.hook_z"), WIDTH, 2, "encoder.layer.1.attention.output.dense", False),
    "module": (hooked("bert.encoder.layer.2.attention"), WIDTH, 3, "encoder.layer.2.attention", True),
    "module's input": (hooked("encoder.layer.2.output.input"), NEURONS, 3, "encoder.layer.2.output", False),
    "folder": ({}, WIDTH, 2, "encoder.layer.1", True),
}


@pytest.mark.parametrize("name", PLACES)
def test_latents_are_read_where_the_file_says(name: str, tiny_bert: Path, tmp_path: Path) -> None:
    config, width, layer, module, output = PLACES[name]
    save_dictionary(tmp_path / "layer_1", width, **config)
    target = Target(tiny_bert, dictionaries=tmp_path, site="hidden")
    [site] = target.sites
    assert (site.layer, site.name, site.output, target.widths) == (layer, module, output, [LATENTS])
    assert isinstance(site.encoder, Dictionary)
    pooled = target.pool(*target.encode(TEXTS[:5]), ["mean", "max"])
    for text, mean, maximum in zip(TEXTS[:5], *pooled, strict=True):
        latents = site.encoder(run_by_hand(target, text, module, output=output))
        torch.testing.assert_close(latents.mean(0), mean, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(latents.amax(0), maximum, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("hook", ["bert.encoder.layer.1", "encoder.layer.1", "blocks.1.hook_resid_post"])
def test_a_model_with_its_head_has_the_same_latents(hook: str, tiny_bert: Path, tmp_path: Path) -> None:
    save_dictionary(tmp_path / "one", **hooked(hook))
    target = Target(tiny_bert, dictionaries=tmp_path)
    headed = BertForMaskedLM(target.model.config)
    headed.bert.load_state_dict(target.model.state_dict(), strict=False)
    other = target.replace_model(headed)
    assert [site.name for site in other.sites] == ["bert.encoder.layer.1"]
    encoded = target.encode(TEXTS[:4])
    torch.testing.assert_close(other.pool(*encoded, ["mean"]), target.pool(*encoded, ["mean"]))


@pytest.mark.parametrize(
    ("site", "module", "output"),
    [
        ("hidden", "encoder.layer.1", True),
        ("ffn", "encoder.layer.1.output.dense", True),
        ("attention", "encoder.layer.1.attention.output.dense", False),
    ],
)
def test_without_a_hook_the_settings_say_where(
    site: Any, module: str, output: bool, tiny_bert: Path, tmp_path: Path
) -> None:
    save_dictionary(tmp_path / "layer_1")
    [found] = Target(tiny_bert, dictionaries=tmp_path, site=site).sites
    assert (found.layer, found.name, found.output) == (2, module, output)


def test_layers_are_in_order_and_can_be_chosen(tiny_bert: Path, tmp_path: Path) -> None:
    for number in (2, 0):
        save_dictionary(tmp_path / f"layer_{number}", seed=number)
    target = Target(tiny_bert, dictionaries=tmp_path, site="hidden")
    assert target.neurons[0].tolist() == [1] * LATENTS + [3] * LATENTS
    assert describe_sites(target.sites) == "latents of a dictionary of outputs of encoder.layer.*"
    assert [site.layer for site in Target(tiny_bert, dictionaries=tmp_path, site="hidden", layers=[3]).sites] == [3]


@pytest.mark.parametrize(("folders", "options", "said"), [
    ({"layer_5": {}}, {}, "is of layer 6, but BertModel has 3 layers"),
    ({"layer_1": {"width": 20}}, {}, "has vectors of 20 values, but the outputs of encoder.layer.1 have 24"),
    ({"some": {}}, {}, "say which layer it reads"),
    ({"layer_1": hooked("model.layers.3")}, {}, "BertModel has no such module"),
    ({"layer_1": hooked("embeddings")}, {}, "lies in no single layer"),
    ({"layer_1": {}, "b": hooked("encoder.layer.1.output.dense")}, {}, "are both of layer 2; keep one"),
    ({"layer_1": {}}, {"layers": [1]}, "extract.layers names 1; dictionaries are of the layers 2"),
    ({"layer_1": {"outputs": 20}}, {}, "has vectors of 20 values, but the outputs of encoder.layer.1.output.dense"),
])  # fmt: skip
def test_a_dictionary_that_does_not_fit_is_refused(
    folders: dict[str, Any], options: Any, said: str, tiny_bert: Path, tmp_path: Path
) -> None:
    for name, config in folders.items():
        save_dictionary(tmp_path / name, **config)
    with pytest.raises(InputError, match=said) as caught:
        Target(tiny_bert, dictionaries=tmp_path, site="hidden", **options)
    assert "\n" not in str(caught.value)


def exact(target: Target, scale: float = 1.0) -> Dictionary:
    """A dictionary that reconstructs `scale` times what it reads: a positive and a negative latent for each value."""
    eye = torch.eye(WIDTH)
    zeros = torch.zeros(2 * WIDTH), torch.zeros(WIDTH)
    both = torch.cat([eye, -eye])
    return Dictionary(both, zeros[0], torch.relu, scale * both, zeros[1])


def test_explained_variance_is_that_of_all_tokens_in_one_pile(tiny_bert: Path, tmp_path: Path) -> None:
    save_dictionary(tmp_path / "layer_0")
    save_dictionary(tmp_path / "layer_2", outputs=WIDTH, metadata={"hook_name": "blocks.2.ln2.hook_normalized"})
    target = Target(tiny_bert, dictionaries=tmp_path, site="hidden")
    shares = measure_explained_variance(target, target.sites, TEXTS, batch_tokens=40)
    places = {1: ("encoder.layer.0", True), 3: ("encoder.layer.2.intermediate.dense", False)}
    for site, share in zip(target.sites, shares, strict=True):
        pile = torch.cat(
            [run_by_hand(target, text, places[site.layer][0], output=places[site.layer][1]) for text in TEXTS]
        )
        real = pile if site.layer == 1 else torch.cat(
            [run_by_hand(target, text, "encoder.layer.2.output.dense", output=True) for text in TEXTS]
        )  # fmt: skip
        assert isinstance(site.encoder, Dictionary)
        errors = (site.encoder.reconstruct(pile) - real).square().sum()
        expected = 1 - errors / (real - real.mean(0)).square().sum()
        assert share == pytest.approx(float(expected), rel=1e-3)
    with pytest.raises(InputError, match="no more than their mean does; it belongs to another") as caught:
        check_dictionaries(target, TEXTS)
    assert "\n" not in str(caught.value)


def test_a_dictionary_at_its_place_explains_all_and_passes(tiny_bert: Path, tmp_path: Path) -> None:
    save_dictionary(tmp_path / "layer_0")
    target = Target(tiny_bert, dictionaries=tmp_path, site="hidden")
    target.sites = [replace(target.sites[0], encoder=exact(target), width=2 * WIDTH)]
    assert check_dictionaries(target, TEXTS) == {1: pytest.approx(1)}
    assert check_dictionaries(Target(tiny_bert), TEXTS) == {}


def test_a_dictionary_that_fits_a_neighbouring_layer_better_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    save_dictionary(tmp_path / "layer_1")
    target = Target(tiny_bert, dictionaries=tmp_path, site="hidden")
    norm = target.model.encoder.layer[1].output.LayerNorm.weight
    norm.data = torch.rand(WIDTH, generator=torch.Generator().manual_seed(0)).square()  # lets the layers differ
    pile = torch.cat([run_by_hand(target, text, "encoder.layer.2", output=True) for text in TEXTS]).double()
    centred = pile - pile.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:6].float()
    both = torch.cat([directions, -directions])
    shift = pile.mean(0).float()
    fitted = Dictionary(both, torch.zeros(12), torch.relu, both, shift, centred=True)
    target.sites = [replace(target.sites[0], encoder=fitted, width=12)]
    own, after = measure_explained_variance(
        target, [target.sites[0], replace(target.sites[0], module=target.model.encoder.layer[2])], TEXTS
    )
    assert 0 < own < after - 0.1, "the test needs layers that differ"
    with pytest.raises(InputError, match=rf"{own:.2f} of .*encoder.layer.1, but {after:.2f} of .*encoder.layer.2"):
        check_dictionaries(target, TEXTS)


def test_exemplars_are_sentences_on_which_a_latent_fires(tiny_bert: Path, tmp_path: Path) -> None:
    save_dictionary(tmp_path / "layer_1")
    target = Target(tiny_bert, dictionaries=tmp_path, site="hidden")
    active = extract(target, TEXTS, np.arange(len(TEXTS)), top_k=60, pooling="mean")
    fires = active.probe > 0
    dead, always = ~fires.any(axis=0), fires.all(axis=0)
    assert dead.any(), "the test needs latents that never fire"
    exemplars = active.exemplars(60)
    for unit in np.flatnonzero(~always):
        chosen = exemplars[unit][exemplars[unit] >= 0]
        assert set(chosen) == set(np.flatnonzero(fires[:, unit]))
    assert count_firing(active) == {
        "units": LATENTS, "dead": dead.sum(), "always": always.sum(), "rate": pytest.approx(fires.mean()),
    }  # fmt: skip


def test_random_directions_keep_the_non_linearity_and_the_moments(tiny_bert: Path, tmp_path: Path) -> None:
    save_dictionary(tmp_path / "layer_1")
    target = Target(tiny_bert, dictionaries=tmp_path, site="hidden")
    control = build_random_directions(target, TEXTS, seed=3)
    pile = torch.cat([run_by_hand(target, text, "encoder.layer.1", output=True) for text in TEXTS])
    before = []
    for site in (target.sites[0], control.sites[0]):
        assert isinstance(site.encoder, Dictionary)
        assert torch.equal((site.encoder(pile) > 0).sum(1) <= K, torch.ones(len(pile), dtype=torch.bool))
        before.append(site.encoder.prepare(pile) @ site.encoder.weight.T + site.encoder.bias)
    torch.testing.assert_close(before[0].mean(0), before[1].mean(0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(before[0].std(0), before[1].std(0), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(before[0], before[1], atol=0.1)
    assert control.widths == build_untrained(target, 0).widths == target.widths


def test_the_neurons_of_the_layers_of_dictionaries_are_those_of_the_model(tiny_bert: Path, tmp_path: Path) -> None:
    for layer in (0, 2):
        save_dictionary(tmp_path / f"layer_{layer}")
    neurons = Target(tiny_bert, dictionaries=tmp_path, site="hidden").read_neurons()
    expected = Target(tiny_bert, layers=[1, 3])
    assert [site.name for site in neurons.sites] == [site.name for site in expected.sites]
    pooled = [target.pool(*target.encode(TEXTS[:9]), ["mean"]) for target in (neurons, expected)]
    torch.testing.assert_close(*pooled, rtol=0, atol=0)
    for one, other in zip(neurons.neurons, expected.neurons, strict=True):
        np.testing.assert_array_equal(one, other)
