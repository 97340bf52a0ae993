"""What libyaml reads and writes for DVC in the tests is what DVC's own library does."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml, loads_yaml
from ruamel.yaml import YAMLError

from tests.conftest import ROOT
from tests.support.libyaml import read, write

ODD = {
    "looks like a number": ["1e5", "12e34", "0123456789", "0o7", "1_000", "1:30", ".5", "1."],
    "looks like something else": ["on", "yes", "no", "null", "~", "", "true", "2026-01-01", "<<", "=", "- a", "a: b"],
    "is something": [None, True, False, 0, -1, 10**20, 1e-5, 0.1, 1e300, float("inf")],
    "needs quotes": ["ü", "\u202e", "\0", "'\"", " a ", "a\nb", "#", "{x}", "*", "&a", "%", "@"],
    "is empty": [[], {}, OrderedDict()],
    12: OrderedDict(b=1, a=[{"c": "x" * 200}, "many words " * 20]),
}


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml", "params.yaml"])
def test_dvcs_files_are_read_and_written_alike(name: str) -> None:
    text = (ROOT / name).read_text()
    values = loads_yaml(text)
    assert read(text) == values
    assert loads_yaml(written(values)) == values


def test_odd_values_are_read_and_written_alike() -> None:
    assert read(dumps_yaml(ODD)) == ODD
    assert loads_yaml(written(ODD)) == ODD
    assert list(read(written(ODD))) == list(ODD)


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "x: {a: 1, a: 2}\n", "a: [\n", "\t- a\n", "<<<<<<< ours\na: 1\n"])
def test_what_dvc_refuses_is_refused(text: str) -> None:
    with pytest.raises(YAMLError):
        loads_yaml(text)
    with pytest.raises(yaml.YAMLError):
        read(text)


def written(values: Any) -> str:
    text = write(values)
    assert text is not None
    return text
