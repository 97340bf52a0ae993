"""resplit: the measures on other splits of the same sentences, to see how much of them is the split's luck."""

from descry.evaluation.chance import Draws
from descry.evaluation.resplit import measure_resplits
from descry.results import layout
from descry.schemas.resplit import RESPLIT_TABLE
from descry.settings.measuring import Resplit
from descry.settings.neurons import Assign
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.evaluation import read_evaluation
from stages.shared.inputs import to_rule


def main() -> None:
    rule, settings = to_rule(read_settings(Assign)), read_settings(Resplit)
    table = None
    if settings.splits:
        table = measure_resplits(read_evaluation(), rule, Draws(settings.splits, settings.seed))
    write_table(layout.RESPLITS, table, RESPLIT_TABLE)


if __name__ == "__main__":
    run_stage(main)
