"""ablate: every descriptor's neurons switched off, beside as many random ones of the same layers."""

from __future__ import annotations

import numpy as np

from descry.ablation import words as word_losses
from descry.ablation.effects import LinearProbe
from descry.ablation.study import AblationStudy, Learned, Sample, Words, measure_ablation
from descry.activations.record import Activations
from descry.assignment import assign, gather_evidence
from descry.evaluation.chance import tabulate_measures
from descry.models.target import Target
from descry.results import layout
from descry.schemas.ablate import ABLATION_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.measuring import Ablate
from descry.settings.neurons import Assign, Extract
from descry.settings.runtime import Runtime
from descry.splits import Pair
from descry.storage.files import read_json
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_both, read_labels, read_review_ids, to_rule
from stages.shared.passes import target_loader


def _probed(active: Pair[Activations]) -> Pair[list[str]]:
    """The texts of the sentences in either probe."""

    def texts(split: str) -> list[str]:
        table = read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)
        return [table["text"].iloc[row] for row in getattr(active, split).probe_rows]

    return read_both(texts)


def _words(target: Target, texts: list[str], review: np.ndarray, settings: Ablate, runtime: Runtime) -> Words | None:
    """Where the target predicts descriptors' words; None where it predicts none."""
    folder = layout.MODELS / "target"
    how = word_losses.find_head(folder)
    if how is None:
        print("the target's weights have no head that predicts words: log-probabilities are left out")
        return None
    described = [[entry["name"], *entry["members"]] for entry in read_json(layout.DESCRIPTORS)["descriptors"]]
    model = word_losses.load_with_head(target, folder, runtime.dtype, how)
    found = word_losses.find_occurrences(model, how, texts, list(word_losses.select_phrases(described)), settings.words)
    before = word_losses.measure_log_probabilities(model, found, batch_tokens=runtime.batch_tokens)
    return Words(model, found, before, review[[place.text for place in found]])


def main() -> None:
    settings, rule = read_settings(Ablate), to_rule(read_settings(Assign))
    extract, runtime = read_settings(Extract), read_settings(Runtime)
    table, figures = None, None
    if settings.enabled:
        active = read_activation_pair(layout.ACTIVATIONS)
        labels, _, names = read_labels("first")
        texts, target = _probed(active), target_loader(extract, runtime).load()
        found = assign(gather_evidence(active.calibration.exemplars(rule.exemplars), labels.calibration), rule)
        heard = active.validation.probe_rows
        order = np.random.default_rng(settings.seed).permutation(len(heard))
        reviews = [read_review_ids().validation[row] for row in heard]
        sample = Sample.of(order, labels.validation[heard], reviews, settings.sentences, settings.positives)
        shown = [texts.validation[row] for row in sample.rows]
        learned = Learned.of(target, texts.calibration, extract.pooling, runtime.batch_tokens)
        study = AblationStudy(
            target=target,
            values=learned.means if settings.value == "mean" else np.zeros_like(learned.means),
            found=found,
            layer=active.calibration.layer,
            probe=LinearProbe.of(learned.vectors, labels.calibration[active.calibration.probe_rows]),
            sample=sample,
            texts=shown,
            words=_words(target, shown, sample.review, settings, runtime),
            pooling=extract.pooling,
            batch_tokens=runtime.batch_tokens,
        )
        table = study.table(
            names, neurons=settings.neurons, draws=settings.draws, seed=settings.seed, progress="ablate"
        )
        figures = tabulate_measures(*measure_ablation(table, seed=settings.seed))
    write_table(layout.ABLATION / "descriptors.parquet", table, ABLATION_TABLE)
    write_table(layout.ABLATION / "measures.parquet", figures, MEASURE_TABLE)


if __name__ == "__main__":
    run_stage(main)
