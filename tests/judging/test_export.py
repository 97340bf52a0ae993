"""What is written for other tools is read back unchanged, and what is out of bounds is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

import descry
from descry.errors import InputError
from descry.judging.descriptions import read_descriptions
from descry.judging.export import TARGETS, export
from descry.judging.held_out import describe_units
from descry.schemas.export import LONGEST, NeuronpediaExplanation
from tests.results.test_run import made


@pytest.mark.parametrize("target", ["csv", "delphi"])
def test_a_round_trip_loses_nothing(tmp_path: Path, target: str) -> None:
    folder = descry.load(made(tmp_path / "run")).folder
    [first, *_] = export(folder, target, tmp_path / "out")
    back = read_descriptions(first if target == "csv" else tmp_path / "out")
    expected = {(row.layer, row.unit): row.text for row in describe_units(folder).rows}
    assert {(row.layer, row.unit): row.text for row in back.rows} == expected
    assert len(expected) > 1
    with pytest.raises(InputError, match="is there already"):
        export(folder, target, tmp_path / "out")


def test_the_prompt_offers_every_target() -> None:
    from descry.cli.export import TARGETS as offered

    assert set(offered) == set(TARGETS)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValidationError):
        NeuronpediaExplanation(text="x" * (LONGEST + 1))
