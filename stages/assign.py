"""assign: the descriptors of every neuron of a split, under both rules, with their figures."""

import sys

from descry import artifacts
from descry.assignment import Rule, assign_by, gather, table
from descry.errors import InputError
from descry.settings import Assign
from stages import _stage

RULES: tuple[Rule, ...] = ("enrichment", "composition")


def main() -> None:
    split = sys.argv[1]
    settings = _stage.settings(Assign)
    activations = artifacts.read_activations(_stage.ACTIVATIONS / f"{split}.safetensors", probe=False)
    labels, named = artifacts.read_arrays(_stage.LABELS / "first" / f"{split}.safetensors", "labels")
    kept = activations.rows.shape[1]
    if settings.exemplars > kept:
        raise InputError(
            f"params.yaml: assign.exemplars is {settings.exemplars}, but {kept} sentences were kept for each "
            f"neuron of {split} (extract.top_k, or all there are); lower the one or raise the other"
        )
    if settings.exemplars == activations.count:
        raise InputError(
            f"params.yaml: assign.exemplars is {settings.exemplars}, all sentences of {split}: every neuron "
            "would have the same exemplars; lower it"
        )
    evidence = gather(activations.exemplars(settings.exemplars), labels["labels"])
    findings = assign_by(RULES, evidence, **settings.model_dump(exclude={"rule", "exemplars"}))
    pairs = table(findings, activations.layer, activations.index, named["descriptors"])
    artifacts.write_table(_stage.ASSIGNMENTS / f"{split}.parquet", pairs, "assignments")
    print(f"{split}: {int(findings[settings.rule].described.sum())} of {len(activations.layer)} neurons described")


if __name__ == "__main__":
    _stage.run(main)
