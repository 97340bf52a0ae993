"""What changed between two runs: settings, descriptors, neurons, measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
)
from descry.results.measures import HEADLINES, find_measure
from descry.storage.nesting import flatten


def compare_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Key and both values of every parameter that two runs do not share. one, other: as `layout.lock` gives them."""
    both = [_parameters(recorded) for recorded in (one, other)]
    for key in sorted(both[0].keys() | both[1].keys()):
        first, second = (found.get(key, "not there") for found in both)
        if first != second:
            yield key, first, second


def _parameters(recorded: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stage in recorded.values():
        found |= flatten(stage.get("params", {}).get("params.yaml", {}))
    return found


@dataclass(frozen=True)
class AssignmentAgreement:
    """How far two tables of assignments say the same.

    jaccard: of the assigned pairs of a neuron and a descriptor; first: the share of the neurons described in either
    whose first descriptor is the same. Both are 1 where neither assigns anything.
    """

    jaccard: float
    first: float


@dataclass(frozen=True)
class _Keys:
    """Assigned pairs and first descriptors as numbers, neuron x descriptors + descriptor: int64, each once."""

    pairs: np.ndarray
    firsts: np.ndarray
    descriptors: int

    def moved(self, places: np.ndarray) -> _Keys:
        """The same with neuron n as neuron places[n]."""
        pairs, firsts = (
            places[keys // self.descriptors] * self.descriptors + keys % self.descriptors
            for keys in (self.pairs, self.firsts)
        )
        return _Keys(pairs, firsts, self.descriptors)

    def agreement(self, other: _Keys) -> AssignmentAgreement:
        shared = len(np.intersect1d(self.pairs, other.pairs, assume_unique=True))
        same = len(np.intersect1d(self.firsts, other.firsts, assume_unique=True))
        either = np.union1d(self.firsts // self.descriptors, other.firsts // self.descriptors)
        return AssignmentAgreement(
            _share(shared, len(self.pairs) + len(other.pairs) - shared), _share(same, len(either))
        )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _keyed(one: Mapping[str, Any], other: Mapping[str, Any], codes: np.ndarray) -> tuple[_Keys, _Keys]:
    """one, other: columns layer, index, descriptor, place; codes: of all neurons, ascending."""
    names = sorted({*one["descriptor"], *other["descriptor"]})
    number = {name: column for column, name in enumerate(names)}

    def keys(columns: Mapping[str, Any]) -> _Keys:
        column = np.array([number[name] for name in columns["descriptor"]], dtype=np.int64)
        pairs = np.searchsorted(codes, code_neurons(columns)) * max(len(names), 1) + column
        return _Keys(pairs, pairs[np.asarray(columns["place"]) == 1], max(len(names), 1))

    return keys(one), keys(other)


def compare_assignments(one: Mapping[str, Any], other: Mapping[str, Any]) -> AssignmentAgreement:
    """The agreement of two tables of assigned pairs: columns layer, index, descriptor, place (1 = the first)."""
    codes = np.union1d(code_neurons(one), code_neurons(other))
    first, second = _keyed(one, other, codes)
    return first.agreement(second)


def compare_assignments_by_chance(
    one: Mapping[str, Any], other: Mapping[str, Any], there: Mapping[str, Any], *, repeats: int = 20, seed: int = 0
) -> AssignmentAgreement:
    """The mean `agreement` where the neurons of `other` change places within their layers. there: columns layer and
    index of all neurons, in that order."""
    generator = np.random.default_rng(seed)
    first, second = _keyed(one, other, code_neurons(there))
    layer = np.asarray(there["layer"])
    drawn = []
    for _ in range(repeats):
        places = np.empty(len(layer), dtype=np.int64)
        places[np.lexsort((generator.random(len(layer)), layer))] = np.arange(len(layer))
        drawn.append(first.agreement(second.moved(places)))
    return AssignmentAgreement(float(np.mean([a.jaccard for a in drawn])), float(np.mean([a.first for a in drawn])))


def compare_runs(here: Folder, there: Folder) -> dict[str, Any]:
    """What changed from one run to another, as docs/prompt.md lists it under `descry compare`."""
    runs = [here, there]
    names = [[descriptor["name"] for descriptor in read_descriptors(run)] for run in runs]
    every = [read_neurons(run) for run in runs]
    found = [read_assigned(run, "calibration") for run in runs]
    matched = all(np.array_equal(every[0][name], every[1][name]) for name in every[0])
    settings = compare_settings(here.recorded, there.recorded)
    return {
        "settings": [{"key": key, "here": first, "there": second} for key, first, second in settings],
        "descriptors": {
            "kept": [name for name in names[0] if name in names[1]],
            "lost": [name for name in names[0] if name not in names[1]],
            "gained": [name for name in names[1] if name not in names[0]],
            "carried": list(_carried([*dict.fromkeys(names[0] + names[1])], found, every, runs)),
        },
        "neurons": {"matched": matched} | (_matched(found, every[0]) if matched else {}) | _described(found, every),
        "measures": list(_headlines(read_measures(here), read_measures(there))),
    }


def _described(found: list[Columns], every: list[Columns]) -> dict[str, Any]:
    described = {"described": [len(np.unique(code_neurons(pairs))) for pairs in found]}
    counts = {"count": [len(run["layer"]) for run in every], "layers": [len(np.unique(run["layer"])) for run in every]}
    return {
        f"{name}_{where}": values[side]
        for name, values in (counts | described).items()
        for side, where in enumerate(("here", "there"))
    }


def _matched(found: list[Columns], every: Columns) -> dict[str, Any]:
    """What becomes of each neuron where both runs have the same."""
    firsts = [{(layer, index): name for layer, index, name, place in _rows(pairs) if place == 1} for pairs in found]
    either = sorted(firsts[0].keys() | firsts[1].keys())
    own, chance = compare_assignments(*found), compare_assignments_by_chance(found[0], found[1], every)

    def told(keys: Iterator[tuple[int, int]]) -> list[dict[str, Any]]:
        return [
            {"layer": key[0], "index": key[1], "here": firsts[0].get(key), "there": firsts[1].get(key)} for key in keys
        ]

    return {
        "only_here": told(key for key in either if key not in firsts[1]),
        "only_there": told(key for key in either if key not in firsts[0]),
        "renamed": told(
            key for key in either if key in firsts[0] and key in firsts[1] and firsts[0][key] != firsts[1][key]
        ),
        "jaccard": own.jaccard,
        "jaccard_chance": chance.jaccard,
        "same_first": own.first,
        "same_first_chance": chance.first,
    }


def _rows(pairs: Columns) -> Iterator[tuple[Any, ...]]:
    return zip(*(pairs[name].tolist() for name in ("layer", "index", "descriptor", "place")), strict=True)


def _carried(
    names: list[str], found: list[Columns], every: list[Columns], runs: list[Folder]
) -> Iterator[dict[str, Any]]:
    """Of every descriptor the share of neurons that carry it, and their mean relative depth: 0 the first layer, 1 the
    last, None where no neuron does; with the 95 % interval of it under shuffled layers, None where that was left
    out."""
    placed = [_depths(run) for run in runs]
    for name in names:
        row: dict[str, Any] = {"descriptor": name}
        for where, pairs, run, depths in zip(("here", "there"), found, every, placed, strict=True):
            layers = np.unique(run["layer"])
            own = np.searchsorted(layers, pairs["layer"][pairs["descriptor"] == name])
            row[f"neurons_{where}"] = len(own) / len(run["layer"])
            row[f"depth_{where}"] = float(own.mean() / max(len(layers) - 1, 1)) if len(own) else None
            row[f"depth_low_{where}"], row[f"depth_high_{where}"] = depths.get(name, (None, None))
        yield row


def _depths(run: Folder) -> dict[str, tuple[float, float]]:
    """Between which depths each descriptor lies in 95 % of the shuffles of layers."""
    found = read_further(run, "depth")
    if found is None:
        return {}
    names, low, high = (found[name].tolist() for name in ("descriptor", "low", "high"))
    return dict(zip(names, zip(low, high, strict=True), strict=True))


def _headlines(here: Columns, there: Columns) -> Iterator[dict[str, Any]]:
    """The headline measures that either run has, each beside chance."""
    values = [_beside_chance(table) for table in (here, there)]
    for name in (measure.name for measure in HEADLINES):
        if any(name in found for found in values):
            first, second = (found.get(name, (None, None)) for found in values)
            pairs = zip(("here", "here_chance", "there", "there_chance"), (*first, *second), strict=True)
            yield {"measure": name} | dict(pairs)


def _beside_chance(table: Columns) -> dict[str, tuple[float, float]]:
    rows = zip(*(table[name].tolist() for name in ("measure", "null", "value", "chance")), strict=True)
    return {name: (value, chance) for name, null, value, chance in rows if find_measure(name).chance == null}
