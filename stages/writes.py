"""writes: the tokens that every neuron promotes and suppresses, and whether its descriptors' words are among them."""

from pathlib import Path

import pandas as pd

from descry.analyses.writes import Vocabulary, measure_writing, read_written, score_pairs, tabulate_written
from descry.assignment.rules import locate_pairs
from descry.evaluation.chance import Draws, tabulate_measures
from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.writes import WRITES_TABLE, WRITTEN_PAIR_TABLE
from descry.settings.measuring import Writes
from descry.settings.neurons import Assign, Extract
from descry.settings.runtime import Runtime
from descry.storage.files import read_json
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.heads import load_unembedding
from stages.shared.passes import target_loader

SCHEMAS = {"neurons": WRITES_TABLE, "pairs": WRITTEN_PAIR_TABLE, "measures": MEASURE_TABLE}
ENDS = {"positive": layout.ASSIGNMENTS / "calibration.parquet", "negative": layout.ENDS / "assignments.parquet"}


def _read_assigned(path: Path, rule: str) -> pd.DataFrame:
    table = read_table(path, ASSIGNMENT_TABLE)
    return table.loc[table[f"{rule}_assigned"], ["layer", "index", "descriptor"]]


def main() -> None:
    settings, rule = read_settings(Writes), read_settings(Assign).rule
    extract, runtime = read_settings(Extract), read_settings(Runtime)
    tables = dict.fromkeys(SCHEMAS)
    loaded = load_unembedding(target_loader(extract, runtime)) if settings.enabled else None
    if loaded is not None:
        target, unembedding = loaded
        vocabulary, (layer, index) = Vocabulary.of(target.tokenizer), target.neurons
        described = read_json(layout.DESCRIPTORS)["descriptors"]
        words = [vocabulary.find_words([entry["name"], *entry["members"]]) for entry in described]
        written = read_written(target, unembedding, vocabulary, words, settings.tokens, progress="writes")
        named = {end: _read_assigned(path, rule) for end, path in ENDS.items()}
        names = [entry["name"] for entry in described]
        pairs = {end: locate_pairs(table, layer, index, names) for end, table in named.items()}
        scores = score_pairs(written.auroc, pairs)
        tables |= {
            "neurons": tabulate_written(written, vocabulary, layer, index),
            "pairs": pd.concat([named[end].assign(end=end, auroc=scores[end]) for end in ENDS]),
            "measures": tabulate_measures(
                *measure_writing(written.auroc, layer, pairs, Draws(settings.repeats, settings.seed))
            ),
        }
    for name, table in tables.items():
        write_table(layout.WRITES / f"{name}.parquet", table, SCHEMAS[name])


if __name__ == "__main__":
    run_stage(main)
