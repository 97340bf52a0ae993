"""assign: assign descriptors to every neuron of a split, under both rules, with their statistics."""

import sys

from descry.activations.record import read_activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import RULES, assign_by, tabulate_assignments
from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.label import LABEL_ARRAYS
from descry.settings.neurons import Assign
from descry.storage.arrays import read_arrays
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.checks import check_exemplars
from stages.shared.inputs import to_rule


def main() -> None:
    split = sys.argv[1]
    rule = to_rule(read_settings(Assign))
    activations = read_activations(layout.ACTIVATIONS / f"{split}.safetensors", probe=False)
    labels, named = read_arrays(layout.LABELS / "first" / f"{split}.safetensors", LABEL_ARRAYS)
    check_exemplars(activations, rule.exemplars, split)
    evidence = gather_evidence(activations.exemplars(rule.exemplars), labels["labels"])
    findings = assign_by(RULES, evidence, rule)
    pairs = tabulate_assignments(findings, activations.layer, activations.index, named["descriptors"])
    write_table(layout.ASSIGNMENTS / f"{split}.parquet", pairs, ASSIGNMENT_TABLE)
    print(f"{split}: {int(findings[rule.name].described.sum())} of {len(activations.layer)} neurons described")


if __name__ == "__main__":
    run_stage(main)
