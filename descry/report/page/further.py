"""What the page's script reads of the analyses beyond the paper: triggers, relations, depth, transfer, ablation, what
neurons write, negative ends, descriptions in free text. What a stage that is switched off would have given is left
out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from descry.analyses.triggers import CLASSES
from descry.assignment.rules import locate_pairs
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
    """Which of CLASSES every neuron is of: uint8, UNKNOWN where triggers were left out or the neuron has no
    descriptor."""
    codes = np.full(len(run.layer), UNKNOWN, dtype=np.uint8)
    if len(run.beyond.triggers):
        codes[:] = pd.Categorical(run.beyond.triggers["class"], CLASSES).codes
        described = np.zeros(len(codes), dtype=bool)
        described[run.assigned.calibration["neuron"]] = True
        codes[~described] = UNKNOWN
    return codes


def code_transfer(run: Content, pairs: pd.DataFrame) -> np.ndarray:
    """Whether each pair (columns neuron and column) replicates in the other corpus: uint8, 1 or 0, UNKNOWN without
    one."""
    if not len(run.beyond.transfer_pairs):
        return np.full(len(pairs), UNKNOWN, dtype=np.uint8)
    tested = run.beyond.transfer_pairs.set_index(["layer", "index", "descriptor"])["p"]
    names = np.array(run.names, dtype=object)[pairs["column"]]
    keys = pd.MultiIndex.from_arrays([run.layer[pairs["neuron"]], run.index[pairs["neuron"]], names])
    p = tested.reindex(keys).to_numpy()
    return np.where(np.isnan(p), UNKNOWN, p <= REPLICATES).astype(np.uint8)


def list_descriptor_details(run: Content) -> list[dict[str, Any]]:
    """Of every descriptor, by its column: transfer, causes, depth and cofiring, each a mapping or None; a figure that
    could not be computed is None; gloss, what a language model wrote of it, or None."""
    tables = {
        "transfer": run.beyond.transfer,
        "causes": run.beyond.ablation,
        "depth": run.beyond.depth,
        "cofiring": run.beyond.cofiring,
    }
    kept = {
        "transfer": ("there_prevalence", "replication", "unassigned"),
        "causes": ("neurons", *CAUSES),
        "depth": ("depth", "expected", "low", "high", "q", "validation_depth"),
        "cofiring": ("units", "compared", "sentences", "ratio", "split", "absorbed", "chance"),
    }
    rows = {name: _index_rows(table, kept[name]) for name, table in tables.items()}
    glosses = dict(zip(run.beyond.glosses["descriptor"], run.beyond.glosses["description"], strict=True))
    return [
        {name: of_descriptor.get(descriptor) for name, of_descriptor in rows.items()}
        | {"gloss": glosses.get(descriptor)}
        for descriptor in run.names
    ]


def _index_rows(table: pd.DataFrame, columns: Sequence[str]) -> dict[str, dict[str, float | None]]:
    return {
        str(name): {str(key): None if pd.isna(value) else round(float(value), 6) for key, value in row.items()}
        for name, row in zip(table["descriptor"], table[list(columns)].to_dict("records"), strict=True)
    }


def list_neuron_details(run: Content, neurons: np.ndarray) -> dict[str, list[Any] | None]:
    """What the cards of some neurons, int [n], show beside arrays: triggers, writes, negative and judged, each a list
    with an entry a neuron, None where that was left out."""
    return {
        "triggers": _list_triggers(run, neurons),
        "writes": _list_written(run, neurons),
        "negative": _list_negative_pairs(run, neurons),
        "judged": _list_judged(run, neurons),
    }


def _list_triggers(run: Content, neurons: np.ndarray) -> list[Any] | None:
    """What triggers each neuron: words with the share of each, pattern, peak, the class on validation, and how well the
    words predict activation there."""
    if not len(run.beyond.triggers):
        return None
    return [
        {
            "words": [[word, round(float(share), 3)] for word, share in zip(row["words"], row["shares"], strict=True)],
            "pattern": row["pattern"],
            "peak": round(row["peak"], 3),
            "validation_class": CLASSES.index(row["validation_class"]),
            "count": row["validation_count"],
            "sentences": row["validation_sentences"],
            "p": float(f"{row['validation_p']:.2g}"),
            "correlation": round(row["pearson"], 3),
        }
        for row in run.beyond.triggers.iloc[neurons].to_dict("records")
    ]


def _list_written(run: Content, neurons: np.ndarray) -> list[Any] | None:
    """The tokens that each neuron promotes and suppresses, and of either end the columns of its descriptors with the
    AUROC of their words."""
    if not len(run.beyond.writes):
        return None
    pairs = run.beyond.written_pairs.dropna(subset="auroc")
    scored = _group_pairs(run, neurons, pairs, lambda row: [row["column"], round(row["auroc"], 3), row["end"]])
    listed = []
    for neuron, row in zip(neurons.tolist(), run.beyond.writes.iloc[neurons].to_dict("records"), strict=True):
        own = scored.get(neuron, [])
        ends = {end: [[column, auroc] for column, auroc, of in own if of == end] for end in ("positive", "negative")}
        listed.append({"promoted": list(row["promoted"]), "suppressed": list(row["suppressed"]), **ends})
    return listed


def _list_negative_pairs(run: Content, neurons: np.ndarray) -> list[Any] | None:
    """The descriptors of each neuron's negative end: column, composition, lift, q, and on validation composition, p and
    correlation."""
    if run.beyond.negative is None:
        return None

    def show(row: Mapping[str, Any]) -> list[Any]:
        figures = row["composition"], row["lift"], row["q"]
        there = row["validation_count"] / max(row["validation_known"], 1), row["validation_p"], row["pearson"]
        return [row["column"], *(float(f"{figure:.4g}") for figure in (*figures, *there))]

    listed = _group_pairs(run, neurons, run.beyond.negative.pairs, show)
    return [listed.get(neuron, []) for neuron in neurons.tolist()]


def _list_judged(run: Content, neurons: np.ndarray) -> list[Any] | None:
    """The descriptions in free text of each neuron: whose, text, and AUROC of it, of other neurons' texts, and of the
    neuron's descriptor (None without one)."""
    judged = run.beyond.judged
    if not len(judged):
        return None
    listed: dict[tuple[int, int], list[Any]] = {}
    for row in judged[judged["layer"].isin(run.layer[neurons])].to_dict("records"):
        aurocs = (row[name] for name in ("auroc", "auroc_swapped", "auroc_descriptor"))
        rounded = [None if pd.isna(auroc) else round(auroc, 3) for auroc in aurocs]
        listed.setdefault((row["layer"], row["index"]), []).append([row["whose"], row["description"], *rounded])
    return [listed.get(unit, []) for unit in zip(run.layer[neurons].tolist(), run.index[neurons].tolist(), strict=True)]


def _group_pairs(
    run: Content, neurons: np.ndarray, pairs: pd.DataFrame, show: Callable[[Mapping[str, Any]], list[Any]]
) -> dict[int, list[Any]]:
    """What is shown of each pair of the neurons' layers, by neuron. pairs: columns layer, index and descriptor, which
    `show` is given with `column`."""
    pairs = pairs[pairs["layer"].isin(run.layer[neurons])]
    located, columns = locate_pairs(pairs, run.layer, run.index, run.names)
    grouped: dict[int, list[Any]] = {}
    for neuron, row in zip(located.tolist(), pairs.assign(column=columns).to_dict("records"), strict=True):
        grouped.setdefault(neuron, []).append(show({str(name): value for name, value in row.items()}))
    return grouped


def arrange_relations(run: Content, carried: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Arrays of every ordered pair of descriptors [descriptors x descriptors], floats, and uint8 `replicates`: on
    validation too; empty where relations were left out. And the columns that are pictured, related ones side by side.
    carried: int [descriptors], neurons of each."""
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
    arrays["replicates"] = np.zeros((size, size), dtype=np.uint8)
    arrays["replicates"][row, column] = run.beyond.relations_validation["p"] <= REPLICATES
    return arrays, {"order": _order_related(arrays["ratio"], most).astype(np.int32)}


def _order_related(ratio: np.ndarray, columns: np.ndarray) -> np.ndarray:
    if len(columns) < 3:
        return columns
    closeness = np.nan_to_num(np.log(np.maximum(ratio[np.ix_(columns, columns)].astype(np.float64), 1e-3)))
    distance = closeness.max() - (closeness + closeness.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return np.asarray(columns[leaves_list(tree)])


def read_transfer_chance(run: Content) -> Mapping[str, float | None]:
    """What chance gives on average the figures that the page shows of single descriptors."""
    score = run.scores.get("transfer.replication")
    return {"transfer": None if score is None or score.chance is None else score.chance.mean}
