import json
from pathlib import Path

import pytest

from descry.errors import InputError
from descry.models.dictionary_fetch import fetch_dictionaries
from descry.models.dictionary_files import list_dictionaries
from descry.models.fetch import Origin, hash_files
from descry.storage.files import sha256
from tests.support.dictionaries import save_dictionary


def test_dictionaries_are_copied_under_their_names_with_their_hashes(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "data/dictionaries"
    for name in ("run/layer_0", "run/layer_2"):
        save_dictionary(source / name)
    (source / "run/notes.txt").write_text("kept out")
    destination.parent.mkdir()
    sums = fetch_dictionaries(Origin(str(source)), destination)
    copied = {path.relative_to(destination).as_posix(): path for path in destination.rglob("*") if path.is_file()}
    assert sums == {name: sha256(path) for name, path in copied.items()}
    assert set(sums) == {
        f"run/layer_{number}/{name}" for number in (0, 2) for name in ("cfg.json", "sae_weights.safetensors")
    }
    assert [one.name for one in list_dictionaries(destination)] == ["run/layer_0", "run/layer_2"]
    assert fetch_dictionaries(Origin(str(source), sha256=hash_files(sums)), destination) == sums
    with pytest.raises(InputError, match="have sha256"):
        fetch_dictionaries(Origin(str(source), sha256="0" * 64), destination)


def test_a_single_dictionary_keeps_the_name_of_its_folder(tmp_path: Path) -> None:
    sums = fetch_dictionaries(Origin(str(save_dictionary(tmp_path / "layer_1"))), tmp_path / "copy")
    assert set(sums) == {"layer_1/cfg.json", "layer_1/sae_weights.safetensors"}


def test_without_a_source_there_are_none(tmp_path: Path) -> None:
    assert fetch_dictionaries(Origin(""), tmp_path / "copy") == {}
    assert list((tmp_path / "copy").iterdir()) == []


def test_what_is_no_dictionary_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    folder = save_dictionary(tmp_path / "source/layer_0")
    (folder / "cfg.json").write_text(json.dumps({"architecture": "temporal"}))
    save_dictionary(tmp_path / "source/layer_1")
    for source, said in (
        (tmp_path / "source", "layer_0/cfg.json: architecture is 'temporal'"),
        (tmp_path / "nowhere", "no such folder"),
        ("owner/name/../secret", "no such folder"),
        ("owner/name/folder", "neither a local folder nor a Hub id with its revision"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            fetch_dictionaries(Origin(str(source)), tmp_path / "copy")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "copy").exists()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = save_dictionary(tmp_path / "source/layer_0")
    secret = tmp_path / "secret.json"
    (folder / "cfg.json").rename(secret)
    (folder / "cfg.json").symlink_to(secret)
    with pytest.raises(InputError, match="leads out of the folder"):
        fetch_dictionaries(Origin(str(tmp_path / "source")), tmp_path / "copy")
