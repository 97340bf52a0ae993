"""ablate: switch off every descriptor's neurons, and as many random neurons of the same layers for comparison."""

import numpy as np

from descry.ablation.effects import LinearProbe
from descry.ablation.study import AblationStudy, Learned, Sample, measure_ablation
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import assign
from descry.evaluation.chance import tabulate_measures
from descry.results import layout
from descry.schemas.ablate import ABLATION_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.settings.measuring import Ablate
from descry.settings.neurons import Assign, Extract
from descry.settings.runtime import Runtime
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.ablation import find_words, read_probe_texts
from stages.shared.inputs import read_activation_pair, read_labels, read_review_ids, to_rule
from stages.shared.passes import target_loader


def main() -> None:
    settings, rule = read_settings(Ablate), to_rule(read_settings(Assign))
    extract, runtime = read_settings(Extract), read_settings(Runtime)
    table, figures = None, None
    if settings.enabled:
        active = read_activation_pair(layout.ACTIVATIONS)
        labels, _, names = read_labels("first")
        texts, target = read_probe_texts(active), target_loader(extract, runtime).load()
        rows, reviews = active.validation.probe_rows, read_review_ids().validation
        order = np.random.default_rng(settings.seed).permutation(len(rows))
        of_rows = [reviews[row] for row in rows]
        sample = Sample.of(order, labels.validation[rows], of_rows, settings.sentences, settings.positives)
        sampled = [texts.validation[row] for row in sample.rows]
        learned = Learned.of(target, texts.calibration, extract.pooling, runtime.batch_tokens)
        study = AblationStudy(
            target=target,
            values=learned.means if settings.value == "mean" else np.zeros_like(learned.means),
            found=assign(gather_evidence(active.calibration.exemplars(rule.exemplars), labels.calibration), rule),
            layer=active.calibration.layer,
            probe=LinearProbe.of(learned.vectors, labels.calibration[active.calibration.probe_rows]),
            sample=sample,
            texts=sampled,
            words=find_words(target, sampled, sample.review, settings.words, runtime),
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
