"""What is written for other tools is read back unchanged, and what is out of bounds is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from descry.activations.record import read_activations
from descry.errors import InputError
from descry.judging.descriptions import read_descriptions
from descry.judging.export import TARGETS, export
from descry.judging.held_out import describe_units
from descry.results import columns, layout
from descry.results.columns import Folder
from descry.schemas.export import LONGEST, NeuronpediaExplanation
from descry.schemas.tokens import TOKEN_ARRAYS
from descry.storage.arrays import write_arrays
from descry.storage.files import write_json
from tests.results.test_run import WIDTH, made

SHOWN = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A made-up run, with what only exports read: a manifest, and exemplars token by token."""
    root = made(tmp_path_factory.mktemp("run"))
    write_json(root / layout.MODELS / "target" / "manifest.json", {"source": "package:made_model"})
    run = Folder.of(root)
    texts, active = run.sentences("calibration")["text"], read_activations(run.activations("calibration"))
    exemplars = active.exemplars(SHOWN)
    rows = np.unique(exemplars[exemplars >= 0])
    spans = [[match.span() for match in re.finditer(r"\S+", texts[row])] for row in rows]
    start, stop = (np.array([span[end] for of in spans for span in of], np.int32) for end in (0, 1))
    lengths = np.array([len(of) for of in spans], np.int32)
    sizes = [lengths[np.searchsorted(rows, row)] for of_unit in exemplars for row in of_unit if row >= 0]
    values = np.arange(sum(sizes)).astype(np.float16)
    arrays = {"rows": rows, "lengths": lengths, "start": start, "stop": stop, "exemplars": exemplars, "values": values}
    write_arrays(root / layout.TOKENS / "calibration.safetensors", arrays, TOKEN_ARRAYS, {})
    return run


@pytest.mark.parametrize("target", TARGETS)
def test_a_round_trip_loses_nothing(folder: Folder, tmp_path: Path, target: str) -> None:
    [first, *_] = export(folder, target, tmp_path / "out")
    back = read_descriptions(first if target == "csv" else tmp_path / "out")
    expected = {(row.layer, row.unit): row.text for row in describe_units(folder).rows}
    assert {(row.layer, row.unit): row.text for row in back.rows} == expected
    assert len(expected) > 1
    with pytest.raises(InputError, match="is there already"):
        export(folder, target, tmp_path / "out")


def test_circuit_tracer_finds_every_unit_where_it_looks(folder: Folder, tmp_path: Path) -> None:
    files = export(folder, "circuit-tracer", tmp_path / "out")
    active = read_activations(folder.activations("calibration"))
    texts, written = folder.sentences("calibration")["text"], columns.read_further(folder, "writes")
    assert written is not None
    for file in files:
        layer, unit = divmod(int(file.stem), 10)  # of 8 units a layer
        record = json.loads(file.read_text())
        place = layer * WIDTH + unit
        assert file.parent == tmp_path / "out/features/made_model-descry"
        assert (record["index"], record["transcoder_id"]) == (unit, f"{layer}-descry")
        values = active.probe[:, place].astype(float)
        assert (record["act_min"], record["act_max"]) == (values.min(), values.max())
        assert sum(record["histogram"]) == len(values)
        assert record["histogram"][-1] >= 1  # the largest
        assert record["quantile_values"][49] == pytest.approx(np.median(values))
        assert record["activation_frequency"] == np.mean(values > 0)
        assert record["top_logits"] == list(written["promoted"][place])
        for example, row in zip(record["examples_quantiles"][0]["examples"], active.rows[place], strict=False):
            assert example["tokens"] == texts[row].split()
            peak = example["tokens_acts_list"][example["train_token_ind"]]
            assert peak == max(example["tokens_acts_list"])


def test_neuronpedia_is_given_tokens_that_the_target_writes(folder: Folder, tmp_path: Path) -> None:
    written = columns.read_further(folder, "writes")
    assert written is not None
    for file in export(folder, "neuronpedia", tmp_path / "out"):
        record = json.loads(file.read_text())
        layer = int(record["source"].partition("-")[0])
        for feature in record["features"]:
            place = layer * WIDTH + feature["index"]
            assert feature["topLogits"] == list(written["promoted"][place])
            assert feature["bottomLogits"] == list(written["suppressed"][place])
            assert len(feature["activations"]) == SHOWN


def test_files_of_circuit_tracer_that_hold_no_descriptions_are_refused(tmp_path: Path) -> None:
    record = {"transcoder_id": "3-other", "index": 1, "examples_quantiles": [{"quantile_name": "Top activations"}]}
    (tmp_path / "7.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="circuit-tracer's files hold no descriptions"):
        read_descriptions(tmp_path)


def test_the_prompt_offers_every_target() -> None:
    from descry.cli.export import TARGETS as offered

    assert set(offered) == set(TARGETS)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValidationError):
        NeuronpediaExplanation(text="x" * (LONGEST + 1))
