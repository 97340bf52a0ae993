"""The tour in docs/ runs from top to bottom, and shows what it was committed with."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.results.test_run import needs_a_run

TOUR = ROOT / "docs" / "tour.ipynb"


def texts(notebook: Any) -> list[str]:
    """What the cells of a notebook show, as plain text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.get("data", {}).get("text/plain", output.get("text", "")) for output in outputs]


@needs_a_run
def test_the_tour_runs_and_shows_what_was_committed() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    committed = texts(notebook)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": TOUR.parent}}
    ).execute()
    nbformat.validate(notebook)
    assert [re.findall(r"[a-z]{3,}", text) for text in texts(notebook)] == [
        re.findall(r"[a-z]{3,}", text) for text in committed
    ]


def test_the_tour_is_committed_with_its_results_and_names_no_place() -> None:
    text = TOUR.read_text()
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
    assert "image/png" in text
    assert not re.search(r'[" ](/(home|root|tmp|work|usr|Users)/|[A-Z]:\\\\)', text)


@pytest.mark.parametrize("word", ["chance", "most_common", "random_directions"])
def test_figures_stand_beside_chance(word: str) -> None:
    assert any(word in text for text in texts(nbformat.read(Path(TOUR), as_version=4)))
