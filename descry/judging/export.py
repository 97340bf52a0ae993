"""Write a run's own descriptions as other tools read them; `read_descriptions` reads all of it back."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from descry.activations.record import read_activations
from descry.activations.token_words import TokenReadings
from descry.errors import InputError
from descry.judging.descriptions import Description, index_units
from descry.judging.held_out import EXEMPLARS, describe_units
from descry.results import columns, layout
from descry.results.columns import Folder
from descry.schemas.export import (
    BATCH,
    LOGITS,
    CircuitTracerExample,
    CircuitTracerFeature,
    CircuitTracerQuantile,
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

BINS = 40
"""Of a histogram."""


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
    rows, units = describe_units(folder).rows, _Units(folder)
    for layer in sorted({row.layer for row in rows}):
        of_layer = [row for row in rows if row.layer == layer]
        for number, start in enumerate(range(0, len(of_layer), BATCH)):
            features = [_make_feature(row, units) for row in of_layer[start : start + BATCH]]
            source = f"{layer - 1}-descry"
            made = NeuronpediaUpload(modelId=units.model, source=source, features=features)
            yield f"{source}/batch-{number}.json", made.model_dump_json(indent=1)


def _make_feature(row: Description, units: _Units) -> NeuronpediaFeature:
    promoted, suppressed = units.list_written(row)
    return NeuronpediaFeature(
        index=row.unit,
        density=float((units.read_probe(row) > 0).mean()),
        topLogits=promoted[:LOGITS],
        bottomLogits=suppressed[:LOGITS],
        explanations=[NeuronpediaExplanation(text=row.text)],
        activations=[NeuronpediaActivation(tokens=tokens, values=values) for tokens, values in units.read_tokens(row)],
    )


def _make_circuit_tracer(folder: Folder) -> Iterator[tuple[str, str]]:
    units = _Units(folder)
    step = 10 ** math.ceil(math.log10(units.widest))  # circuit-tracer numbers the features of all layers so
    for row in describe_units(folder).rows:
        promoted, suppressed = units.list_written(row)
        values = units.read_probe(row)
        counts, edges = np.histogram(values, bins=BINS)
        examples = [
            CircuitTracerExample(
                tokens=tokens,
                tokens_acts_list=on_tokens,
                train_token_ind=int(np.argmax(on_tokens)),
                is_repeated_datapoint=False,
            )
            for tokens, on_tokens in units.read_tokens(row)
        ]
        made = CircuitTracerFeature(
            transcoder_id=f"{row.layer - 1}-descry",
            index=row.unit,
            examples_quantiles=[CircuitTracerQuantile(quantile_name=row.text, examples=examples)],
            top_logits=promoted,
            bottom_logits=suppressed,
            act_min=float(edges[0]),
            act_max=float(edges[-1]),
            quantile_values=np.quantile(values, np.arange(1, 100) / 100).tolist(),
            histogram=counts.astype(float).tolist(),
            activation_frequency=float((values > 0).mean()),
        )
        yield f"features/{units.model}-descry/{row.unit + step * (row.layer - 1)}.json", made.model_dump_json()


class _Units:
    """What calibration knows of every unit."""

    def __init__(self, folder: Folder) -> None:
        source = read_json(folder.root / layout.MODELS / "target" / "manifest.json")["source"]
        self.model = Path(source).name.removeprefix("package:")
        active = read_activations(folder.activations("calibration"))
        self.widest = int(active.index.max()) + 1
        self._probe, self._place = active.probe, index_units(active.layer, active.index)
        arrays, _ = read_arrays(folder.root / layout.TOKENS / "calibration.safetensors", TOKEN_ARRAYS)
        self._read = TokenReadings(on_tokens=arrays.pop("values"), **arrays)
        self._texts = folder.sentences("calibration")["text"]
        self._sizes, self._places, self._firsts = self._read.sizes, self._read.places, self._read.firsts
        self._starts = (np.cumsum(self._sizes) - self._sizes.ravel()).reshape(self._sizes.shape)
        written = columns.read_further(folder, "writes") or {"layer": np.array([]), "index": np.array([])}
        self._written, self._written_place = written, index_units(written["layer"], written["index"])

    def read_probe(self, row: Description) -> np.ndarray:
        """A unit's values over calibration's sampled sentences: float64 [sampled]."""
        return np.asarray(self._probe[:, self._place[row.layer, row.unit]], dtype=np.float64)

    def list_written(self, row: Description) -> tuple[list[str], list[str]]:
        """The tokens that a unit promotes and suppresses, most first; none where the target predicts no words."""
        place = self._written_place.get((row.layer, row.unit))
        if place is None:
            return [], []
        promoted, suppressed = (list(self._written[which][place]) for which in ("promoted", "suppressed"))
        return promoted, suppressed

    def read_tokens(self, row: Description) -> Iterator[tuple[list[str], list[float]]]:
        """A unit's first EXEMPLARS token by token: texts and values."""
        unit = self._place[row.layer, row.unit]
        for at in np.flatnonzero(self._sizes[unit] > 0)[:EXEMPLARS]:
            start, size = self._starts[unit, at], self._sizes[unit, at]
            first, text = self._firsts[self._places[unit, at]], self._texts[self._read.exemplars[unit, at]]
            ends = (getattr(self._read, end)[first : first + size].tolist() for end in ("start", "stop"))
            tokens = [text[begin:end] for begin, end in zip(*ends, strict=True)]
            yield tokens, self._read.on_tokens[start : start + size].astype(float).tolist()


TARGETS: dict[str, Callable[[Folder], Iterator[tuple[str, str]]]] = {
    "csv": _make_csv,
    "delphi": _make_delphi,
    "neuronpedia": _make_neuronpedia,
    "circuit-tracer": _make_circuit_tracer,
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
