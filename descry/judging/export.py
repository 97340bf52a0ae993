"""Write a run's own descriptions as other tools read them; `read_descriptions` reads all of it back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from descry.activations.record import read_activations
from descry.activations.token_words import TokenReadings
from descry.errors import InputError
from descry.judging.descriptions import index_units
from descry.judging.held_out import EXEMPLARS, describe_units
from descry.results import columns, layout
from descry.results.columns import Folder
from descry.schemas.export import (
    BATCH,
    CsvRow,
    DelphiExplanation,
    NeuronpediaActivation,
    NeuronpediaExplanation,
    NeuronpediaFeature,
    NeuronpediaUpload,
)
from descry.schemas.tokens import TOKEN_ARRAYS
from descry.storage.arrays import read_arrays
from descry.storage.files import read_json, replacing


def _make_csv(folder: Folder) -> Iterator[tuple[str, str]]:
    pairs = columns.read_pairs(folder, lambda table: table["place"] == 1)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(CsvRow.model_fields), lineterminator="\n")
    writer.writeheader()
    for row, pair in zip(describe_units(folder).rows, columns.list_records(pairs), strict=True):
        checked = CsvRow(
            layer=row.layer,
            unit=row.unit,
            description=row.text,
            descriptor=pair["descriptor"],
            q=pair["q"],
            pearson=pair["pearson"],
        )
        writer.writerow(checked.model_dump())
    yield "descriptions.csv", out.getvalue()


def _make_delphi(folder: Folder) -> Iterator[tuple[str, str]]:
    for row in describe_units(folder).rows:
        made = DelphiExplanation(name=f"layers.{row.layer - 1}.mlp_latent{row.unit}.txt", text=row.text)
        yield f"explanations/{made.name}", json.dumps(made.text)


def _make_neuronpedia(folder: Folder) -> Iterator[tuple[str, str]]:
    rows = describe_units(folder).rows
    active = read_activations(folder.activations("calibration"))
    density = (active.probe > 0).mean(axis=0)
    place = index_units(active.layer, active.index)
    model = Path(read_json(folder.root / layout.MODELS / "target" / "manifest.json")["source"]).name
    exemplars = _Exemplars(folder)
    for layer in sorted({row.layer for row in rows}):
        of_layer = [row for row in rows if row.layer == layer]
        for number, start in enumerate(range(0, len(of_layer), BATCH)):
            features = [
                NeuronpediaFeature(
                    index=row.unit,
                    density=float(density[place[row.layer, row.unit]]),
                    topLogits=[],
                    bottomLogits=[],
                    explanations=[NeuronpediaExplanation(text=row.text)],
                    activations=exemplars.read(place[row.layer, row.unit]),
                )
                for row in of_layer[start : start + BATCH]
            ]
            source = f"{layer - 1}-descry"
            made = NeuronpediaUpload(modelId=model.removeprefix("package:"), source=source, features=features)
            yield f"{source}/batch-{number}.json", made.model_dump_json(indent=1)


class _Exemplars:
    """Calibration's exemplars token by token."""

    def __init__(self, folder: Folder) -> None:
        arrays, _ = read_arrays(folder.root / layout.TOKENS / "calibration.safetensors", TOKEN_ARRAYS)
        self._read = TokenReadings(on_tokens=arrays.pop("values"), **arrays)
        self._texts = folder.sentences("calibration")["text"]
        sizes = self._read.sizes
        self._starts = (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
        self._sizes, self._places, self._firsts = sizes, self._read.places, self._read.firsts

    def read(self, neuron: int) -> list[NeuronpediaActivation]:
        """The first EXEMPLARS of a neuron."""
        out = []
        for at in np.flatnonzero(self._sizes[neuron] > 0)[:EXEMPLARS]:
            start, size = self._starts[neuron, at], self._sizes[neuron, at]
            first, text = self._firsts[self._places[neuron, at]], self._texts[self._read.exemplars[neuron, at]]
            spans = zip(
                *(ends[first : first + size].tolist() for ends in (self._read.start, self._read.stop)), strict=True
            )
            values = self._read.on_tokens[start : start + size].astype(float).tolist()
            out.append(NeuronpediaActivation(tokens=[text[begin:end] for begin, end in spans], values=values))
        return out


TARGETS: dict[str, Callable[[Folder], Iterator[tuple[str, str]]]] = {
    "csv": _make_csv,
    "delphi": _make_delphi,
    "neuronpedia": _make_neuronpedia,
}
"""The tools, each with what yields its files: name and content."""


def export(folder: Folder, target: str, out: Path) -> list[Path]:
    """Write the descriptions of a run's described neurons to a new folder; returns its files. target: one of TARGETS.

    Every file is checked against `descry.schemas.export`. Errors: InputError if the folder is there already.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; name a new folder")
    written = []
    for name, content in TARGETS[target](folder):
        with replacing(out / name) as partial:
            partial.write_text(content, encoding="utf-8")
        written.append(out / name)
    return written
