"""The tables behind the plots: a row a point of the x axis, a column a series."""

from __future__ import annotations

import numpy as np
import pandas as pd

from descry.report.content import Content
from descry.report.measures import CONTROL_TEXTS, Score

SWEPT = ("sentence_precision_at_1", "sentence_recall_at_2", "neuron_precision_at_1", "neuron_described")
"""Measures that are drawn as a setting varies."""
BY_RULE = ("enrichment", "composition")
NULLS = ("most_common", "random_exemplars")
"""The nulls that are drawn."""
AT_K = {
    "oracle": "gold aspects as labels",
    "": "the neurons' descriptors",
    **{name: title for name, (title, _) in CONTROL_TEXTS.items()},
    "most_common": "null: most common",
    "random_exemplars": "null: random exemplars",
}
"""Series of at_k by the end of their columns, and their labels."""


def tabulate_layers(run: Content) -> pd.DataFrame:
    """Described neurons of each layer: layer, neurons, described (on calibration), described_on_validation, and as
    shares of the layer calibration, validation, each control and random_exemplars (missing where it did not run).
    """
    sizes = pd.Series(run.layer).value_counts().reindex(run.layers)
    described = {
        split: pairs.drop_duplicates("neuron")["layer"].value_counts().reindex(run.layers, fill_value=0)
        for split, pairs in zip(run.assigned._fields, run.assigned, strict=True)
    }
    table = pd.DataFrame({"layer": run.layers, "neurons": sizes.to_numpy()})
    table["described"] = described["calibration"].to_numpy()
    table["described_on_validation"] = described["validation"].to_numpy()
    for split, counts in described.items():
        table[split] = counts.to_numpy() / sizes.to_numpy()
    swept = run.sweeps[(run.sweeps["sweep"] == "layer") & (run.sweeps["rule"] == run.rule.name)]
    for control in CONTROL_TEXTS:
        shares = swept[swept["neurons"] == control].set_index("x")["value"]
        table[control] = shares.reindex([str(layer) for layer in run.layers]).to_numpy()
    level = run.scores["neuron.described"].levels.get("random_exemplars") if "neuron.described" in run.scores else None
    table["random_exemplars"] = np.nan if level is None else level.mean / len(run.layer)
    return table


def _read_series(measure: Score | None, name: str) -> float:
    if measure is None:
        return np.nan
    if not name:
        return measure.value
    return measure.levels[name].mean if name in measure.levels else np.nan


def tabulate_at_k(run: Content) -> pd.DataFrame:
    """Sentence precision and recall of the k best descriptors: k, ceiling (the highest precision that any order
    can reach), and `precision` and `recall` of the descriptors, with `_<series>` behind it of the others in AT_K.
    """
    start, oracle = f"{run.reference}.precision_at_", "oracle.sentence"
    ks = sorted(int(name.removeprefix(start)) for name in run.scores if name.startswith(start))
    columns: dict[str, list[float]] = {"k": list(ks), "ceiling": []}
    for k in ks:
        ceiling = run.scores[f"{start}{k}"].ceiling
        columns["ceiling"].append(1.0 if ceiling is None else ceiling)
    for name in ("precision", "recall"):
        for series in AT_K:
            whose = "" if series == "oracle" else series
            of = oracle if series == "oracle" else run.reference
            values = [_read_series(run.scores.get(f"{of}.{name}_at_{k}"), whose) for k in ks]
            columns[f"{name}_{series}" if series else name] = values
    return pd.DataFrame(columns)


def _select_sweep(run: Content, sweep: str) -> pd.DataFrame:
    """A sweep, its measures without dots and without what sentences are measured against."""
    rows = run.sweeps[run.sweeps["sweep"] == sweep].copy()
    rows["measure"] = rows["measure"].str.replace(r"^sentence\.(gold|labels)", "sentence", regex=True)
    rows["measure"] = rows["measure"].str.replace(".", "_")
    return rows


def tabulate_sweep(run: Content, sweep: str) -> pd.DataFrame:
    """The measures of SWEPT as a setting varies: the setting, and for every measure and rule
    `<measure>_<rule>` and with `_most_common` or `_random_exemplars` behind it that null.

    Measures of neurons are missing where none is described.
    """
    rows = _select_sweep(run, sweep)
    place = rows.set_index(["x", "rule", "neurons", "measure"])["value"]
    x = sorted(rows["x"].unique(), key=float)
    table = pd.DataFrame({sweep: [float(value) for value in x]})

    def read_column(measure: str, rule: str, whose: str) -> np.ndarray:
        return np.asarray(place.reindex([(value, rule, whose, measure) for value in x]), dtype=np.float64)

    for measure in SWEPT:
        for rule in BY_RULE:
            for whose in ("target", *NULLS):
                if (measure, whose) != ("neuron_described", "most_common"):
                    values = read_column(measure, rule, whose)
                    if measure == "neuron_precision_at_1":
                        values = np.where(read_column("neuron_described", rule, "target") > 0, values, np.nan)
                    table[f"{measure}_{rule}{'' if whose == 'target' else f'_{whose}'}"] = values
    return table


def tabulate_poolings(run: Content) -> pd.DataFrame:
    """The measures of SWEPT for each pooling, under the run's rule: pooling, the measures, and the nulls as in
    `tabulate_sweep`."""
    rows = _select_sweep(run, "pooling")
    rows = rows[(rows["rule"] == run.rule.name) & rows["measure"].isin(SWEPT)]
    names = rows["measure"] + rows["neurons"].map(lambda whose: "" if whose == "target" else f"_{whose}")
    wide: pd.DataFrame = rows.assign(name=names).pivot_table(index="x", columns="name", values="value", sort=False)
    return wide.reindex(rows["x"].unique()).rename_axis("pooling").rename_axis(None, axis="columns").reset_index()


def tabulate_p_value_bins(run: Content) -> pd.DataFrame:
    """Histograms of p: p (a bin's lower edge), `<split>_observed` and `<split>_shuffled_labels` (share of the pairs
    in it), uniform (the same where labels and neurons have nothing to do with each other)."""
    names = run.p_values["split"] + "_" + run.p_values["labels"]
    wide = run.p_values.assign(name=names).pivot_table(index="p", columns="name", values="share", sort=False)
    wide = wide.sort_index().rename_axis(None, axis="columns").reset_index()
    return wide.assign(uniform=1 / max(len(wide), 1))


def tabulate_series(run: Content) -> dict[str, pd.DataFrame]:
    """Every table behind a plot but that of the descriptors; pooling's where there are several."""
    tables = {
        "layers": tabulate_layers(run),
        "at_k": tabulate_at_k(run),
        "threshold": tabulate_sweep(run, "threshold"),
        "exemplars": tabulate_sweep(run, "exemplars"),
        "p_values": tabulate_p_value_bins(run),
    }
    poolings = tabulate_poolings(run)
    return tables | ({"pooling": poolings} if len(poolings) > 1 else {})
