"""controls: the activations of models that should know less than the target."""

from descry import artifacts
from descry.controls import ControlSource
from descry.settings import Controls, Extract, Runtime, Sharding
from stages import _passes, _stage


def main() -> None:
    chosen, settings = _stage.settings(Controls), _stage.settings(Extract)
    passes = _passes.Passes(settings, _stage.settings(Runtime), _stage.settings(Sharding))
    _stage.CONTROLS.mkdir(parents=True, exist_ok=True)
    with passes.kept("controls", list(map(_passes.sentences, _stage.SPLITS)), chosen) as folder:
        texts = passes.sample("calibration", chosen.sample, "controls")
        for kind in chosen.kinds:
            source = ControlSource(passes.target(), kind, texts, chosen.seed)
            for split in _stage.SPLITS:
                checkpoint = folder / f"{kind}-{split}.safetensors"
                [activations] = passes.over(
                    _passes.sentences(split), source, [settings.pooling], checkpoint, f"{kind} {split}"
                )
                artifacts.write_activations(_stage.CONTROLS / kind / f"{split}.safetensors", activations)


if __name__ == "__main__":
    _stage.run(main)
