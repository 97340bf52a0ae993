"""assign: the descriptors of every neuron of a split, under both rules, with their figures."""

import sys

from descry import artifacts
from descry.assignment import Rule, assign_by, gather, table
from descry.settings import Assign
from stages import _checks, _stage

RULES: tuple[Rule, ...] = ("enrichment", "composition")


def main() -> None:
    split = sys.argv[1]
    settings = _stage.settings(Assign)
    activations = artifacts.read_activations(_stage.ACTIVATIONS / f"{split}.safetensors", probe=False)
    labels, named = artifacts.read_arrays(_stage.LABELS / "first" / f"{split}.safetensors", "labels")
    _checks.enough_sentences(activations, settings.exemplars, split)
    evidence = gather(activations.exemplars(settings.exemplars), labels["labels"])
    findings = assign_by(RULES, evidence, **settings.model_dump(exclude={"rule", "exemplars"}))
    pairs = table(findings, activations.layer, activations.index, named["descriptors"])
    artifacts.write_table(_stage.ASSIGNMENTS / f"{split}.parquet", pairs, "assignments")
    print(f"{split}: {int(findings[settings.rule].described.sum())} of {len(activations.layer)} neurons described")


if __name__ == "__main__":
    _stage.run(main)
