"""neighbours: the neurons that fire on the same sentences as each neuron."""

from descry import artifacts
from descry.neighbours import neighbours
from descry.settings import Neighbours
from stages import _inputs, _stage


def main() -> None:
    chosen = _stage.settings(Neighbours)
    active = _inputs.activations(_stage.ACTIVATIONS, probe=False)
    sets = active.map(lambda split: split.exemplars(chosen.exemplars))
    found = neighbours(sets.calibration, sets.validation, chosen.nearest)
    sizes = active.map(lambda split: split.count)
    meta = {"exemplars": sets.calibration.shape[1], "sentences": [sizes.calibration, sizes.validation]}
    artifacts.write_arrays(_stage.NEIGHBOURS, vars(found), "neighbours", meta)


if __name__ == "__main__":
    _stage.run(main)
