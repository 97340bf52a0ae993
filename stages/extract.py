"""extract: one pass of the target over a split; exemplars, moments and the probe of every neuron."""

import sys

from descry import artifacts
from descry.activations import Reader, gathered
from descry.settings import Extract, Runtime, Sharding
from stages import _corpus, _shards, _stage

TARGET = (_stage.MODELS / "target").absolute()


def main() -> None:
    split = sys.argv[1]
    settings, runtime, sharding = _stage.settings(Extract), _stage.settings(Runtime), _stage.settings(Sharding)
    corpus = _corpus.Corpus(split, sharding.shard)
    probe_rows = corpus.sample(settings.probe, key=split)
    options = {
        "poolings": (settings.pooling, *settings.also),
        "top_k": settings.top_k,
        "batch_tokens": runtime.batch_tokens,
    }
    reader = Reader(TARGET, runtime.device, runtime.dtype, tuple(options.items()))
    given = [settings, runtime], [corpus.path, TARGET / "manifest.json"]
    with _shards.kept(f"extract-{split}", *given, shard=sharding.shard) as folder:
        main_one, *others = gathered(
            _shards.engine(sharding),
            reader,
            corpus.shards(probe_rows),
            probe_rows,
            artifacts.table_rows(corpus.path),
            checkpoint=folder / "kept.safetensors",
            progress=f"extract {split}",
        )
        artifacts.write_activations(_stage.ACTIVATIONS / f"{split}.safetensors", main_one)
        poolings = _stage.POOLINGS / split
        poolings.mkdir(parents=True, exist_ok=True)
        for activations in others:
            artifacts.write_activations(poolings / f"{activations.pooling}.safetensors", activations)


if __name__ == "__main__":
    _stage.run(main)
