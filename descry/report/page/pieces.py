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
from descry.report.content import ASSOCIATIONS, Content, tabulate_carriers, tabulate_pairs
from descry.report.page import further
from descry.report.shading import compute_levels, find_peaks, list_spans
from descry.splits import REPLICATES

BINS = 24
"""Bins of a neuron's histogram."""


def pack(arrays: Mapping[str, np.ndarray], content: Any = None) -> str:
    """Arrays and what JSON can hold as a piece: base64 text, the same for the same content."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(save(tensors, metadata={"content": text}), mtime=0)).decode()


def _narrow(values: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 in the narrowest type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def round_bits(values: np.ndarray) -> np.ndarray:
    """float32 of 12 significant bits (within 1 in 4,096), which take half the room once they are compressed."""
    kept = np.ascontiguousarray(values, dtype=np.float32)
    bits = (kept.view(np.uint32) + np.uint32(0x800)) & np.uint32(0xFFFFF000)
    return np.where(np.isfinite(kept), bits.view(np.float32), kept)


def list_descriptors(run: Content, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """Every descriptor, in the order of the labels' columns: names, members, and counts, [calibration, validation]
    where there are two; replicates, correlation and best ([value, low, high] of the strongest pair) may be None."""
    splits = (run.calibration, run.validation)
    neurons = [np.bincount(assigned["column"], minlength=len(run.names)) for assigned in run.assigned]
    layers = tabulate_carriers(run).sort_index()[[f"layer_{layer}" for layer in run.layers]].to_numpy()
    replicates = (pairs["validation_p"] <= REPLICATES).groupby(pairs["column"]).mean()
    correlation = pairs.groupby("column")["pearson"].median().dropna()
    strongest = pairs.dropna(subset="pearson").sort_values("pearson", kind="stable")
    best = {int(row["column"]): row for row in strongest.to_dict("records")}
    return [
        {
            "name": run.names[column],
            "members": [str(member) for member in run.descriptors[column]["members"]],
            "sentences": [int(split.positives[column]) for split in splits],
            "prevalence": [float(split.prevalence[column]) for split in splits],
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


def _list_explained(run: Content) -> list[dict[str, Any]]:
    return [dict(item._asdict(), guesses=[guess._asdict() for guess in item.guesses]) for item in run.explained]


def pack_core(run: Content, pairs: pd.DataFrame) -> str:
    """Neurons, pairs, descriptors, and the explained sentences."""
    bounds = np.searchsorted(pairs["neuron"], np.arange(len(run.layer) + 1))
    whole = ("column", "count", "known", "validation_count", "validation_known")
    strengths = [str(name) for name in pairs if str(name).startswith(ASSOCIATIONS)]
    arrays = {
        "layer": _narrow(run.layer),
        "index": _narrow(run.index),
        "bounds": bounds.astype(np.uint32),
        **{name: _narrow(pairs[name].to_numpy()) for name in whole},
        **{name: pairs[name].to_numpy(np.float64) for name in ("q", "validation_p")},
        **{name: pairs[name].to_numpy(np.float32) for name in strengths},
        "kind": further.code_classes(run),
        "transferred": further.code_transfer(run, pairs),
    }
    records = zip(list_descriptors(run, pairs), further.list_descriptor_details(run), strict=True)
    content = {
        "layers": run.layers,
        "sentences": [len(run.calibration.sentences), len(run.validation.sentences)],
        "exemplars": run.calibration.rows.shape[1],
        "compared": run.neighbours.sizes.mean(axis=0).tolist(),
        "replicates": REPLICATES,
        "descriptors": [descriptor | details for descriptor, details in records],
        "classes": CLASSES,
        "chance": further.read_transfer_chance(run),
        "explained": _list_explained(run),
    }
    return pack(arrays, content)


def _concatenate(lists: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Where each list starts and the last one ends, and all of them one after the other."""
    bounds = np.concatenate([[0], np.cumsum([len(entries) for entries in lists])]).astype(np.uint32)
    return bounds, np.concatenate([*lists, np.zeros(0, np.int64)])


def select_shown_rows(run: Content, exemplars: int) -> tuple[np.ndarray, np.ndarray]:
    """The sentences of calibration and of validation that the page shows, ascending."""
    shown = [[split.read.exemplars[:, :exemplars].ravel()] for split in (run.calibration, run.validation)]
    shown[0].append(run.examples.ravel())
    if run.beyond.negative is not None:
        for rows, negative in zip(shown, run.beyond.negative.rows, strict=True):
            rows.append(negative[:, :exemplars].ravel())
    calibration, validation = (np.unique(np.concatenate(rows)) for rows in shown)
    return calibration[calibration >= 0], validation[validation >= 0]


def pack_sentences(run: Content, rows: tuple[np.ndarray, np.ndarray]) -> str:
    """The sentences that are shown, calibration's first: texts, products, tokens, and labels (twice the column, and 1
    more where the label is missing)."""
    texts, products, spans, labels = [], [], [], []
    for split, split_rows in zip((run.calibration, run.validation), rows, strict=True):
        shown = split.sentences.iloc[split_rows]
        texts += [str(text) for text in shown["text"]]
        products += [str(product or "") for product in shown["product"]]
        spans += [places.ravel() for places in list_spans(split, split_rows)]
        for row in split.labels[split_rows]:
            labels.append(np.sort(np.concatenate([2 * np.flatnonzero(row == 1), 2 * np.flatnonzero(row < 0) + 1])))
    names, product = np.unique(np.array(products, dtype=object).astype(str), return_inverse=True)
    span_bounds, span_places = _concatenate(spans)
    label_bounds, label_columns = _concatenate(labels)
    place = np.searchsorted(rows[0], np.maximum(run.examples, 0))
    arrays = {
        "product": _narrow(product),
        "span_bounds": span_bounds,
        "spans": _narrow(span_places),
        "label_bounds": label_bounds,
        "labels": _narrow(label_columns),
        "examples": np.where(run.examples >= 0, place, -1).astype(np.int32),
    }
    return pack(arrays, {"texts": texts, "products": names.tolist()})


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


def find_cuts(rows: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """The value of each neuron's weakest exemplar, inf without any: float32 [neurons]. Both arrays: of a split."""
    return np.asarray(np.where(rows >= 0, activations, np.float32(np.inf)).min(axis=1))


def pack_layers(run: Content, exemplars: int, rows: tuple[np.ndarray, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Of every layer's neurons what their cards show: exemplars, shades of tokens, histograms, neighbours."""
    splits = dict(zip(("calibration", "validation"), (run.calibration, run.validation), strict=True))
    sizes = {name: split.read.sizes for name, split in splits.items()}
    mean, peak = run.calibration.mean, np.maximum(*map(find_peaks, splits.values()))
    levels = {}
    for name, split in splits.items():
        neuron = np.repeat(np.arange(len(mean)), sizes[name].sum(axis=1))
        levels[name] = compute_levels(split.read.on_tokens, mean[neuron], peak[neuron])
    first = {name: np.concatenate([[0], np.cumsum(size)]) for name, size in sizes.items()}
    counts, low, high = count_histograms(run.calibration.probe)
    after = {"calibration": 0, "validation": len(rows[0])}
    for layer in run.layers:
        chosen = np.flatnonzero(run.layer == layer)
        arrays: dict[str, np.ndarray] = {
            "histogram": _narrow(counts[chosen]),
            "low": round_bits(low[chosen]),
            "high": round_bits(high[chosen]),
            "cut": round_bits(find_cuts(run.calibration.rows[chosen], run.calibration.activations[chosen])),
            "peak": round_bits(peak[chosen]),
            "neighbour": run.neighbours.neuron[chosen],
            "shared": run.neighbours.shared[chosen],
            "shared_validation": run.neighbours.elsewhere[chosen],
            "sizes": run.neighbours.sizes[chosen],
        }
        if run.beyond.negative is not None:
            ends = zip(splits, rows, run.beyond.negative.rows, run.beyond.negative.activations, strict=True)
            for name, split_rows, negative, values in ends:
                shown = negative[chosen, :exemplars]
                place = np.searchsorted(split_rows, np.maximum(shown, 0)) + after[name]
                arrays[f"negative_{name}_exemplars"] = np.where(shown >= 0, place, -1).astype(np.int32)
                arrays[f"negative_{name}_values"] = round_bits(values[chosen, :exemplars])
        for (name, split), split_rows in zip(splits.items(), rows, strict=True):
            shown = split.read.exemplars[chosen, :exemplars]
            place = np.searchsorted(split_rows, np.maximum(shown, 0)) + after[name]
            kept = sizes[name][chosen, :exemplars]
            width = split.read.exemplars.shape[1]
            cells = (chosen[:, None] * width + np.arange(kept.shape[1])).ravel()
            arrays[f"{name}_exemplars"] = np.where(shown >= 0, place, -1).astype(np.int32)
            arrays[f"{name}_values"] = round_bits(split.activations[chosen, : shown.shape[1]])
            arrays[f"{name}_bounds"] = np.concatenate([[0], np.cumsum(kept)]).astype(np.uint32)
            runs = [levels[name][first[name][cell] : first[name][cell + 1]] for cell in cells]
            arrays[f"{name}_levels"] = np.concatenate([*runs, np.zeros(0, np.uint8)])
        yield f"layer-{layer}", pack(arrays, further.list_neuron_details(run, chosen))


def pack_map(run: Content) -> str:
    """The relations of all descriptors, and those that are pictured, in order; neurons of every layer."""
    carried = np.bincount(run.assigned.calibration["column"], minlength=len(run.names))
    arrays, order = further.arrange_relations(run, carried)
    arrays = {name: round_bits(array) if array.dtype == np.float32 else array for name, array in arrays.items()}
    sizes = np.array([np.sum(run.layer == layer) for layer in run.layers], dtype=np.int32)
    return pack(arrays | order | {"sizes": sizes})


def pack_all(run: Content, exemplars: int) -> dict[str, str]:
    """Every piece by name. exemplars: sentences shown of each neuron and split, at most those that were read."""
    rows = select_shown_rows(run, exemplars)
    pieces = {"core": pack_core(run, tabulate_pairs(run)), "sentences": pack_sentences(run, rows), "map": pack_map(run)}
    return pieces | dict(pack_layers(run, exemplars, rows))
