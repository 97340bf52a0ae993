"""depth: in which layers each descriptor is found, compared with shuffled layers."""

from descry.analyses import depth
from descry.assignment.rules import assign_splits
from descry.evaluation.chance import Draws, tabulate_measures
from descry.results import layout
from descry.schemas.depth import DEPTH_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.settings.measuring import Depth
from descry.settings.neurons import Assign
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_labels, to_rule


def main() -> None:
    settings, rule = read_settings(Depth), to_rule(read_settings(Assign))
    table, figures = None, None
    if settings.enabled:
        active = read_activation_pair(layout.ACTIVATIONS, probe=False)
        labels, _, names = read_labels("first")
        sets = active.map(lambda split: split.exemplars(rule.exemplars))
        findings = assign_splits(sets, labels, rule)
        layer, assigned = active.calibration.layer, findings.map(lambda split: split.assigned)
        table = depth.tabulate_depth(names, layer, assigned)
        figures = tabulate_measures(*depth.measure_depth(layer, assigned, Draws(settings.repeats, settings.seed)))
    write_table(layout.DEPTH / "descriptors.parquet", table, DEPTH_TABLE)
    write_table(layout.DEPTH / "measures.parquet", figures, MEASURE_TABLE)


if __name__ == "__main__":
    run_stage(main)
