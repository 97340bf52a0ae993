"""controls: the activations of models that should know less than the target."""

from descry import artifacts
from descry.activations import Target, extract, probe_sample
from descry.controls import CONTROLS
from descry.settings import Controls, Extract, Runtime
from stages import _stage


def main() -> None:
    chosen, settings, runtime = _stage.settings(Controls), _stage.settings(Extract), _stage.settings(Runtime)
    sentences = {
        split: artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences") for split in _stage.SPLITS
    }
    ids, texts = (sentences["calibration"][column].tolist() for column in ("sentence_id", "text"))
    sample = [texts[row] for row in probe_sample(ids, chosen.sample, key="controls")]
    target = Target(_stage.MODELS / "target", device=runtime.device, dtype=runtime.dtype, **settings.neurons)
    _stage.CONTROLS.mkdir(parents=True, exist_ok=True)
    for kind in chosen.kinds:
        control = CONTROLS[kind](target, sample, chosen.seed)
        for split, table in sentences.items():
            activations = extract(
                control,
                table["text"].tolist(),
                probe_sample(table["sentence_id"].tolist(), settings.probe, key=split),
                pooling=settings.pooling,
                top_k=settings.top_k,
                batch_tokens=runtime.batch_tokens,
                progress=f"{kind} {split}",
            )
            artifacts.write_activations(_stage.CONTROLS / kind / f"{split}.safetensors", activations)


if __name__ == "__main__":
    _stage.run(main)
