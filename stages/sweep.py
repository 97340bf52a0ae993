"""sweep: the measures against the threshold, the number of exemplars, the pooling and the layer."""

from descry import artifacts
from descry.evaluation import Reference
from descry.gold import match
from descry.settings import Assign, Sweep
from descry.sweeps import Sweeper, table
from stages import _inputs, _stage


def main() -> None:
    chosen, settings = _stage.settings(Assign), _stage.settings(Sweep)
    active = _inputs.activations(_stage.ACTIVATIONS)
    labels, scores, _ = _inputs.labels("first")
    aspects, gold = _inputs.gold()
    probe = active.validation.probe_rows
    references = {"labels": Reference(labels.validation[probe])}
    if aspects:
        aspect_of = match(scores.calibration, gold.calibration)[1]
        references = {"gold": Reference(gold.validation[probe], aspect_of)}
    sweeper = Sweeper(
        labels,
        references,
        chosen.model_dump(exclude={"rule", "exemplars"}),
        chosen.exemplars,
        settings.ks,
        settings.seed,
    )
    kept = min(len(split.rows[0]) for split in vars(active).values())
    if left_out := [size for size in settings.exemplars if size > kept]:
        print(f"sweep.exemplars: {left_out} left out, since {kept} sentences were kept for each neuron")
    whose = {"target": active} | {name: read() for name, read in _inputs.controls(probe=False).items()}
    found = table(
        {
            "threshold": sweeper.thresholds(active, settings.thresholds),
            "exemplars": sweeper.sizes(active, [size for size in settings.exemplars if size <= kept]),
            "pooling": sweeper.poolings([active, *_inputs.poolings()]),
            "layer": sweeper.layers(whose),
        }
    )
    artifacts.write_table(_stage.SWEEPS, found, "sweeps")


if __name__ == "__main__":
    _stage.run(main)
