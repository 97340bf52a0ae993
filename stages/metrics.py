"""metrics: the headline figures, out of the tables of all measures, for `dvc metrics`."""

from pathlib import Path

from descry.results import layout
from descry.schemas.measures import MEASURE_TABLE
from descry.storage.files import write_metrics
from descry.storage.nesting import nest
from descry.storage.tables import read_table
from stages.harness.stage import run_stage

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
BEYOND = {
    "tokens.agreement": "permuted_neurons",
    "tokens.token_bound": "shuffled_tokens",
    "tokens.lexical": "shuffled_tokens",
    "tokens.replication": "permuted_neurons",
    "tokens.words_correlation": "permuted_neurons",
    "relations.pairs": "",
    "relations.replication": "other_pairs",
    "relations.sentences_replication": "other_pairs",
    "relations.direction_replication": "permuted_descriptors",
    "relations.polysemantic": "dealt_descriptors",
    "depth.placed": "shuffled_layers",
    "depth.correlation": "permuted_descriptors",
    "transfer.replication": "unassigned_pairs",
    "transfer.strongest_replication": "unassigned_pairs",
    "transfer.sentence.gold.precision_at_1": "most_common",
    "transfer.sentence.gold.recall_at_2": "most_common",
    "ablation.share_specific": "exchangeable_sets",
    "ablation.share_clear": "exchangeable_sets",
    "ablation.own_loss": "random_neurons",
    "ablation.separation_share_clear": "exchangeable_sets",
    "ablation.separation_own_loss": "random_neurons",
    "ablation.word_share_specific": "exchangeable_sets",
    "ablation.word_own_loss": "random_neurons",
}
"""Measures of metrics/beyond.json, each with the null that stands beside it; a stage that is left out has none."""
COUNTS = (
    "neuron.described",
    "oracle.neuron.described",
    "descriptors.count",
    "pairs",
    "relations.pairs",
    "relations.polysemantic",
)


Figures = dict[tuple[str, str], dict[str, float]]
"""(measure, null) -> chance and adjusted."""


def _read(folder: Path) -> tuple[dict[str, float], Figures]:
    """Every measure's value, and its figures beside each null."""
    table = read_table(folder / "measures.parquet", MEASURE_TABLE)
    values: dict[str, float] = {}
    figures: Figures = {}
    for name, null, value, chance, adjusted in table[["measure", "null", "value", "chance", "adjusted"]].values:
        values[name] = int(value) if name in COUNTS else value
        figures[name, null] = {"chance": chance, "adjusted": adjusted}
    return values, figures


def _consistency() -> dict[str, float]:
    values, beside = _read(layout.CONSISTENCY)
    out = {name: values[name] for name in ("coverage", "pairs", "calibrated_alpha")}
    for name in AGREEMENT:
        row = beside[name, "permuted_neurons"]
        out |= {name: values[name], f"{name}_null": row["chance"], f"{name}_adjusted": row["adjusted"]}
    out["replication_unassigned"] = beside["replication", "unassigned_pairs"]["chance"]
    out["attained_error"] = min(1.0, beside["pairs", "shuffled_labels"]["chance"] / max(values["pairs"], 1))
    others = {(null, name): row["chance"] for (name, null), row in beside.items() if name in ("jaccard", "replication")}
    return nest(out | {f"null.{null}.{name}": chance for (null, name), chance in others.items()})


def _evaluation() -> dict[str, float]:
    values, beside = _read(layout.EVALUATION)
    out = {name: v for name, v in values.items() if "_at_" not in name or name.endswith(GUESSES)}
    out |= {
        f"null.{null}.{name}": row["chance"] for (name, null), row in beside.items() if null and name in BESIDE_CHANCE
    }
    out |= {
        f"adjusted.{name}": row["adjusted"]
        for (name, null), row in beside.items()
        if null == "most_common" and name in BESIDE_CHANCE
    }
    return nest(out)


def _beyond() -> dict[str, float]:
    out: dict[str, float] = {}
    for folder in (layout.TRIGGERS, layout.RELATIONS, layout.DEPTH, layout.REPLICATION, layout.ABLATION):
        values, beside = _read(folder)
        own = {name: null for name, null in BEYOND.items() if name in values}
        out |= {name: values[name] for name in own}
        out |= {f"null.{null}.{name}": beside[name, null]["chance"] for name, null in own.items() if null}
    if (chance := out.get("null.unassigned_pairs.transfer.replication")) is not None:
        out["transfer.chance"] = chance
    return nest(out)


def main() -> None:
    write_metrics(layout.METRICS / "consistency.json", _consistency())
    write_metrics(layout.METRICS / "evaluation.json", _evaluation())
    write_metrics(layout.METRICS / "beyond.json", _beyond())


if __name__ == "__main__":
    run_stage(main)
