"""The registry of measures: what each is called, what chance is for it, and where it is shown.

A new measure is one entry here: the tables of README and docs/, `make`'s summary, `descry compare`, the metrics, the
page and their tests take it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Measure:
    """A measure, or a family of measures.

    name: dotted; in a family, `*` stands for any text. title: plain words, "" for a family. chance: the null that is
    chance for it, "" where there is none (counts and settings). headline: whether summaries show it. column: its name
    in DVC's table, "" where it is not in it. counts: whether it counts something.
    """

    name: str
    title: str = ""
    chance: str = ""
    headline: bool = False
    column: str = ""
    counts: bool = False


def _list_judged(whose: str) -> tuple[Measure, ...]:
    """The measures of descriptions in free text. whose: `given` in a file, or `written` by a language model."""
    title, swapped = f"Descriptions {whose}", "swapped_descriptions"
    column = f"{whose}_auroc"
    return (
        Measure(f"judge.{whose}.auroc", f"{title}: AUROC of fit and firing", swapped, headline=True, column=column),
        Measure(f"judge.{whose}.average_precision", f"{title}: average precision of fit and firing", swapped),
        Measure(f"judge.{whose}.correlation", f"{title}: correlation of fit and activation", swapped),
        Measure(f"judge.{whose}.detection", f"{title}: detection (balanced accuracy)", swapped),
        Measure(f"judge.{whose}.first_of_100", f"{title}: first among 100 of the layer", swapped),
        Measure(f"judge.{whose}.true_swapped_correlation", f"{title}: correlation of own and swapped AUROC"),
        Measure(f"judge.{whose}.units", f"{title}: neurons judged", counts=True),
    )


MEASURES = (
    Measure(
        "sentence.gold.precision_at_1",
        "Sentences: the first aspect that the neurons name is right",
        "most_common",
        headline=True,
        column="precision_at_1",
    ),
    Measure("sentence.gold.precision_at_2", "Sentences: aspects right among two guesses", "most_common"),
    Measure(
        "sentence.gold.recall_at_2",
        "Sentences: gold aspects found with two guesses",
        "most_common",
        headline=True,
        column="recall_at_2",
    ),
    Measure(
        "sentence.labels.precision_at_1",
        "Sentences: the first descriptor named is among the labels",
        "most_common",
        column="precision_at_1",
    ),
    Measure(
        "sentence.labels.recall_at_2",
        "Sentences: labels found with two guesses",
        "most_common",
        column="recall_at_2",
    ),
    Measure("sentence.labels.brier_score", "Probabilities of descriptors: Brier score (less is better)", "most_common"),
    Measure(
        "sentence.labels.calibration_error",
        "Probabilities of descriptors: calibration error (less is better)",
        "most_common",
    ),
    Measure(
        "oracle.sentence.precision_at_1",
        "Sentences, gold aspects as labels: first guess right",
        "most_common",
        headline=True,
    ),
    Measure(
        "oracle.sentence.recall_at_2",
        "Sentences, gold aspects as labels: found with two guesses",
        "most_common",
        headline=True,
    ),
    Measure(
        "oracle.sentence.brier_score",
        "Probabilities, gold aspects as labels: Brier score (less is better)",
        "most_common",
    ),
    Measure(
        "oracle.sentence.calibration_error",
        "Probabilities, gold aspects as labels: calibration error (less is better)",
        "most_common",
    ),
    Measure(
        "neuron.precision_at_1",
        "Neurons: first descriptor confirmed on other reviews",
        "most_common",
        headline=True,
        column="neuron_precision_at_1",
    ),
    Measure("neuron.precision_at_2", "Neurons: two descriptors confirmed on other reviews", "most_common"),
    Measure("neuron.recall_at_2", "Neurons: descriptors of other reviews among the first two", "most_common"),
    Measure("neuron.described", "Neurons described", "shuffled_labels", headline=True, column="described", counts=True),
    Measure(
        "jaccard",
        "Neurons: agreement of their descriptors on both halves (Jaccard)",
        "permuted_neurons",
        headline=True,
        column="jaccard",
    ),
    Measure("pooled_jaccard", "Pairs: agreement of both halves (Jaccard)", "permuted_neurons"),
    Measure("top2_jaccard", "Neurons: agreement of their first two descriptors (Jaccard)", "permuted_neurons"),
    Measure(
        "replication",
        "Pairs: replicated on other reviews",
        "permuted_neurons",
        headline=True,
        column="replication",
    ),
    Measure("oracle.replication", "Pairs, gold aspects as labels: replicated", "permuted_neurons", headline=True),
    Measure("pairs", "Pairs assigned", "shuffled_labels", counts=True),
    Measure(
        "second_opinion.survival",
        "Pairs: found under the second labeller too",
        "permuted_neurons",
        headline=True,
    ),
    Measure("second_opinion.support", "Pairs: p at most 0.05 under the second labeller", "permuted_neurons"),
    Measure(
        "labels.mean_best_ap",
        "Labels: mean average precision of each aspect's best descriptor",
        "shuffled_labels",
        headline=True,
        column="label_ap",
    ),
    Measure("labels.agreement", "Labels: agreement with the teacher (F1)", "shuffled_labels"),
    Measure(
        "descriptors.mean_best_ap",
        "Vocabulary: mean best average precision per gold aspect",
        "shuffled_labels",
        headline=True,
    ),
    Measure("descriptors.count", "Descriptors", counts=True),
    Measure(
        "tokens.agreement",
        "What drives a neuron (one word, a few, none) is the same on both halves",
        "permuted_neurons",
        headline=True,
    ),
    Measure("tokens.token_bound", "Described neurons that one word drives", "shuffled_tokens"),
    Measure("tokens.lexical", "Described neurons that a few words drive", "shuffled_tokens"),
    Measure("tokens.replication", "Their words tell where they fire on validation", "permuted_neurons"),
    Measure("tokens.words_correlation", "Correlation of their words and activation (median)", "permuted_neurons"),
    Measure("relations.pairs", "Ordered pairs of descriptors that share neurons", counts=True),
    Measure(
        "relations.replication",
        "Descriptors that share neurons, beyond their sentences, do so on validation",
        "other_pairs",
        headline=True,
    ),
    Measure("relations.sentences_replication", "Descriptors that share sentences do so on validation", "other_pairs"),
    Measure("relations.direction_replication", "The direction is the same on validation", "permuted_descriptors"),
    Measure("relations.polysemantic", "Neurons with unrelated descriptors", "dealt_descriptors", counts=True),
    Measure(
        "relations.cofiring_ratio",
        "Neurons of a descriptor that fire together on its sentences, over independence",
        "permuted_firing",
    ),
    Measure("relations.split_pairs", "Pairs of them that split its sentences", "permuted_firing", counts=True),
    Measure("relations.absorbed_pairs", "Pairs of them, one absorbed by the other", "permuted_firing", counts=True),
    Measure("depth.placed", "Descriptors that have a place in depth", "shuffled_layers", headline=True),
    Measure("depth.correlation", "Correlation of depth on both halves", "permuted_descriptors"),
    Measure("transfer.replication", "Pairs replicated in another corpus", "unassigned_pairs", headline=True),
    Measure("transfer.strongest_replication", "The strongest tenth of the pairs", "unassigned_pairs"),
    Measure("transfer.sentence.gold.precision_at_1", "Its sentences: first aspect right", "most_common"),
    Measure("transfer.sentence.gold.recall_at_2", "Its sentences: aspects found with two guesses", "most_common"),
    Measure(
        "ablation.share_specific",
        "Descriptors that lose more AUROC with their neurons off than with random ones",
        "exchangeable_sets",
        headline=True,
    ),
    Measure("ablation.share_clear", "Those whose whole interval is above that", "exchangeable_sets"),
    Measure("ablation.own_loss", "AUROC lost", "random_neurons"),
    Measure("ablation.separation_share_clear", "Descriptors whose separation is clearly lost", "exchangeable_sets"),
    Measure("ablation.separation_own_loss", "Separation lost", "random_neurons"),
    Measure("ablation.word_share_specific", "Descriptors whose words lose more log-probability", "exchangeable_sets"),
    Measure("ablation.word_own_loss", "Log-probability lost of a descriptor's words", "random_neurons"),
    Measure(
        "writes.agreement",
        "Descriptors' words among the tokens that their neurons promote (AUROC)",
        "permuted_rows",
    ),
    Measure("writes.extremity", "The same, promoted or suppressed (|2 AUROC - 1|)", "permuted_rows"),
    Measure("writes.negative_agreement", "At the negative end: words among the tokens promoted", "permuted_rows"),
    Measure("writes.negative_extremity", "At the negative end: promoted or suppressed", "permuted_rows"),
    Measure("ends.positive", "Neurons with a replicated descriptor at the positive end", "permuted_neurons"),
    Measure("ends.negative", "Neurons with a replicated descriptor at the negative end", "permuted_neurons"),
    Measure("ends.both", "Neurons with a replicated descriptor at both ends", "permuted_neurons"),
    *(measure for whose in ("given", "written") for measure in _list_judged(whose)),
)
"""Every measure that is told with its chance in metrics/detail, in the order in which measures are shown."""

FAMILIES = (
    Measure("*ceiling_*"),
    Measure("*.coverage"),
    Measure("oracle.neuron.described", chance="shuffled_labels", counts=True),
    Measure("coverage"),
    Measure("*sentence.*", chance="most_common"),
    Measure("*neuron.*_at_*", chance="most_common"),
    Measure("second_opinion.mean_*", chance="shuffled_labels"),
    Measure("second_opinion.agreement", chance="shuffled_labels"),
    Measure("second_opinion.*", chance="permuted_neurons"),
    Measure("labels.mean_*", chance="shuffled_labels"),
    Measure("descriptors.*", chance="shuffled_labels"),
    Measure("tokens.agreement_described", chance="permuted_neurons"),
    Measure("ablation.*share_*", chance="exchangeable_sets"),
    Measure("ablation.*", chance="random_neurons"),
)
"""All other measures, the first family that fits; one that fits none has no chance beside it."""

HEADLINES = tuple(measure for measure in MEASURES if measure.headline)
COLUMNS = tuple(dict.fromkeys(measure.column for measure in MEASURES if measure.column))
"""The columns of DVC's table."""

_BY_NAME = {measure.name: measure for measure in MEASURES}


def find_measure(name: str) -> Measure:
    """The measure of that name, or the family that it is of."""
    found = _BY_NAME.get(name)
    return found or next((family for family in FAMILIES if fnmatchcase(name, family.name)), Measure(name))


def is_registered(name: str) -> bool:
    """Whether it is one of MEASURES."""
    return name in _BY_NAME
