"""neighbours: the neurons that fire on the same sentences as each neuron."""

from descry.activations.neighbours import find_neighbours
from descry.results import layout
from descry.schemas.neighbours import NEIGHBOUR_ARRAYS
from descry.settings.neurons import Neighbours
from descry.storage.arrays import write_arrays
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair


def main() -> None:
    settings = read_settings(Neighbours)
    active = read_activation_pair(layout.ACTIVATIONS, probe=False)
    sets = active.map(lambda split: split.exemplars(settings.exemplars))
    neighbours = find_neighbours(sets.calibration, sets.validation, settings.nearest)
    write_arrays(layout.NEIGHBOURS, vars(neighbours), NEIGHBOUR_ARRAYS, {})


if __name__ == "__main__":
    run_stage(main)
