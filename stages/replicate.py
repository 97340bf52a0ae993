"""replicate: what calibration found, tried on the other corpus."""

from descry import artifacts
from descry.artifacts import Activations
from descry.assignment import assign, gather
from descry.nulls import beside
from descry.settings import Assign, Transfer
from descry.transfer import Corpus, Tried, descriptor_table, measures, pair_table, references
from stages import _checks, _inputs, _stage


def _corpus() -> Corpus | None:
    """The other corpus; None where there is none."""
    sentences = artifacts.read_table(_stage.TRANSFER / "sentences.parquet", "sentences")
    if sentences.empty:
        return None
    labels, _ = artifacts.read_arrays(_stage.TRANSFER / "labels.safetensors", "labels")
    return Corpus(
        active=artifacts.read_activations(_stage.TRANSFER / "activations.safetensors"),
        labels=labels["labels"],
        scores=_inputs.known_scores(labels),
        reviews=sentences["review_id"].tolist(),
        gold=artifacts.read_table(_stage.TRANSFER / "gold.parquet", "gold")["aspects"].tolist(),
    )


def main() -> None:
    settings, chosen = _stage.settings(Transfer), _stage.settings(Assign)
    found = dict.fromkeys(("descriptors", "pairs", "measures"))
    corpus = _corpus()
    if corpus is not None:
        active: Activations = artifacts.read_activations(_stage.ACTIVATIONS / "calibration.safetensors")
        labels, scores, names = _inputs.labels("first")
        gold = artifacts.read_table(_stage.GOLD / "calibration.parquet", "gold")["aspects"].tolist()
        _checks.enough_sentences(corpus.active, chosen.exemplars, "the other corpus")
        findings = assign(
            gather(active.exemplars(chosen.exemplars), labels.calibration), **chosen.model_dump(exclude={"exemplars"})
        )
        tried = Tried.of(findings, corpus, chosen.exemplars)
        known = references(corpus, gold, scores.calibration)
        options = {"repeats": settings.repeats, "seed": settings.seed}
        found["descriptors"] = descriptor_table(names, tried, findings.evidence.prevalence)
        found["pairs"] = pair_table(names, tried, active)
        found["measures"] = beside(*measures(tried, corpus, active, findings, known, **options))
    kinds = {"descriptors": "transfer", "pairs": "transfer_pairs", "measures": "measures"}
    for name, table in found.items():
        artifacts.write_table(_stage.REPLICATION / f"{name}.parquet", table, kinds[name])


if __name__ == "__main__":
    _stage.run(main)
