"""What changed between two runs: settings, descriptors, neurons, measures; and the measures of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descry.results.columns import (
    Columns,
    Folder,
    code_neurons,
    read_assigned,
    read_descriptors,
    read_further,
    read_measures,
    read_neurons,
    read_stds,
)
from descry.results.measures import HEADLINES, find_measure
from descry.results.noise import judge_gap
from descry.storage.nesting import flatten


def compare_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Key and both values of every parameter that differs between two runs. one, other: `read_lock` of each."""
    both = [_flatten_parameters(recorded) for recorded in (one, other)]
    for key in sorted(both[0].keys() | both[1].keys()):
        first, second = (parameters.get(key, "not there") for parameters in both)
        if first != second:
            yield key, first, second


def _flatten_parameters(recorded: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for stage in recorded.values():
        parameters |= flatten(stage.get("params", {}).get("params.yaml", {}))
    return parameters


@dataclass(frozen=True)
class AssignmentAgreement:
    """How far two tables of assignments agree.

    jaccard: of their assigned pairs of a neuron and a descriptor; first: of the neurons described in either, the share
    whose first descriptor is the same. Both are in [0, 1], and 1 if neither table assigns anything.
    """

    jaccard: float
    first: float


@dataclass(frozen=True)
class _Keys:
    """Assigned pairs, and of them the first of each neuron, as distinct int64: neuron * descriptors + descriptor."""

    pairs: np.ndarray
    firsts: np.ndarray
    descriptors: int

    def move(self, places: np.ndarray) -> _Keys:
        """The same with neuron n renumbered to places[n]."""
        pairs, firsts = (
            places[keys // self.descriptors] * self.descriptors + keys % self.descriptors
            for keys in (self.pairs, self.firsts)
        )
        return _Keys(pairs, firsts, self.descriptors)

    def compare(self, other: _Keys) -> AssignmentAgreement:
        shared = len(np.intersect1d(self.pairs, other.pairs, assume_unique=True))
        same = len(np.intersect1d(self.firsts, other.firsts, assume_unique=True))
        either = np.union1d(self.firsts // self.descriptors, other.firsts // self.descriptors)
        return AssignmentAgreement(
            _divide(shared, len(self.pairs) + len(other.pairs) - shared), _divide(same, len(either))
        )


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _make_keys(one: Mapping[str, Any], other: Mapping[str, Any], codes: np.ndarray) -> tuple[_Keys, _Keys]:
    """one, other: columns layer, index, descriptor, place; codes: `code_neurons` of all neurons, ascending."""
    names = sorted({*one["descriptor"], *other["descriptor"]})
    number = {name: column for column, name in enumerate(names)}

    def make(columns: Mapping[str, Any]) -> _Keys:
        column = np.array([number[name] for name in columns["descriptor"]], dtype=np.int64)
        pairs = np.searchsorted(codes, code_neurons(columns)) * max(len(names), 1) + column
        return _Keys(pairs, pairs[np.asarray(columns["place"]) == 1], max(len(names), 1))

    return make(one), make(other)


def compare_assignments(one: Mapping[str, Any], other: Mapping[str, Any]) -> AssignmentAgreement:
    """How far two tables of assigned pairs agree: columns layer, index, descriptor, place (1 = the neuron's first)."""
    codes = np.union1d(code_neurons(one), code_neurons(other))
    first, second = _make_keys(one, other, codes)
    return first.compare(second)


def compare_assignments_by_chance(
    one: Mapping[str, Any], other: Mapping[str, Any], neurons: Mapping[str, Any], *, repeats: int = 20, seed: int = 0
) -> AssignmentAgreement:
    """The chance level of `compare_assignments`: its mean when the neurons of `other` are permuted within layers.

    neurons: columns layer and index of all neurons, in that order.
    """
    generator = np.random.default_rng(seed)
    first, second = _make_keys(one, other, code_neurons(neurons))
    layer = np.asarray(neurons["layer"])
    drawn = []
    for _ in range(repeats):
        places = np.empty(len(layer), dtype=np.int64)
        places[np.lexsort((generator.random(len(layer)), layer))] = np.arange(len(layer))
        drawn.append(first.compare(second.move(places)))
    return AssignmentAgreement(float(np.mean([a.jaccard for a in drawn])), float(np.mean([a.first for a in drawn])))


def compare_runs(here: Folder, there: Folder) -> dict[str, Any]:
    """What changed from one run to another, as docs/prompt.md lists it under `descry compare`."""
    runs = [here, there]
    names = [[descriptor["name"] for descriptor in read_descriptors(run)] for run in runs]
    neurons = [read_neurons(run) for run in runs]
    pairs = [read_assigned(run, "calibration") for run in runs]
    matched = all(np.array_equal(neurons[0][name], neurons[1][name]) for name in neurons[0])
    settings = compare_settings(here.recorded, there.recorded)
    return {
        "settings": [{"key": key, "here": first, "there": second} for key, first, second in settings],
        "descriptors": {
            "kept": [name for name in names[0] if name in names[1]],
            "lost": [name for name in names[0] if name not in names[1]],
            "gained": [name for name in names[1] if name not in names[0]],
            "carried": list(_compare_carriers([*dict.fromkeys(names[0] + names[1])], pairs, neurons, runs)),
        },
        "neurons": {"matched": matched}
        | (_compare_neurons(pairs, neurons[0]) if matched else {})
        | _count_neurons(pairs, neurons),
        "measures": list(_compare_headlines(runs, neurons)),
    }


def _count_neurons(pairs: list[Columns], neurons: list[Columns]) -> dict[str, Any]:
    counts = {
        "count": [len(run["layer"]) for run in neurons],
        "layers": [len(np.unique(run["layer"])) for run in neurons],
        "described": [len(np.unique(code_neurons(run))) for run in pairs],
    }
    return {
        f"{name}_{where}": values[run] for name, values in counts.items() for run, where in enumerate(("here", "there"))
    }


def _compare_neurons(pairs: list[Columns], neurons: Columns) -> dict[str, Any]:
    """How the descriptions of neurons differ that both runs have. pairs: of each run."""
    firsts = [{(layer, index): name for layer, index, name, place in _list_rows(run) if place == 1} for run in pairs]
    either = sorted(firsts[0].keys() | firsts[1].keys())
    agreement, chance = compare_assignments(*pairs), compare_assignments_by_chance(pairs[0], pairs[1], neurons)

    def list_firsts(keys: Iterator[tuple[int, int]]) -> list[dict[str, Any]]:
        return [
            {"layer": key[0], "index": key[1], "here": firsts[0].get(key), "there": firsts[1].get(key)} for key in keys
        ]

    return {
        "only_here": list_firsts(key for key in either if key not in firsts[1]),
        "only_there": list_firsts(key for key in either if key not in firsts[0]),
        "renamed": list_firsts(
            key for key in either if key in firsts[0] and key in firsts[1] and firsts[0][key] != firsts[1][key]
        ),
        "jaccard": agreement.jaccard,
        "jaccard_chance": chance.jaccard,
        "same_first": agreement.first,
        "same_first_chance": chance.first,
    }


def _list_rows(pairs: Columns) -> Iterator[tuple[Any, ...]]:
    return zip(*(pairs[name].tolist() for name in ("layer", "index", "descriptor", "place")), strict=True)


def _compare_carriers(
    names: list[str], pairs: list[Columns], neurons: list[Columns], runs: list[Folder]
) -> Iterator[dict[str, Any]]:
    """For every descriptor and run, the share of neurons that carry it and their mean relative depth, 0 the first layer
    and 1 the last, None if no neuron does; with its 95 % interval under shuffled layers, None if that stage is off."""
    intervals = [_read_depth_intervals(run) for run in runs]
    for name in names:
        row: dict[str, Any] = {"descriptor": name}
        for where, assigned, run, depths in zip(("here", "there"), pairs, neurons, intervals, strict=True):
            layers = np.unique(run["layer"])
            depth = np.searchsorted(layers, assigned["layer"][assigned["descriptor"] == name])
            row[f"neurons_{where}"] = len(depth) / len(run["layer"])
            row[f"depth_{where}"] = float(depth.mean() / max(len(layers) - 1, 1)) if len(depth) else None
            row[f"depth_low_{where}"], row[f"depth_high_{where}"] = depths.get(name, (None, None))
        yield row


def _read_depth_intervals(run: Folder) -> dict[str, tuple[float, float]]:
    """The 95 % interval of every descriptor's depth under shuffled layers."""
    depth = read_further(run, "depth")
    if depth is None:
        return {}
    names, low, high = (depth[name].tolist() for name in ("descriptor", "low", "high"))
    return dict(zip(names, zip(low, high, strict=True), strict=True))


def _compare_headlines(runs: list[Folder], neurons: list[Columns]) -> Iterator[dict[str, Any]]:
    """`compare_measures` of two runs, in the words of `compare_runs`."""
    for row in compare_measures(runs, [len(run["layer"]) for run in neurons]):
        named: dict[str, Any] = {"measure": row["measure"]}
        for where, figures in zip(("here", "there"), row["runs"], strict=True):
            named |= {where: figures["value"], f"{where}_chance": figures["chance"], f"{where}_std": figures["std"]}
        yield named | {"verdict": row["runs"][1]["verdict"]}


def compare_measures(runs: Sequence[Folder], sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The headline measures that any run has: `measure` and, for each of `runs`, its value, chance level and standard
    deviation over splits (`std`), None where unknown.

    sizes: number of units of each run. verdict, of each run but the first: whether the first is ahead of it, behind it
    or tied with it, by the larger of both deviations; None where unknown, and for counts of runs of different sizes.
    """
    values = [_read_chance(read_measures(run)) for run in runs]
    deviations = [read_stds(run) for run in runs]
    for measure in HEADLINES:
        name = measure.name
        if not any(name in run for run in values):
            continue
        rows: list[dict[str, Any]] = []
        for run, stds, size in zip(values, deviations, sizes, strict=True):
            value, chance = run.get(name, (None, None))
            row: dict[str, Any] = {"value": value, "chance": chance, "std": stds.get(name)}
            if rows and not (measure.counts and size != sizes[0]):
                larger = max((std for std in (rows[0]["std"], row["std"]) if std is not None), default=None)
                row["verdict"] = judge_gap(rows[0]["value"], value, larger)
            rows.append({"verdict": None} | row)
        yield {"measure": name, "runs": rows}


def compare_many(runs: Sequence[Folder]) -> dict[str, Any]:
    """The headline measures of several runs side by side, as docs/prompt.md lists it under `descry compare`."""
    neurons = [read_neurons(run) for run in runs]
    pairs = [read_assigned(run, "calibration") for run in runs]
    sizes = [len(run["layer"]) for run in neurons]
    return {
        "runs": [
            {"run": str(run.root), "count": size, "described": len(np.unique(code_neurons(assigned)))}
            for run, size, assigned in zip(runs, sizes, pairs, strict=True)
        ],
        "measures": list(compare_measures(runs, sizes)),
    }


def _read_chance(table: Columns) -> dict[str, tuple[float, float]]:
    """Every measure's value and the level of its main chance."""
    rows = zip(*(table[name].tolist() for name in ("measure", "null", "value", "chance")), strict=True)
    return {name: (value, chance) for name, null, value, chance in rows if find_measure(name).chance == null}
