"""What the page's script reads of what goes beyond descriptors of sentences: what drives neurons, relations, depth,
another corpus, neurons switched off. What a stage was left out of is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from descry.analyses.triggers import CLASSES
from descry.report.content import Content
from descry.splits import REPLICATES

UNKNOWN = 255
"""Stands for a class or an answer that is not known."""
PICTURED = 40
"""Descriptors in the picture of relations, at most: those of most neurons."""
RELATED = ("phi", "low", "high", "ratio", "z", "q", "bearing", "neurons", "neurons_expected")
CAUSES = (
    *("auroc", "own", "others", "above", "above_low", "above_high"),
    *("separation_own", "separation_random_own", "separation_above", "separation_above_low", "separation_above_high"),
    *("words", "word_own", "word_random_own", "word_above", "word_above_low", "word_above_high"),
)


def code_classes(run: Content) -> np.ndarray:
    """Which of CLASSES every neuron is of: uint8, UNKNOWN where that was left out or the neuron has no descriptor."""
    found = np.full(len(run.layer), UNKNOWN, dtype=np.uint8)
    if len(run.beyond.triggers):
        found[:] = pd.Categorical(run.beyond.triggers["class"], CLASSES).codes
        described = np.zeros(len(found), dtype=bool)
        described[run.found.calibration["neuron"]] = True
        found[~described] = UNKNOWN
    return found


def code_transfer(run: Content, pairs: pd.DataFrame) -> np.ndarray:
    """Whether each pair (columns neuron and column) is found again in the other corpus: uint8, 1 or 0, UNKNOWN without
    one."""
    if not len(run.beyond.transfer_pairs):
        return np.full(len(pairs), UNKNOWN, dtype=np.uint8)
    there = run.beyond.transfer_pairs.set_index(["layer", "index", "descriptor"])["p"]
    names = np.array(run.names, dtype=object)[pairs["column"]]
    keys = pd.MultiIndex.from_arrays([run.layer[pairs["neuron"]], run.index[pairs["neuron"]], names])
    p = there.reindex(keys).to_numpy()
    return np.where(np.isnan(p), UNKNOWN, p <= REPLICATES).astype(np.uint8)


def list_descriptor_details(run: Content) -> list[dict[str, Any]]:
    """Of every descriptor, by its column: transfer, causes and depth, each a mapping or None; a figure that cannot be
    said is None."""
    tables = {
        "transfer": run.beyond.transfer,
        "causes": run.beyond.ablation,
        "depth": run.beyond.depth,
    }
    kept = {
        "transfer": ("there_prevalence", "replication", "unassigned"),
        "causes": ("neurons", *CAUSES),
        "depth": ("depth", "expected", "low", "high", "q", "validation_depth"),
    }
    found = {name: _rows(table, kept[name]) for name, table in tables.items()}
    return [{name: rows.get(descriptor) for name, rows in found.items()} for descriptor in run.names]


def _rows(table: pd.DataFrame, columns: Sequence[str]) -> dict[str, dict[str, float | None]]:
    return {
        str(name): {str(key): None if pd.isna(value) else round(float(value), 6) for key, value in row.items()}
        for name, row in zip(table["descriptor"], table[list(columns)].to_dict("records"), strict=True)
    }


def list_neuron_details(run: Content, here: np.ndarray) -> list[dict[str, Any]] | None:
    """What drives some neurons, int [n]: words with what each carries, pattern, peak, the class on validation, and what
    the words tell there; None where that was left out."""
    if not len(run.beyond.triggers):
        return None
    return [
        {
            "words": [[word, round(float(share), 3)] for word, share in zip(row["words"], row["shares"], strict=True)],
            "pattern": row["pattern"],
            "peak": round(row["peak"], 3),
            "there": CLASSES.index(row["validation_class"]),
            "count": row["validation_count"],
            "sentences": row["validation_sentences"],
            "p": float(f"{row['validation_p']:.2g}"),
            "correlation": round(row["pearson"], 3),
        }
        for row in run.beyond.triggers.iloc[here].to_dict("records")
    ]


def arrange_relations(run: Content, carried: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Arrays of every ordered pair of descriptors [descriptors x descriptors], floats, and uint8 `again`: found on
    validation too; empty where that was left out. And the columns that are pictured, in an order that puts together
    those that go together. carried: int [descriptors], neurons of each."""
    most = np.argsort(-carried, kind="stable")[:PICTURED]
    most = most[carried[most] > 0]
    table, size = run.beyond.relations, len(run.names)
    if not len(table):
        return {}, {"order": most.astype(np.int32)}
    row, column = (pd.Index(run.names).get_indexer(pd.Index(table[name])) for name in ("descriptor", "other"))
    arrays: dict[str, np.ndarray] = {}
    for name in RELATED:
        arrays[name] = np.full((size, size), np.nan, dtype=np.float64 if name == "q" else np.float32)
        arrays[name][row, column] = table[name]
    arrays["again"] = np.zeros((size, size), dtype=np.uint8)
    arrays["again"][row, column] = run.beyond.relations_there["p"] <= REPLICATES
    return arrays, {"order": _seriated(arrays["ratio"], most).astype(np.int32)}


def _seriated(ratio: np.ndarray, columns: np.ndarray) -> np.ndarray:
    if len(columns) < 3:
        return columns
    near = np.nan_to_num(np.log(np.maximum(ratio[np.ix_(columns, columns)].astype(np.float64), 1e-3)))
    distance = near.max() - (near + near.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return np.asarray(columns[leaves_list(tree)])


def read_transfer_chance(run: Content) -> Mapping[str, float | None]:
    """What chance gives the figures of single descriptors: of another corpus the pairs that were not assigned."""
    found = run.figures.get("transfer.replication")
    level = None if found is None else found.levels.get("unassigned_pairs")
    return {"transfer": None if level is None else level.mean}
