"""extract: one pass of the target over a split: exemplars, moments and the probe of every neuron."""

import sys

from descry.activations.record import write_activations
from descry.results import layout
from descry.settings.neurons import Extract
from descry.settings.runtime import Runtime, Sharding
from stages.harness.stage import read_settings, run_stage
from stages.shared.passes import Passes, sentences_path


def main() -> None:
    split = sys.argv[1]
    table = sentences_path(split)
    settings = read_settings(Extract)
    passes = Passes(settings, read_settings(Runtime), read_settings(Sharding))
    with passes.keep(f"extract-{split}", [table]) as folder:
        checkpoint = folder / "kept.safetensors"
        first, *others = passes.over(table, passes.target(), settings.poolings, checkpoint, f"extract {split}")
        write_activations(layout.ACTIVATIONS / f"{split}.safetensors", first)
        place = layout.POOLINGS / split
        place.mkdir(parents=True, exist_ok=True)
        for activations in others:
            write_activations(place / f"{activations.pooling}.safetensors", activations)
    layers = len(set(first.layer.tolist()))
    read = f"{len(first.layer):,} neurons of {layers} layers over {first.count:,} sentences: {first.units}"
    print(f"{split}: {read}{passes.describe_cut(table)}")


if __name__ == "__main__":
    run_stage(main)
