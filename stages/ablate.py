"""ablate: every descriptor's neurons switched off, beside as many random ones of the same layers."""

from __future__ import annotations

import numpy as np

from descry import artifacts, word_losses
from descry.ablation import represented, token_means
from descry.ablation_study import Sample, Study, Words, measures
from descry.artifacts import Activations
from descry.assignment import assign, gather
from descry.effects import Probe
from descry.evaluation import Pair
from descry.nulls import beside
from descry.settings import Ablate, Assign, Extract, Runtime
from descry.target import Target
from stages import _inputs, _passes, _stage


def _probed(active: Pair[Activations]) -> Pair[list[str]]:
    """The texts of the sentences in either probe."""

    def texts(split: str) -> list[str]:
        table = artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences")
        return [table["text"].iloc[row] for row in getattr(active, split).probe_rows]

    return _inputs.both(texts)


def _words(target: Target, texts: list[str], review: np.ndarray, settings: Ablate, runtime: Runtime) -> Words | None:
    """Where the target predicts descriptors' words; None where it predicts none."""
    folder = _stage.MODELS / "target"
    how = word_losses.kind(folder)
    if how is None:
        print("the target's weights have no head that predicts words: log-probabilities are left out")
        return None
    described = [[entry["name"], *entry["members"]] for entry in artifacts.read_json(_stage.DESCRIPTORS)["descriptors"]]
    model = word_losses.with_head(target, folder, runtime.dtype, how)
    found = word_losses.occurrences(model, how, texts, list(word_losses.phrases(described)), settings.words)
    before = word_losses.log_probabilities(model, found, batch_tokens=runtime.batch_tokens)
    return Words(model, found, before, review[[place.text for place in found]])


def main() -> None:
    settings, chosen = _stage.settings(Ablate), _stage.settings(Assign)
    extract, runtime = _stage.settings(Extract), _stage.settings(Runtime)
    table, figures = None, None
    if settings.enabled:
        active = _inputs.activations(_stage.ACTIVATIONS)
        labels, _, names = _inputs.labels("first")
        texts, target = _probed(active), _passes.target_source(extract, runtime).load()
        sets = active.calibration.exemplars(chosen.exemplars)
        found = assign(gather(sets, labels.calibration), **chosen.model_dump(exclude={"exemplars"}))
        means = token_means(target, texts.calibration, runtime.batch_tokens)
        pooling, batch_tokens = extract.pooling, runtime.batch_tokens
        learned = represented(target, texts.calibration, pooling=pooling, batch_tokens=batch_tokens)
        heard = active.validation.probe_rows
        order = np.random.default_rng(settings.seed).permutation(len(heard))
        reviews = [_inputs.reviews().validation[row] for row in heard]
        sample = Sample.of(order, labels.validation[heard], reviews, settings.sentences, settings.positives)
        shown = [texts.validation[row] for row in sample.rows]
        study = Study(
            target=target,
            values=means if settings.value == "mean" else np.zeros_like(means),
            found=found,
            layer=active.calibration.layer,
            probe=Probe.of(learned, labels.calibration[active.calibration.probe_rows]),
            sample=sample,
            texts=shown,
            words=_words(target, shown, sample.review, settings, runtime),
            pooling=pooling,
            batch_tokens=batch_tokens,
        )
        table = study.table(
            names, neurons=settings.neurons, draws=settings.draws, seed=settings.seed, progress="ablate"
        )
        figures = beside(*measures(table, seed=settings.seed))
    artifacts.write_table(_stage.ABLATION / "descriptors.parquet", table, "ablation")
    artifacts.write_table(_stage.ABLATION / "measures.parquet", figures, "measures")


if __name__ == "__main__":
    _stage.run(main)
