import copy
import subprocess
import sys
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.settings.base import Section
from descry.settings.llms import Llms
from descry.settings.parsing import parse_edits, parse_section
from descry.settings.text import Edits
from tests.conftest import ROOT
from tests.support.modules import list_sections

VALUES = load_yaml(str(ROOT / "params.yaml"))
SECTIONS = list_sections()
KEYED = [section for section in SECTIONS if section.model_fields]


def within(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values[key]
    return values


def fault(path: str, value: Any) -> str:
    """The error of params.yaml with one key changed."""
    values = copy.deepcopy(VALUES)
    name, _, last = path.rpartition(".")
    if name:
        within(values, name)[last] = value
    else:
        values[last] = value
    said = {said for section in SECTIONS if (said := refused(section, values))}
    assert len(said) == 1, said
    return said.pop()


def refused(section: type[Section], values: Any) -> str:
    try:
        parse_section(section, values)
    except InputError as error:
        return str(error)
    return ""


SERVER = {"client": "openai", "base_url": "http://localhost:8000/v1", "model": "m"}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("extract.site", "mlp", "extract.site is 'mlp'"),
        ("extract.stack", "all", "extract.stack is 'all'"),
        ("extract.layers", [0], "extract.layers.0 is 0"),
        ("extract.layers", [], "layers is []: name each layer once, or give null for all"),
        ("extract.layers", [2, 2], "layers is [2, 2]: name each layer once"),
        ("extract.modules", "encoder..dense", "extract.modules is 'encoder..dense'"),
        ("extract.modules", None, "extract.modules is None"),
        ("assign.alpha", 2, "assign.alpha is 2"),
        ("assign.alpha", 0, "assign.alpha is 0"),
        ("assign.alpha", "0.05", "assign.alpha is '0.05'"),
        ("assign.alpha", float("nan"), "assign.alpha is nan"),
        ("assign.min_lift", 1e300, "assign.min_lift is 1e+300: input should be at most 2147483647"),
        ("controls.seed", 2**64, "controls.seed is 18446744073709551616: input should be at most"),
        ("sweep.ks", [1, 3], "sweep.ks is [1, 3]: name 1 and 2 at least"),
        ("sweep.thresholds", [0.1, 0.1], "sweep.thresholds is [0.1, 0.1]: name each once"),
        ("split.key", "é" * 40, "in UTF-8 it should take at most 64 bytes"),
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
        ("runtime.concurrency", 0, "runtime.concurrency is 0"),
        ("runtime.timeout", -1.0, "runtime.timeout is -1.0"),
        ("runtime.answers", "", "runtime.answers is ''"),
        ("generate.generators", [], "generate.generators is []"),
        ("generate.generators", ["a", "a"], "name each once"),
        ("generate.generators", ["A B"], "generate.generators.0 is 'A B'"),
        ("generate.prompted.sentence", "", "give both, or neither"),
        ("label.labeller", "list", "'list' asks a language model: name it in label.prompted.llm"),
        ("label.second", "distil", "'distil' asks a language model"),
        ("label.max_missing", 1.5, "label.max_missing is 1.5"),
        ("label.distil.teacher", "embedding", "label.distil.teacher is 'embedding'"),
        ("models.llms", {"q": {}}, "models.llms.q.source is missing"),
        ("models.llms", {"q q": {"source": "a/b"}}, "models.llms.q q is 'q q'"),
        ("llms", {"q": {}}, "llms.q needs a client, transformers or openai"),
        ("llms", {"q": SERVER | {"temprature": 1}}, "llms.q.temprature is not a known key"),
        ("llms", {"q": SERVER | {"base_url": "localhost:8000"}}, "llms.q.base_url: not an address"),
        ("llms", {"q": {"client": "transformers", "dtype": "int8"}}, "llms.q.dtype is 'int8'"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(path: str, value: Any, said: str) -> None:
    message = fault(path, value)
    assert message.startswith("params.yaml: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize("secret", ["sk-proj-SECRET", "openai_api_key", "SECRET KEY"])
def test_a_key_in_the_place_of_its_variable_is_refused_and_not_repeated(secret: str) -> None:
    message = fault("llms", {"q": SERVER | {"key": secret}})
    assert message.startswith("params.yaml: llms.q.key: not the name of an environment variable")
    assert secret not in message
    assert secret not in fault("llms", {"q": {"client": "other", "key": secret}})
    assert "hunter2" not in fault("llms", {"q": SERVER | {"base_url": "http://me:hunter2@host/v1"}})


@pytest.mark.parametrize("section", KEYED)
def test_every_key_is_needed_and_none_is_guessed(section: type[Section]) -> None:
    for key, rule in section.model_fields.items():
        values = copy.deepcopy(VALUES)
        del within(values, section.section)[key]
        assert (f"{section.section}.{key} is missing" in refused(section, values)) == rule.is_required()
    for absent in ({}, {section.section.partition(".")[0]: None}, {section.section.partition(".")[0]: [1]}):
        with pytest.raises(InputError, match="not there or not a mapping"):
            parse_section(section, absent)


@pytest.mark.parametrize("section", KEYED)
def test_settings_cannot_change(section: type[Section]) -> None:
    settings = parse_section(section, VALUES)
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, next(iter(section.model_fields)), None)


@given(st.sampled_from(KEYED), st.data())
def test_whatever_stands_there_gives_a_section_or_one_line(section: type[Section], data: st.DataObject) -> None:
    values = copy.deepcopy(VALUES)
    here = within(values, section.section)
    key = data.draw(st.sampled_from(sorted(section.model_fields)))
    here[key] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=3)
    )
    assert "\n" not in refused(section, values).replace(repr(here[key]), "")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(max_size=8), inner)))
def test_whatever_stands_for_a_language_model_gives_a_section_or_one_line(value: Any) -> None:
    for name in ("q", "client"):
        for model in (value, SERVER | {"extra": value}, {"client": value}):
            refused_in_one_line(Llms, {"llms": {name: model}})


def refused_in_one_line(section: type[Section], values: Any) -> None:
    message = refused(section, values)
    assert message == "" or message.startswith("params.yaml: ")


yaml_text = st.lists(
    st.sampled_from(
        ["rename", "merge", "drop", ": ", "- ", "[", "]", "{", "}", ",", "\n", " ", "a", "1", "&x ", "*x", "!", "'"]
    )
).map("".join)


@given(st.text() | yaml_text)
def test_whatever_stands_in_the_edits_gives_edits_or_one_line(text: str) -> None:
    said = "edits.yaml"
    try:
        assert isinstance(parse_edits(text, "edits.yaml"), Edits)
    except InputError as error:
        said = str(error)
    assert said.startswith("edits.yaml")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drop: [a]\ndrop: [b]", "edits.yaml, line 2: not YAML that can be read (found duplicate key"),
        ("drop: [2024-13-45]", "edits.yaml: not YAML that can be read (month"),
        ("rename: {a: ''}", "rename.a is ''"),
        ('rename: {a: "b\\nc"}', "rename.a is 'b\\nc'"),
    ],
)
def test_edits_that_mean_nothing_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_edits(text, "edits.yaml")
    assert said in str(caught.value)


def test_the_documentation_of_parameters_is_up_to_date() -> None:
    made = subprocess.run([sys.executable, "docs/parameters.py"], cwd=ROOT, text=True, capture_output=True, check=True)
    assert (ROOT / "docs" / "parameters.md").read_text() == made.stdout
