"""replicate: test the pairs assigned on calibration in the other corpus."""

from descry.activations.record import read_activations
from descry.analyses import transfer
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import assign
from descry.evaluation.chance import Draws, tabulate_measures
from descry.evaluation.voting import fit_electorate, measure_firing
from descry.results import layout
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.replicate import TRANSFER_PAIR_TABLE, TRANSFER_TABLE
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.settings.neurons import Assign
from descry.settings.text import Transfer
from descry.storage.arrays import read_arrays
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.checks import check_exemplars
from stages.shared.inputs import mask_missing, read_labels, read_review_ids, to_rule

SCHEMAS = {"descriptors": TRANSFER_TABLE, "pairs": TRANSFER_PAIR_TABLE, "measures": MEASURE_TABLE}


def _read_corpus() -> transfer.OtherCorpus | None:
    """Read the other corpus; None if the stage `transfer` is off."""
    sentences = read_table(layout.TRANSFER / "sentences.parquet", SENTENCE_TABLE)
    if sentences.empty:
        return None
    labels, _ = read_arrays(layout.TRANSFER / "labels.safetensors", LABEL_ARRAYS)
    active = read_activations(layout.TRANSFER / "activations.safetensors")
    gold = read_table(layout.TRANSFER / "gold.parquet", GOLD_TABLE)["aspects"].tolist()
    reviews = sentences["review_id"].tolist()
    return transfer.OtherCorpus(active, labels["labels"], mask_missing(labels), reviews, gold)


def main() -> None:
    settings, rule = read_settings(Transfer), to_rule(read_settings(Assign))
    tables = dict.fromkeys(SCHEMAS)
    corpus = _read_corpus()
    if corpus is not None:
        active = read_activations(layout.ACTIVATIONS / "calibration.safetensors")
        labels, scores, names = read_labels("first")
        gold = read_table(layout.GOLD / "calibration.parquet", GOLD_TABLE)["aspects"].tolist()
        check_exemplars(corpus.active, rule.exemplars, "the other corpus")
        findings = assign(gather_evidence(active.exemplars(rule.exemplars), labels.calibration), rule)
        tried = transfer.TriedPairs.of(findings, corpus, rule.exemplars)
        references = transfer.find_references(corpus, gold, scores.calibration)
        draws = Draws(settings.repeats, settings.seed)
        electorate = fit_electorate(active, findings, labels.calibration, read_review_ids().calibration)
        voted = electorate.probabilities(measure_firing(corpus.active, active))
        measures = tabulate_measures(*transfer.measure_transfer(tried, corpus, voted, findings, references, draws))
        prevalence = findings.evidence.prevalence
        tables["descriptors"] = transfer.tabulate_descriptors(names, tried, prevalence)
        tables |= {"pairs": transfer.tabulate_pairs(names, tried, active), "measures": measures}
    for name, table in tables.items():
        write_table(layout.REPLICATION / f"{name}.parquet", table, SCHEMAS[name])


if __name__ == "__main__":
    run_stage(main)
