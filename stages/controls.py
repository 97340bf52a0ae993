"""controls: the activations of models that should know less than the target."""

from descry.activations.record import write_activations
from descry.models.controls import ControlLoader
from descry.results import layout
from descry.settings.neurons import Controls, Extract
from descry.settings.runtime import Runtime, Sharding
from descry.splits import SPLITS
from stages.harness.stage import read_settings, run_stage
from stages.shared.passes import Passes, sentences_path


def main() -> None:
    chosen, settings = read_settings(Controls), read_settings(Extract)
    passes = Passes(settings, read_settings(Runtime), read_settings(Sharding))
    layout.CONTROLS.mkdir(parents=True, exist_ok=True)
    with passes.kept("controls", list(map(sentences_path, SPLITS)), chosen) as folder:
        texts = passes.sample("calibration", chosen.sample, "controls")
        for kind in chosen.kinds:
            source = ControlLoader(passes.target(), kind, texts, chosen.seed)
            for split in SPLITS:
                checkpoint = folder / f"{kind}-{split}.safetensors"
                [activations] = passes.over(
                    sentences_path(split), source, [settings.pooling], checkpoint, f"{kind} {split}"
                )
                write_activations(layout.CONTROLS / kind / f"{split}.safetensors", activations)


if __name__ == "__main__":
    run_stage(main)
