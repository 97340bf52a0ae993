"""triggers: which words drive every neuron on its strongest sentences, and whether they predict where it fires."""

from descry.activations.token_words import build_word_presence
from descry.analyses.trigger_measures import WordChecker, measure_triggers, tabulate_triggers
from descry.analyses.triggers import NeuronTriggers, WordRule
from descry.evaluation.chance import Draws, tabulate_measures
from descry.results import layout
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.triggers import TRIGGER_TABLE
from descry.settings.measuring import Triggers
from descry.settings.neurons import Assign
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_both, to_rule
from stages.shared.readings import read_described, read_tokens


def main() -> None:
    settings, rule = read_settings(Triggers), to_rule(read_settings(Assign))
    table, figures = None, None
    if settings.enabled:
        active, read = read_activation_pair(layout.ACTIVATIONS), read_both(read_tokens)
        mean, validation = active.calibration.mean, active.validation
        words = WordRule(settings.words, settings.share)
        triggers = read.map(lambda split: NeuronTriggers.of(*split[:2], mean, words))
        presence = build_word_presence(read.validation[2], triggers.calibration.names)
        checker = WordChecker(presence, validation, rule.exemplars)
        table = tabulate_triggers(triggers, checker)
        measures = measure_triggers(
            triggers,
            (*read.calibration[:2], mean),
            checker,
            read_described(rule.name, validation.layer, validation.index),
            strongest=settings.strongest,
            rule=words,
            draws=Draws(settings.repeats, settings.seed),
        )
        figures = tabulate_measures(*measures)
    write_table(layout.TRIGGERS / "neurons.parquet", table, TRIGGER_TABLE)
    write_table(layout.TRIGGERS / "measures.parquet", figures, MEASURE_TABLE)


if __name__ == "__main__":
    run_stage(main)
