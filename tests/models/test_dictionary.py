"""Dictionaries against the libraries that define them, and against a slow computation."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from descry.errors import InputError
from descry.models.dictionary_files import Hook, list_dictionaries
from tests.conftest import ROOT

WIDTH, LATENTS, K = 6, 10, 3
TRAINED = (
    *("standard", "uncentred", "layer_norm", "rescaled", "gated", "jumprelu", "topk", "topk_by_norm", "batchtopk"),
    *("batchtopk_unfinished", "transcoder", "skip_transcoder", "jumprelu_skip_transcoder"),
    *("sparsify", "sparsify_groups", "sparsify_transcoder"),
)


@pytest.fixture(scope="module")
def trained_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of dictionaries of every architecture, made by SAELens and sparsify, with their answers."""
    libraries = os.environ.get("DESCRY_DICTIONARIES")
    if not libraries:
        pytest.skip("DESCRY_DICTIONARIES is not set to a folder with sae-lens and eai-sparsify (make dictionaries)")
    folder = tmp_path_factory.mktemp("trained")
    script = ROOT / "tests/support/trained_elsewhere.py"
    environment = os.environ | {"PYTHONPATH": libraries, "WANDB_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, script, folder], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", TRAINED)
def test_latents_and_reconstructions_equal_those_of_the_library(name: str, trained_elsewhere: Path) -> None:
    answers = load_file(trained_elsewhere / "answers.safetensors")
    assert {key.split("/")[0] for key in answers} == {"inputs", *TRAINED}
    [stored] = list_dictionaries(trained_elsewhere / name)
    dictionary = stored.load()
    latents = dictionary(answers["inputs"])
    assert 0 < int((latents > 0).sum()) < latents.numel()
    torch.testing.assert_close(latents, answers[f"{name}/latents"], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        dictionary.reconstruct(answers["inputs"]), answers[f"{name}/written"], atol=1e-5, rtol=1e-5
    )


def draw(seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of SAELens' names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (WIDTH, LATENTS), "W_dec": (LATENTS, WIDTH), "b_enc": (LATENTS,), "b_dec": (WIDTH,)}
    shapes |= dict.fromkeys(("threshold", "b_gate", "r_mag", "b_mag"), (LATENTS,))
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def save(folder: Path, config: Mapping[str, Any] | None, weights: Mapping[str, torch.Tensor], kind: str) -> Path:
    """A folder with one dictionary. kind: the name of its weights' file."""
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        name = "config.json" if kind.startswith("params") else "cfg.json"
        (folder / name).write_text(json.dumps(config))
    if kind.endswith(".npz"):
        np.savez(folder / kind, **{key: values.numpy() for key, values in weights.items()})
    else:
        save_file({key: values.contiguous() for key, values in weights.items()}, folder / kind)
    return folder


def slow(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], token: np.ndarray) -> np.ndarray:
    """The latents of one token, latent by latent."""
    arrays = {key: values.numpy().astype(float) for key, values in weights.items()}
    if config.get("apply_b_dec_to_input", True):
        token = token - arrays["b_dec"]
    sums = [sum(token[i] * arrays["W_enc"][i, j] for i in range(WIDTH)) for j in range(LATENTS)]
    kind, out = config["architecture"], np.zeros(LATENTS)
    for j, total in enumerate(sums):
        before = total + arrays["b_enc"][j]
        if kind == "gated":
            magnitude = total * np.exp(arrays["r_mag"][j]) + arrays["b_mag"][j]
            out[j] = max(magnitude, 0) if total + arrays["b_gate"][j] > 0 else 0
        elif kind == "jumprelu":
            out[j] = max(before, 0) if before > arrays["threshold"][j] else 0
        elif kind == "topk":
            larger = sum(other + bias > before for other, bias in zip(sums, arrays["b_enc"], strict=True))
            out[j] = max(before, 0) if larger < K else 0
        else:
            out[j] = max(before, 0)
    return out


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("kind", ["standard", "gated", "jumprelu", "topk"])
def test_latents_equal_a_slow_computation(kind: str, centred: bool, tmp_path: Path) -> None:
    config = {"architecture": kind, "d_in": WIDTH, "d_sae": LATENTS, "apply_b_dec_to_input": centred, "k": K}
    weights = draw()
    if kind == "gated":
        del weights["b_enc"]
    [stored] = list_dictionaries(save(tmp_path, config, weights, "sae_weights.safetensors"))
    tokens = torch.randn(4, 3, WIDTH, generator=torch.Generator().manual_seed(1))
    latents = stored.load()(tokens)
    weights |= {"b_enc": weights.get("b_enc", torch.zeros(LATENTS))}
    expected = np.apply_along_axis(lambda token: slow(config, weights, token), 2, tokens.numpy().astype(float))
    np.testing.assert_allclose(latents.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("file", ["params.npz", "params.safetensors"])
def test_gemma_scope_reads_the_same_whatever_the_file(file: str, tmp_path: Path) -> None:
    weights = {key: values for key, values in draw().items() if key[0] in "Wb" and key[2:] in ("enc", "dec")}
    weights["threshold"] = torch.rand(LATENTS)
    named = {key.lower() if file.endswith("tensors") else key: values for key, values in weights.items()}
    [stored] = list_dictionaries(save(tmp_path / "layer_12/width_16k", None, named, file).parent.parent)
    assert (stored.name, stored.reads, stored.writes) == ("layer_12/width_16k", Hook(layer=13), None)
    token = torch.randn(WIDTH, generator=torch.Generator().manual_seed(2))
    config = {"architecture": "jumprelu", "apply_b_dec_to_input": False}
    np.testing.assert_allclose(stored.load()(token), slow(config, weights, token.numpy().astype(float)), atol=1e-5)


SAELENS = {"architecture": "topk", "k": K, "d_in": WIDTH, "d_sae": LATENTS}


@pytest.mark.parametrize(
    ("config", "reads", "writes"),
    [
        ({"metadata": {"hook_name": "blocks.3.hook_resid_post"}}, Hook("hidden", 4), None),
        ({"metadata": {"hook_name": "blocks.3.hook_resid_pre"}}, Hook("hidden", 3), None),
        ({"hook_point": "blocks.0.attn.hook_z"}, Hook("attention", 1), None),
        ({"hook_name": "blocks.0.hook_attn_out"}, Hook("attention_out", 1), None),
        ({"hook_name": "blocks.0.mlp.hook_post"}, Hook("ffn", 1), None),
        ({"metadata": {"hook_name": "encoder.layer.2"}}, Hook(module="encoder.layer.2"), None),
        (
            {
                "architecture": "transcoder",
                "metadata": {"hook_name": "blocks.1.ln2.hook_normalized", "hook_name_out": "blocks.1.hook_mlp_out"},
            },
            Hook("ffn_in", 2),
            Hook("ffn_out", 2),
        ),
        ({}, Hook(layer=8), None),
    ],
)
def test_files_say_where_a_dictionary_reads(config: dict[str, Any], reads: Hook, writes: Hook, tmp_path: Path) -> None:
    folder = save(tmp_path / "layer_7", SAELENS | config, draw(), "sae_weights.safetensors")
    [stored] = list_dictionaries(folder.parent)
    assert (stored.reads, stored.writes) == (reads, writes)


def test_gemma_scope_2_and_sparsify_name_modules(tmp_path: Path) -> None:
    points = {"hf_hook_point_in": "model.layers.5.output", "architecture": "jump_relu"}
    save(tmp_path / "a", points, draw(), "params.safetensors")
    across = points | {
        "hf_hook_point_in": "model.layers.5.norm.input",
        "hf_hook_point_out": "model.layers.5.mlp.output",
    }
    save(tmp_path / "b", across, draw(), "params.safetensors")
    save(tmp_path / "h.3.mlp", {"d_in": WIDTH, "k": K, "transcode": True}, draw(), "sae.safetensors")
    residual, transcoder, sparsify = list_dictionaries(tmp_path)
    assert (residual.reads, residual.writes) == (Hook(module="model.layers.5"), None)
    assert transcoder.reads == Hook(module="model.layers.5.norm", output=False)
    assert transcoder.writes == Hook(module="model.layers.5.mlp")
    assert (sparsify.reads, sparsify.writes) == (Hook(module="h.3.mlp", output=False), Hook(module="h.3.mlp"))


def test_configurations_before_saelens_6_name_topk_as_an_activation(tmp_path: Path) -> None:
    flat = {
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K},
        "d_in": WIDTH,
        "normalize_activations": False,
    }
    [old] = list_dictionaries(save(tmp_path / "old", flat, draw(), "sae_weights.safetensors"))
    [new] = list_dictionaries(save(tmp_path / "new", SAELENS, draw(), "sae_weights.safetensors"))
    tokens = torch.randn(9, WIDTH)
    assert torch.equal(old.load()(tokens), new.load()(tokens))


def without(key: str) -> Callable[[Path], None]:
    weights = {name: values for name, values in draw().items() if name != key}
    return lambda folder: save(folder, SAELENS, weights, "sae_weights.safetensors") and None


def configured(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: save(folder, SAELENS | changes, draw(), "sae_weights.safetensors") and None


def changed(key: str, values: torch.Tensor) -> Callable[[Path], None]:
    return lambda folder: save(folder, SAELENS, draw() | {key: values}, "sae_weights.safetensors") and None


def cut(folder: Path) -> None:
    configured()(folder)
    file = folder / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-50])


def pickled(folder: Path) -> None:
    (folder / "ae.pt").write_bytes(b"x")


def objects(folder: Path) -> None:
    np.savez(folder / "params.npz", W_enc=np.array([{}], dtype=object))


def broken_zip(folder: Path) -> None:
    (folder / "params.npz").write_bytes(b"PK\x03\x04nothing")


def no_config(folder: Path) -> None:
    configured()(folder)
    (folder / "cfg.json").unlink()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (without("W_enc"), "has no W_enc"),
        (without("b_dec"), "has no b_dec"),
        (changed("W_dec", torch.zeros(WIDTH, LATENTS)), r"W_dec has shape \[6, 10\], not 10 x 6"),
        (changed("b_enc", torch.full((LATENTS,), torch.nan)), "b_enc holds values that are not finite"),
        (configured(architecture="temporal"), "architecture is 'temporal', which is not supported"),
        (configured(activation_fn="tanh-relu"), "activation_fn is 'tanh-relu', which is not supported"),
        (configured(normalize_activations="other"), "normalize_activations is 'other'"),
        (configured(d_sae=11), r"W_enc has shape \[6, 10\], not 6 x 11"),
        (configured(k=None), "k is None, not a number"),
        (configured(k=11), "k is 11, not a number"),
        (
            configured(metadata={"hook_name": "blocks.0.hook_embed"}),
            "reads blocks.0.hook_embed, which is not supported",
        ),
        (configured(hook_head_index=2), "reads one head alone"),
        (configured(metadata=[1]), "metadata is"),
        (changed("scaling_factor", torch.full((LATENTS,), 2.0)), "has a scaling_factor"),
        (cut, "is damaged"),
        (no_config, "is not there, or not JSON"),
        (pickled, "ae.pt is a pickle"),
        (objects, "W_enc cannot be read"),
        (broken_zip, "is damaged"),
        (lambda folder: None, "there is no dictionary"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(make: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        [stored.load() for stored in list_dictionaries(tmp_path)]
    assert "\n" not in str(caught.value)
