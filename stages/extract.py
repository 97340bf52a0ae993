"""extract: one pass of the target over a split: exemplars, moments and the probe of every unit."""

import sys

from descry.activations.firing import count_firing
from descry.activations.record import write_activations
from descry.models.reconstruction import check_dictionaries
from descry.results import layout
from descry.settings.neurons import Extract
from descry.settings.runtime import Runtime, Sharding
from descry.storage.files import write_json
from stages.harness.stage import read_settings, run_stage
from stages.shared.passes import Passes, sentences_path

SAMPLE = 400
"""Sentences on which the reconstruction of a dictionary is measured."""


def _measure_reconstruction(passes: Passes, split: str) -> dict[int, float]:
    """The share of the variance that each layer's dictionary explains; empty for neurons."""
    target, texts = passes.target().load(), passes.sample(split, SAMPLE, "dictionaries")
    return check_dictionaries(target, texts, passes.runtime.batch_tokens)


def main() -> None:
    split = sys.argv[1]
    table = sentences_path(split)
    settings = read_settings(Extract)
    passes = Passes(settings, read_settings(Runtime), read_settings(Sharding))
    explained = _measure_reconstruction(passes, split) if settings.units == "dictionary" else {}
    with passes.keep(f"extract-{split}", [table]) as folder:
        checkpoint = folder / "kept.safetensors"
        first, *others = passes.over(table, passes.target(), settings.poolings, checkpoint, f"extract {split}")
        write_activations(layout.ACTIVATIONS / f"{split}.safetensors", first)
        place = layout.POOLINGS / split
        place.mkdir(parents=True, exist_ok=True)
        for activations in others:
            write_activations(place / f"{activations.pooling}.safetensors", activations)
        write_json(layout.UNITS / f"{split}.json", count_firing(first) | {"explained_variance": explained})
    layers = len(set(first.layer.tolist()))
    read = f"{len(first.layer):,} units of {layers} layers over {first.count:,} sentences: {first.units}"
    print(f"{split}: {read}{passes.describe_cut(table)}")


if __name__ == "__main__":
    run_stage(main)
