"""What the page's script reads: the run as arrays, in pieces that are unpacked when they are first needed.

A piece is a safetensors file (texts and lists as JSON in its metadata), compressed, in base64.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save

from descry.analyses.triggers import CLASSES
from descry.report.content import Content, SplitContent, tabulate_carriers
from descry.report.page import further
from descry.splits import REPLICATES

ASSOCIATIONS = ("pearson", "auprc")
"""What is said of how strongly a pair goes together."""
BINS = 24
"""Of a neuron's histogram."""
LEVELS = 9
"""Of a token's shade, from 1."""


def pack(arrays: Mapping[str, np.ndarray], content: Any = None) -> str:
    """Arrays and what JSON can hold as a piece: base64 text, the same for the same content."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(save(tensors, metadata={"content": text}), mtime=0)).decode()


def _small(values: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 in the narrowest type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def round_bits(values: np.ndarray) -> np.ndarray:
    """float32 of 12 significant bits (within 1 in 4,096), which take half the room once they are compressed."""
    kept = np.ascontiguousarray(values, dtype=np.float32)
    bits = (kept.view(np.uint32) + np.uint32(0x800)) & np.uint32(0xFFFFF000)
    return np.where(np.isfinite(kept), bits.view(np.float32), kept)


def list_pairs(run: Content) -> pd.DataFrame:
    """The assigned pairs by neuron and rank: neuron, column, q, count, known, validation_count, validation_known,
    validation_p, and each of ASSOCIATIONS with `_low` and `_high`, missing where unknown."""
    found = run.found.calibration.merge(run.associations, on=["layer", "index", "descriptor"], how="left")
    found = found.sort_values(["neuron", "rank"], kind="stable")
    again = [f"validation_{name}" for name in ("count", "known", "p")]
    strengths = [f"{measure}{bound}" for measure in ASSOCIATIONS for bound in ("", "_low", "_high")]
    return found[["neuron", "column", "q", "count", "known", *again, *strengths]].reset_index(drop=True)


def list_descriptors(run: Content, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """Every descriptor, in the order of the labels' columns: names, members, and counts, [calibration, validation]
    where there are two; replicates, correlation and best ([value, low, high] of the strongest pair) may be None."""
    sides = (run.calibration, run.validation)
    neurons = [np.bincount(found["column"], minlength=len(run.names)) for found in run.found]
    layers = tabulate_carriers(run).sort_index()[[f"layer_{layer}" for layer in run.layers]].to_numpy()
    replicates = (pairs["validation_p"] <= REPLICATES).groupby(pairs["column"]).mean()
    correlation = pairs.groupby("column")["pearson"].median().dropna()
    strongest = pairs.dropna(subset="pearson").sort_values("pearson", kind="stable")
    best = {int(row["column"]): row for row in strongest.to_dict("records")}
    return [
        {
            "name": run.names[column],
            "members": [str(member) for member in run.descriptors[column]["members"]],
            "sentences": [int(side.positives[column]) for side in sides],
            "prevalence": [float(side.prevalence[column]) for side in sides],
            "neurons": [int(count[column]) for count in neurons],
            "layers": layers[column].tolist(),
            "replicates": float(replicates[column]) if column in replicates else None,
            "correlation": float(correlation[column]) if column in correlation else None,
            "best": [best[column][name] for name in ("neuron", "pearson", "pearson_low", "pearson_high")]
            if column in best
            else None,
        }
        for column in range(len(run.names))
    ]


def _explained(run: Content) -> list[dict[str, Any]]:
    return [dict(one._asdict(), guesses=[guess._asdict() for guess in one.guesses]) for one in run.explained]


def pack_core(run: Content, pairs: pd.DataFrame) -> str:
    """Neurons, pairs, descriptors, and the explained sentences."""
    bounds = np.searchsorted(pairs["neuron"], np.arange(len(run.layer) + 1))
    whole = ("column", "count", "known", "validation_count", "validation_known")
    strengths = [str(name) for name in pairs if str(name).startswith(ASSOCIATIONS)]
    arrays = {
        "layer": _small(run.layer),
        "index": _small(run.index),
        "bounds": bounds.astype(np.uint32),
        **{name: _small(pairs[name].to_numpy()) for name in whole},
        **{name: pairs[name].to_numpy(np.float64) for name in ("q", "validation_p")},
        **{name: pairs[name].to_numpy(np.float32) for name in strengths},
        "kind": further.code_classes(run),
        "elsewhere": further.code_transfer(run, pairs),
    }
    records = zip(list_descriptors(run, pairs), further.list_descriptor_details(run), strict=True)
    content = {
        "layers": run.layers,
        "sentences": [len(run.calibration.sentences), len(run.validation.sentences)],
        "exemplars": run.calibration.rows.shape[1],
        "compared": run.compared,
        "replicates": REPLICATES,
        "descriptors": [own | more for own, more in records],
        "classes": CLASSES,
        "chance": further.read_transfer_chance(run),
        "explained": _explained(run),
    }
    return pack(arrays, content)


def _ragged(lists: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    bounds = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.uint32)
    return bounds, np.concatenate([*lists, np.zeros(0, np.int64)])


def _spans(side: SplitContent, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each of these rows (0 for one that was not read), and where they lie: start and stop in turn."""
    read = side.read
    first = read.firsts
    place = np.minimum(np.searchsorted(read.rows, rows), len(read.rows) - 1)
    there = read.rows[place] == rows
    pieces = [
        np.stack([part[first[p] : first[p] + read.lengths[p]] for part in (read.start, read.stop)], 1).ravel()
        if known
        else np.zeros(0, np.int64)
        for p, known in zip(place, there, strict=True)
    ]
    return _ragged(pieces)


def select_shown_rows(run: Content, exemplars: int) -> tuple[np.ndarray, np.ndarray]:
    """The sentences of calibration and of validation that the page shows, ascending."""
    own, other = (side.read.exemplars[:, :exemplars] for side in (run.calibration, run.validation))
    examples = run.examples[run.examples >= 0]
    return np.union1d(own[own >= 0], examples), np.unique(other[other >= 0])


def pack_sentences(run: Content, rows: tuple[np.ndarray, np.ndarray]) -> str:
    """The sentences that are shown, calibration's first: texts, products, tokens, and labels (twice the column, and 1
    more where the label is missing)."""
    texts, products, spans, labels = [], [], [], []
    for side, own in zip((run.calibration, run.validation), rows, strict=True):
        shown = side.sentences.iloc[own]
        texts += [str(text) for text in shown["text"]]
        products += [str(product or "") for product in shown["product"]]
        bounds, places = _spans(side, own)
        spans += np.split(places, bounds[1:-1])[: len(own)]
        for row in side.labels[own]:
            labels.append(np.sort(np.concatenate([2 * np.flatnonzero(row == 1), 2 * np.flatnonzero(row < 0) + 1])))
    names, product = np.unique(np.array(products, dtype=object).astype(str), return_inverse=True)
    span_bounds, span_places = _ragged(spans)
    label_bounds, label_columns = _ragged(labels)
    place = np.searchsorted(rows[0], np.maximum(run.examples, 0))
    arrays = {
        "product": _small(product),
        "span_bounds": span_bounds,
        "spans": _small(span_places),
        "label_bounds": label_bounds,
        "labels": _small(label_columns),
        "examples": np.where(run.examples >= 0, place, -1).astype(np.int32),
    }
    return pack(arrays, {"texts": texts, "products": names.tolist()})


def _levels(side: SplitContent, mean: np.ndarray, peak: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Each value as a shade from 0 (the neuron's mean over sentences, or below) to LEVELS (its peak)."""
    neuron = np.repeat(np.arange(len(sizes)), sizes.sum(axis=1))
    height = np.where(peak > mean, peak - mean, np.inf)
    scaled = (side.read.on_tokens.astype(np.float32) - mean[neuron]) / height[neuron]
    return np.asarray(np.rint(LEVELS * np.clip(scaled, 0, 1)).astype(np.uint8))


def _peaks(side: SplitContent, sizes: np.ndarray) -> np.ndarray:
    """Each neuron's highest value on a token; -inf without any."""
    ends = np.cumsum(sizes.sum(axis=1))
    out = np.full(len(sizes), -np.inf, dtype=np.float32)
    some = np.flatnonzero(sizes.sum(axis=1))
    if len(some):
        starts = (ends - sizes.sum(axis=1))[some]
        out[some] = np.maximum.reduceat(side.read.on_tokens.astype(np.float32), starts)
    return out


def count_histograms(probe: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each column: int64 [columns, bins] in bins of equal width from low to high, float32 [columns] each."""
    low, high = probe.min(axis=0).astype(np.float32), probe.max(axis=0).astype(np.float32)
    width = np.where(high > low, high - low, 1)
    counts = np.zeros((probe.shape[1], bins), dtype=np.int64)
    columns = np.arange(probe.shape[1])
    for row in probe:
        place = np.clip((row.astype(np.float32) - low) / width * bins, 0, bins - 1).astype(np.int64)
        counts[columns, place] += 1
    return counts, low, high


def pack_layers(run: Content, exemplars: int, rows: tuple[np.ndarray, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Of every layer's neurons what their cards show: exemplars, shades of tokens, histograms, neighbours."""
    sides = dict(zip(("calibration", "validation"), (run.calibration, run.validation), strict=True))
    sizes = {name: side.read.sizes for name, side in sides.items()}
    peak = np.maximum(*(_peaks(side, sizes[name]) for name, side in sides.items()))
    levels = {name: _levels(side, run.calibration.mean, peak, sizes[name]) for name, side in sides.items()}
    first = {name: np.concatenate([[0], np.cumsum(size)]) for name, size in sizes.items()}
    counts, low, high = count_histograms(run.calibration.probe)
    after = {"calibration": 0, "validation": len(rows[0])}
    for layer in run.layers:
        here = np.flatnonzero(run.layer == layer)
        arrays: dict[str, np.ndarray] = {
            "histogram": _small(counts[here]),
            "low": round_bits(low[here]),
            "high": round_bits(high[here]),
            "cut": round_bits(run.calibration.activations[here, -1]),
            "peak": round_bits(peak[here]),
            "neighbour": run.neighbours.neuron[here],
            "shared": run.neighbours.shared[here],
            "elsewhere": run.neighbours.elsewhere[here],
        }
        for (name, side), own in zip(sides.items(), rows, strict=True):
            shown = side.read.exemplars[here, :exemplars]
            place = np.searchsorted(own, np.maximum(shown, 0)) + after[name]
            kept = sizes[name][here, :exemplars]
            width = side.read.exemplars.shape[1]
            cells = (here[:, None] * width + np.arange(kept.shape[1])).ravel()
            arrays[f"{name}_exemplars"] = np.where(shown >= 0, place, -1).astype(np.int32)
            arrays[f"{name}_values"] = round_bits(side.activations[here, : shown.shape[1]])
            arrays[f"{name}_bounds"] = np.concatenate([[0], np.cumsum(kept)]).astype(np.uint32)
            runs = [levels[name][first[name][cell] : first[name][cell + 1]] for cell in cells]
            arrays[f"{name}_levels"] = np.concatenate([*runs, np.zeros(0, np.uint8)])
        yield f"layer-{layer}", pack(arrays, further.list_neuron_details(run, here))


def pack_map(run: Content) -> str:
    """The relations of all descriptors, and those that are pictured, in order; neurons of every layer."""
    carried = np.bincount(run.found.calibration["column"], minlength=len(run.names))
    arrays, order = further.arrange_relations(run, carried)
    arrays = {name: round_bits(array) if array.dtype == np.float32 else array for name, array in arrays.items()}
    sizes = np.array([np.sum(run.layer == layer) for layer in run.layers], dtype=np.int32)
    return pack(arrays | order | {"sizes": sizes})


def pack_all(run: Content, exemplars: int) -> dict[str, str]:
    """Every piece by name. exemplars: sentences shown of each neuron and split, at most those that were read."""
    rows = select_shown_rows(run, exemplars)
    found = {"core": pack_core(run, list_pairs(run)), "sentences": pack_sentences(run, rows), "map": pack_map(run)}
    return found | dict(pack_layers(run, exemplars, rows))
