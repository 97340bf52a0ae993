"""metrics: the headline figures, out of the tables of all measures, for `dvc metrics`."""

from descry import artifacts
from descry.nesting import nested
from stages import _stage

AGREEMENT = ("jaccard", "pooled_jaccard", "top2_jaccard", "replication")
GUESSES = ("precision_at_1", "precision_at_2", "recall_at_1", "recall_at_2")
BESIDE_CHANCE = (
    "sentence.gold.precision_at_1",
    "sentence.gold.precision_at_2",
    "sentence.gold.recall_at_2",
    "sentence.labels.precision_at_1",
    "sentence.labels.recall_at_2",
    "oracle.sentence.precision_at_1",
    "oracle.sentence.recall_at_2",
    "oracle.replication",
    "neuron.precision_at_1",
    "neuron.precision_at_2",
    "neuron.recall_at_2",
    "neuron.described",
    "labels.agreement",
    "labels.mean_best_ap",
    "descriptors.mean_best_ap",
    "second_opinion.survival",
    "second_opinion.support",
)
COUNTS = ("neuron.described", "oracle.neuron.described", "descriptors.count", "pairs")


Figures = dict[tuple[str, str], dict[str, float]]
"""(measure, null) -> chance and adjusted."""


def _read(folder: str) -> tuple[dict[str, float], Figures]:
    """Every measure's value, and its figures beside each null."""
    table = artifacts.read_table(_stage.DATA / folder / "measures.parquet", "measures")
    values: dict[str, float] = {}
    figures: Figures = {}
    for name, null, value, chance, adjusted in table[["measure", "null", "value", "chance", "adjusted"]].values:
        values[name] = int(value) if name in COUNTS else value
        figures[name, null] = {"chance": chance, "adjusted": adjusted}
    return values, figures


def _consistency() -> dict[str, float]:
    values, beside = _read("consistency")
    out = {name: values[name] for name in ("coverage", "pairs", "calibrated_alpha")}
    for name in AGREEMENT:
        row = beside[name, "permuted_neurons"]
        out |= {name: values[name], f"{name}_null": row["chance"], f"{name}_adjusted": row["adjusted"]}
    out["replication_unassigned"] = beside["replication", "unassigned_pairs"]["chance"]
    out["attained_error"] = min(1.0, beside["pairs", "shuffled_labels"]["chance"] / max(values["pairs"], 1))
    others = {(null, name): row["chance"] for (name, null), row in beside.items() if name in ("jaccard", "replication")}
    return nested(out | {f"null.{null}.{name}": chance for (null, name), chance in others.items()})


def _evaluation() -> dict[str, float]:
    values, beside = _read("evaluation")
    out = {name: v for name, v in values.items() if "_at_" not in name or name.endswith(GUESSES)}
    out |= {
        f"null.{null}.{name}": row["chance"] for (name, null), row in beside.items() if null and name in BESIDE_CHANCE
    }
    out |= {
        f"adjusted.{name}": row["adjusted"]
        for (name, null), row in beside.items()
        if null == "most_common" and name in BESIDE_CHANCE
    }
    return nested(out)


def main() -> None:
    artifacts.write_metrics(_stage.METRICS / "consistency.json", _consistency())
    artifacts.write_metrics(_stage.METRICS / "evaluation.json", _evaluation())


if __name__ == "__main__":
    _stage.run(main)
