"""triggers: which words drive every neuron on its strongest sentences, and whether they tell where it fires."""

import numpy as np
import pandas as pd

from descry.activations.token_words import TokenReadings, WordForms, build_word_presence, find_word_forms
from descry.analyses.trigger_measures import WordChecker, measure_triggers, tabulate_triggers
from descry.analyses.triggers import NeuronTriggers, WordRule
from descry.evaluation.chance import Draws, tabulate_measures
from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.schemas.tokens import TOKEN_ARRAYS
from descry.schemas.triggers import TRIGGER_TABLE
from descry.settings.measuring import Triggers
from descry.settings.neurons import Assign
from descry.storage.arrays import read_arrays
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_both, to_rule


def _read(split: str) -> tuple[TokenReadings, WordForms, list[str]]:
    """The strongest sentences of a split token by token, the word forms of the tokens, and all texts."""
    arrays, _ = read_arrays(layout.TOKENS / f"{split}.safetensors", TOKEN_ARRAYS)
    read = TokenReadings(on_tokens=arrays.pop("values"), **arrays)
    texts = read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)["text"].tolist()
    return read, find_word_forms([texts[row] for row in read.rows], read.lengths, read.stop), texts


def _described(rule: str, layer: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The neurons that have a descriptor, the lowest p of their first one first, and the correlation of that one."""
    assigned = read_table(layout.ASSIGNMENTS / "calibration.parquet", ASSIGNMENT_TABLE)
    first = assigned[assigned[f"{rule}_rank"] == 1].sort_values("p", kind="stable")
    first = first.merge(read_table(layout.ASSOCIATIONS, ASSOCIATION_TABLE), on=["layer", "index", "descriptor"])
    place = pd.MultiIndex.from_arrays([layer, index])
    return place.get_indexer(pd.MultiIndex.from_frame(first[["layer", "index"]])), first["pearson"].to_numpy()


def main() -> None:
    settings, rule = read_settings(Triggers), to_rule(read_settings(Assign))
    found, figures = None, None
    if settings.enabled:
        active = read_activation_pair(layout.ACTIVATIONS)
        mean, heard = active.calibration.mean, active.validation
        read = read_both(_read)
        words = WordRule(settings.words, settings.share)
        driven = read.map(lambda split: NeuronTriggers.of(*split[:2], mean, words))
        judge = WordChecker(build_word_presence(read.validation[2], driven.calibration.names), heard, rule.exemplars)
        found = tabulate_triggers(driven, judge)
        own = (*read.calibration[:2], mean)
        described = _described(rule.name, heard.layer, heard.index)
        draws = Draws(settings.repeats, settings.seed)
        told = measure_triggers(driven, own, judge, described, strongest=settings.strongest, rule=words, draws=draws)
        figures = tabulate_measures(*told)
    write_table(layout.TRIGGERS / "neurons.parquet", found, TRIGGER_TABLE)
    write_table(layout.TRIGGERS / "measures.parquet", figures, MEASURE_TABLE)


if __name__ == "__main__":
    run_stage(main)
