"""extract: one pass of the target over a split; exemplars, moments and the probe of every neuron."""

import sys

from descry import artifacts
from descry.activations import Target, extract_each, probe_sample
from descry.settings import Extract, Runtime
from stages import _stage


def main() -> None:
    split = sys.argv[1]
    settings, runtime = _stage.settings(Extract), _stage.settings(Runtime)
    sentences = artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences")
    target = Target(_stage.MODELS / "target", device=runtime.device, dtype=runtime.dtype, **settings.neurons)
    main_one, *others = extract_each(
        target,
        sentences["text"].tolist(),
        probe_sample(sentences["sentence_id"].tolist(), settings.probe, key=split),
        poolings=[settings.pooling, *settings.also],
        top_k=settings.top_k,
        batch_tokens=runtime.batch_tokens,
        progress=f"extract {split}",
    )
    artifacts.write_activations(_stage.ACTIVATIONS / f"{split}.safetensors", main_one)
    folder = _stage.POOLINGS / split
    folder.mkdir(parents=True, exist_ok=True)
    for activations in others:
        artifacts.write_activations(folder / f"{activations.pooling}.safetensors", activations)


if __name__ == "__main__":
    _stage.run(main)
