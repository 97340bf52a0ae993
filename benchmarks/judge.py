"""Is the judge of descriptions fair? Planted, random and our own descriptions of a finished run, and the round trip.

Run after `dvc repro`: python -m benchmarks.judge [FOLDER OF A RUN]. Writes benchmarks/results/judge.json.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.planted import rounded
from descry.embedding.encoder import SentenceEncoder
from descry.judging.descriptions import Description, Descriptions, read_descriptions
from descry.judging.export import TARGETS, export
from descry.judging.held_out import describe_units, read_held_out
from descry.judging.judge import HeldOut, judge, summarise
from descry.results import columns, layout
from descry.results.columns import Folder
from descry.storage.files import write_json

STRONGEST = 500
"""Described neurons, lowest p on calibration first."""
PLANTED = 300


class Cached:
    """An encoder that encodes no text twice."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder, self._vectors = encoder, dict[str, np.ndarray]()

    def encode(self, texts: Any, description: str = "") -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors |= dict(zip(new, self._encoder.encode(new, description), strict=True))
        return np.stack([self._vectors[text] for text in texts])

    def words(self) -> list[str]:
        return self._encoder.words()


def describe(texts: dict[tuple[int, int], str]) -> Descriptions:
    rows = (Description("benchmark", layer, index, text) for (layer, index), text in texts.items())
    return Descriptions("benchmark", tuple(rows))


def plant(held_out: HeldOut, calibration: list[str], encoder: Cached) -> pd.DataFrame:
    """Judge units that fire on the sentences like a sentence of calibration, described by that sentence."""
    generator = np.random.default_rng(0)
    texts = generator.permutation(np.unique(calibration))[:PLANTED].tolist()
    values = encoder.encode(list(held_out.sentences)) @ encoder.encode(texts).T
    values += generator.normal(0, values.std(), values.shape)  # as much noise as signal
    units = HeldOut(
        layer=np.ones(PLANTED, int),
        index=np.arange(PLANTED),
        probe=values,
        sentences=held_out.sentences,
        descriptors=[""] * PLANTED,
        random=held_out.random,
    )
    return judge(describe({(1, unit): text for unit, text in enumerate(texts)}), units, encoder)


def deal(own: Descriptions) -> Descriptions:
    """Descriptions dealt at random to the units of the same layer."""
    generator, texts = np.random.default_rng(0), {}
    for layer in sorted({row.layer for row in own.rows}):
        rows = [row for row in own.rows if row.layer == layer]
        for row, other in zip(rows, generator.permutation(len(rows)), strict=True):
            texts[row.layer, row.unit] = rows[other].text
    return describe(texts)


def select_strongest(folder: Folder, table: pd.DataFrame) -> pd.DataFrame:
    """The units of `table` that are among the STRONGEST on calibration."""
    pairs = columns.read_assigned(folder, "calibration")
    first = columns.take_rows(pairs, pairs["place"] == 1)
    best = columns.take_rows(first, np.argsort(first["p"], kind="stable")[:STRONGEST])
    return table[np.isin(columns.code_neurons(table), columns.code_neurons(best))]


def round_trip(folder: Folder, own: Descriptions) -> dict[str, bool]:
    """Whether our own descriptions come back, byte for byte, from every format that holds descriptions."""
    expected = {(row.layer, row.unit): row.text for row in own.rows}
    back = {}
    with TemporaryDirectory() as place:
        for target in TARGETS:
            [first, *_] = export(folder, target, Path(place) / target)
            read = read_descriptions(first if target == "csv" else Path(place) / target)
            back[target] = {(row.layer, row.unit): row.text for row in read.rows} == expected
    return back


def main() -> None:
    folder = Folder.of(sys.argv[1] if len(sys.argv) > 1 else ".")
    encoder = Cached(SentenceEncoder(folder.root / layout.MODELS / "embedder"))
    held_out, own = read_held_out(folder), describe_units(folder)
    names = describe(
        {
            (int(layer), int(index)): name
            for layer, index, name in zip(held_out.layer, held_out.index, held_out.descriptors, strict=True)
            if name
        }
    )
    planted = summarise(plant(held_out, folder.sentences("calibration")["text"].tolist(), encoder))
    random = summarise(judge(deal(names), held_out, encoder))
    judged, named = judge(own, held_out, encoder), judge(names, held_out, encoder)
    every, strongest = summarise(judged), summarise(select_strongest(folder, judged))
    results = {
        "planted": {"first_of_100": planted["first_of_100"], "detail": planted},
        "random": {
            "lift": random["auroc"]["lift"],
            "lift_low": random["auroc"]["low"],
            "lift_high": random["auroc"]["high"],
            "first_of_100": random["first_of_100"],
            "detail": random,
        },
        "own": {
            "lift": strongest["auroc"]["lift"],
            "lift_all": every["auroc"]["lift"],
            "true_swapped_correlation": every["auroc"]["true_swapped_correlation"],
            "strongest": strongest,
            "all": every,
        },
        "names": {"strongest": summarise(select_strongest(folder, named)), "all": summarise(named)},
        "round_trip": all(round_trip(folder, own).values()),
    }
    write_json(Path("benchmarks/results/judge.json"), rounded(results))
    for name in ("planted", "random", "own"):
        print(name, {key: value for key, value in rounded(results[name]).items() if isinstance(value, float)})


if __name__ == "__main__":
    main()
