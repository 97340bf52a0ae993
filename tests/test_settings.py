import copy
import subprocess
import sys
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.settings import Section, parse
from tests.conftest import ROOT

VALUES = load_yaml(str(ROOT / "params.yaml"))
SECTIONS = {cls.section: cls for cls in Section.__subclasses__()}


def fault(path: str, value: Any) -> str:
    """The error of params.yaml with one key changed."""
    values = copy.deepcopy(VALUES)
    section, *keys, last = path.split(".")
    here = values[section]
    for key in keys:
        here = here[key]
    here[last] = value
    with pytest.raises(InputError) as caught:
        parse(SECTIONS[section], values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("assign.alpha", 2, "assign.alpha is 2"),
        ("assign.alpha", 0, "assign.alpha is 0"),
        ("assign.alpha", "0.05", "assign.alpha is '0.05'"),
        ("assign.alpha", float("nan"), "assign.alpha is nan"),
        ("assign.rule", "vote", "assign.rule is 'vote'"),
        ("assign.exemplars", 1.5, "assign.exemplars is 1.5"),
        ("assign.exemplars", True, "assign.exemplars is True"),
        ("assign.exemplars", 2, "min_count (3) is above exemplars (2)"),
        ("assign.aplha", 0.1, "assign.aplha is not a known key"),
        ("extract.pooling", "median", "extract.pooling is 'median'"),
        ("extract.top_k", 0, "extract.top_k is 0"),
        ("split.validation", 1.0, "split.validation is 1.0"),
        ("split.limit", 1, "split.limit is 1"),
        ("split.source", "", "split.source is ''"),
        ("models.target.sha256", "abc", "models.target.sha256 is 'abc'"),
        ("models.target.path", "x", "models.target.path is not a known key"),
        ("evaluate.ks", [], "evaluate.ks is []"),
        ("evaluate.ks", [0], "evaluate.ks.0 is 0"),
        ("runtime.device", "gpu", "runtime.device is 'gpu'"),
        ("runtime.dtype", "int8", "runtime.dtype is 'int8'"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(path: str, value: Any, said: str) -> None:
    message = fault(path, value)
    assert message.startswith("params.yaml: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_every_key_is_needed_and_none_is_guessed(section: str) -> None:
    for key in VALUES[section]:
        values = {section: {k: v for k, v in VALUES[section].items() if k != key}}
        with pytest.raises(InputError, match=rf"{section}\.{key} is missing"):
            parse(SECTIONS[section], values)
    for absent in ({}, {section: None}, {section: [1]}):
        with pytest.raises(InputError, match="not there or not a mapping"):
            parse(SECTIONS[section], absent)


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_settings_cannot_change(section: str) -> None:
    settings = parse(SECTIONS[section], VALUES)
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, next(iter(VALUES[section])), None)


@given(st.sampled_from(sorted(SECTIONS)), st.data())
def test_whatever_stands_there_gives_a_section_or_one_line(section: str, data: st.DataObject) -> None:
    values = copy.deepcopy(VALUES)
    key = data.draw(st.sampled_from(sorted(values[section])))
    values[section][key] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=3)
    )
    try:
        parse(SECTIONS[section], values)
    except InputError as error:
        assert "\n" not in str(error).replace(repr(values[section][key]), "")  # noqa: PT017


def test_the_documentation_of_parameters_is_up_to_date() -> None:
    made = subprocess.run([sys.executable, "docs/parameters.py"], cwd=ROOT, text=True, capture_output=True, check=True)
    assert (ROOT / "docs" / "parameters.md").read_text() == made.stdout
