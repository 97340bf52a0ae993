"""controls: the activations of other units, beside which those of the target are measured."""

from descry.activations.record import write_activations
from descry.models.controls import ControlLoader
from descry.results import layout
from descry.settings.neurons import Controls, Extract
from descry.settings.runtime import Runtime, Sharding
from descry.splits import SPLITS
from stages.harness.stage import read_settings, run_stage
from stages.shared.passes import Passes, sentences_path


def main() -> None:
    controls, extract = read_settings(Controls), read_settings(Extract)
    passes = Passes(extract, read_settings(Runtime), read_settings(Sharding))
    layout.CONTROLS.mkdir(parents=True, exist_ok=True)
    with passes.keep("controls", list(map(sentences_path, SPLITS)), controls) as folder:
        texts = passes.sample("calibration", controls.sample, "controls")
        for kind in controls.kinds:
            if kind == "target_neurons" and extract.units == "neurons":
                continue
            loader = ControlLoader(passes.target(), kind, texts, controls.seed)
            for split in SPLITS:
                checkpoint = folder / f"{kind}-{split}.safetensors"
                [activations] = passes.over(
                    sentences_path(split), loader, [extract.pooling], checkpoint, f"{kind} {split}"
                )
                write_activations(layout.CONTROLS / kind / f"{split}.safetensors", activations)


if __name__ == "__main__":
    run_stage(main)
