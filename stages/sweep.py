"""sweep: the measures against the threshold, the number of exemplars, the pooling and the layer."""

from descry.evaluation.gold import match_aspects
from descry.evaluation.measures import Reference
from descry.evaluation.sweeps import Sweeper, tabulate_sweeps
from descry.results import layout
from descry.schemas.sweep import SWEEP_TABLE
from descry.settings.measuring import Sweep
from descry.settings.neurons import Assign
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.gold import read_gold
from stages.shared.inputs import (
    list_controls,
    read_activation_pair,
    read_labels,
    read_poolings,
    read_review_ids,
    to_rule,
)


def main() -> None:
    rule, settings = to_rule(read_settings(Assign)), read_settings(Sweep)
    active = read_activation_pair(layout.ACTIVATIONS)
    labels, scores, _ = read_labels("first")
    aspects, gold = read_gold()
    probe = active.validation.probe_rows
    references = {"labels": Reference(labels.validation[probe])}
    if aspects:
        aspect_of = match_aspects(scores.calibration, gold.calibration)[1]
        references = {"gold": Reference(gold.validation[probe], aspect_of)}
    sweeper = Sweeper(labels, read_review_ids().calibration, references, rule, settings.ks, settings.seed)
    kept = min(len(split.rows[0]) for split in active)
    if left_out := [size for size in settings.exemplars if size > kept]:
        print(f"sweep.exemplars: {left_out} left out: only {kept} sentences were kept for each neuron")
    layers = {"target": active} | {name: read() for name, read in list_controls(probe=False).items()}
    table = tabulate_sweeps(
        {
            "threshold": sweeper.thresholds(active, settings.thresholds),
            "exemplars": sweeper.sizes(active, [size for size in settings.exemplars if size <= kept]),
            "pooling": sweeper.poolings([active, *read_poolings()]),
            "layer": sweeper.layers(layers),
        }
    )
    write_table(layout.SWEEPS, table, SWEEP_TABLE)


if __name__ == "__main__":
    run_stage(main)
