"""extract: one pass of the target over a split; exemplars, moments and the probe of every neuron."""

import sys

from descry import artifacts
from descry.settings import Extract, Runtime, Sharding
from stages import _passes, _stage


def main() -> None:
    split = sys.argv[1]
    table = _passes.sentences(split)
    settings = _stage.settings(Extract)
    passes = _passes.Passes(settings, _stage.settings(Runtime), _stage.settings(Sharding))
    with passes.kept(f"extract-{split}", [table]) as folder:
        checkpoint = folder / "kept.safetensors"
        poolings = [settings.pooling, *settings.also]
        main_one, *others = passes.over(table, passes.target(), poolings, checkpoint, f"extract {split}")
        artifacts.write_activations(_stage.ACTIVATIONS / f"{split}.safetensors", main_one)
        place = _stage.POOLINGS / split
        place.mkdir(parents=True, exist_ok=True)
        for activations in others:
            artifacts.write_activations(place / f"{activations.pooling}.safetensors", activations)
    layers = len(set(main_one.layer.tolist()))
    print(f"{split}: {len(main_one.layer):,} neurons of {layers} layers over {main_one.count:,} sentences")


if __name__ == "__main__":
    _stage.run(main)
