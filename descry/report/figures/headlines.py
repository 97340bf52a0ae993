"""The headline figures of a run, in groups."""

from __future__ import annotations

from descry.report.content import Content
from descry.report.figures.headline import Group, Headline, add_basis, make_headline, make_share
from descry.report.words import describe_labeller, format_count, format_interval, format_measure, format_percent


def _group_gold(run: Content) -> Group:
    return Group(
        "Precision and recall against gold aspects",
        "The corpus has gold annotations, which are used for measuring alone, so these figures do not depend on the "
        "pipeline's own labels. “Gold aspects as labels” uses the annotations in place of those labels (an oracle): "
        "it shows what the neurons encode, apart from how good the labels are.",
        [
            *make_headline(
                run,
                "sentence.gold.precision_at_1",
                "Precision@1",
                "The aspect that an unseen sentence's neurons vote for first is right this often.",
            ),
            *make_headline(
                run,
                "sentence.gold.recall_at_2",
                "Recall@2",
                "Of an unseen sentence's aspects, the neurons' first two votes find this share.",
            ),
            *make_headline(
                run,
                "oracle.sentence.precision_at_1",
                "Precision@1, gold aspects as labels",
                "The same with gold aspects as descriptors: what the neurons encode, were all labels right.",
            ),
            *make_headline(
                run,
                "oracle.sentence.recall_at_2",
                "Recall@2, gold aspects as labels",
                "With gold aspects as descriptors, the first two votes find this share of a sentence's aspects.",
            ),
        ],
    )


def _list_described(run: Content) -> list[Headline]:
    described = run.scores.get("neuron.described")
    if described is None:
        return []
    return [
        make_share(
            described, len(run.layer), "Described neurons", "This share of all neurons has at least one descriptor."
        )
    ]


def describe_attained_error(run: Content) -> str:
    """The share of false pairs that was attained, in words; empty where it was not measured."""
    pairs = run.scores.get("pairs")
    if pairs is None or not pairs.value or pairs.chance is None:
        return ""
    level = pairs.chance
    error, bounds = level.mean / pairs.value, format_interval(level.low, level.high, format_count)
    text = (
        f"False discoveries: {format_count(pairs.value)} neuron-descriptor pairs pass the threshold on calibration; "
        f"with labels shuffled between reviews {format_count(level.mean)} {bounds} do, an attained error of "
        f"{format_percent(error)}".replace("  ", " ")
    )
    if run.rule.name == "composition":
        return f"{text}."
    alpha, calibrated = run.rule.alpha, run.scores.get("calibrated_alpha")
    text += f", {'within' if error <= alpha else 'more than'} the {format_percent(alpha)} asked for (alpha)."
    if calibrated is None or not calibrated.value:
        return text
    return f"{text} An alpha of {format_measure(calibrated.value)} would attain {format_percent(alpha)}."


def _group_replication(run: Content) -> Group:
    note = "All pairs are assigned on calibration and tested on validation, which holds other reviews."
    if is_circular(run):
        note += " The labels of both halves come from the target itself, which flatters these figures too."
    return Group(
        "Replication and consistency",
        note,
        [
            *_list_described(run),
            *add_basis(
                run,
                make_headline(
                    run,
                    "replication",
                    "Replication",
                    "Of the neuron-descriptor pairs assigned on calibration, this share has p ≤ 0.05 on validation.",
                ),
                "pairs",
                "of {} pairs",
            ),
            *add_basis(
                run,
                make_headline(
                    run,
                    "oracle.replication",
                    "Replication, gold aspects as labels",
                    "The same share with gold aspects in place of the labels.",
                ),
                "oracle.neuron.described",
                "pairs of {} neurons",
            ),
            *add_basis(
                run,
                make_headline(
                    run,
                    "jaccard",
                    "Jaccard index",
                    "How far a neuron's sets of descriptors on the two halves are the same. They differ mostly because "
                    "the threshold cuts differently on each half; replication tests the pairs themselves.",
                ),
                "coverage",
                "over {} of the neurons",
            ),
        ],
        describe_attained_error(run),
    )


def _group_beyond(run: Content) -> Group:
    described = run.scores.get("neuron.described")
    unrelated = run.scores.get("relations.polysemantic")
    polysemantic: list[Headline] = []
    if described is not None and unrelated is not None and described.value:
        sentence = (
            "This share of the described neurons has descriptors that are unrelated to each other. Fewer than by "
            "chance means that the descriptors of one neuron tend to belong together."
        )
        polysemantic = [make_share(unrelated, described.value, "Polysemanticity", sentence)]
    return Group(
        "Transfer, ablation, lexical triggers and polysemanticity",
        "The same vocabulary and the same pairs on another kind of text; what the model loses when neurons are "
        "ablated; whether a few words trigger them. Details are in the view Beyond.",
        [
            *make_headline(
                run,
                "transfer.replication",
                "Transfer",
                "Of the pairs assigned on calibration, this share has p ≤ 0.05 on the other corpus, on which nothing "
                "was learned or chosen.",
            ),
            *make_headline(
                run,
                "ablation.share_specific",
                "Ablation",
                "Of the descriptors, this share loses more than the others do when its neurons are ablated, beyond "
                "what as many random neurons of the same layers take from it.",
            ),
            *make_headline(
                run,
                "tokens.agreement",
                "Lexical triggers",
                "One word, a few words or none: of this share of the neurons, both halves agree what triggers them.",
            ),
            *polysemantic,
        ],
    )


def is_circular(run: Content) -> bool:
    """Whether the labels come out of the network whose neurons they describe."""
    return run.encoder_is_target and run.labellers[0] in ("embedding", "distil")


def describe_label_origin(run: Content) -> str:
    """Where the labels come from, and what that means for figures against them."""
    if run.labellers[0] == "lexical":
        return (
            "These labels come from words alone: no network reads the sentences. An encoder proposed the vocabulary "
            "and the examples from which its words are learned. They are an approximation, not the truth."
        )
    if run.labellers[0] == "distil":
        shared = ", and that encoder is the target model itself, which flatters" if run.encoder_is_target else ""
        return (
            "A language model labelled a sample; a linear model on an encoder's embeddings learned from it and "
            f"labelled the rest{shared}. They are an approximation, not the truth."
        )
    if is_circular(run):
        return (
            "The encoder behind these labels is the target model itself, so these figures flatter: labels and neurons "
            "come out of the same network."
        )
    return "The labels are another model's output, not the truth."


def _group_labels(run: Content) -> Group:
    return Group(
        "Precision and recall against the pipeline's own labels",
        describe_label_origin(run),
        [
            *add_basis(
                run,
                make_headline(
                    run,
                    "neuron.precision_at_1",
                    "Precision@1 of neurons",
                    "Of the neurons described on both halves, this share has its first descriptor confirmed on "
                    "validation. Read it with its coverage: a few neurons with few descriptors are easily right.",
                ),
                "neuron.coverage",
                "of {} of the neurons",
            ),
            *make_headline(
                run,
                "sentence.labels.precision_at_1",
                "Precision@1 of sentences",
                "The descriptor that an unseen sentence's neurons vote for first is one of its labels this often.",
            ),
            *make_headline(
                run,
                "sentence.labels.recall_at_2",
                "Recall@2 of sentences",
                "Of an unseen sentence's labels, the neurons' first two votes find this share.",
            ),
        ],
    )


def _group_second(run: Content) -> Group:
    first, second = (run.scores.get(f"{labels}.mean_best_ap") for labels in ("labels", "second_opinion"))
    bound = "It is a lower bound: a pair can be right and still be missed by the other labeller"
    if first is not None and second is not None and second.value < first.value:
        precisions = f"{format_measure(second.value)} against {format_measure(first.value)}"
        bound += f", the weaker of the two (average precision {precisions})"
    return Group(
        "Second labeller",
        f"The same sentences, labelled again by a second labeller: {describe_labeller(run.labellers[1])}. Are the same "
        "pairs assigned under its labels?",
        [
            *make_headline(
                run,
                "second_opinion.survival",
                "Survival",
                f"Of the pairs assigned, this share is assigned under the second labeller's labels as well. {bound}.",
            ),
            *make_headline(
                run,
                "second_opinion.support",
                "Support",
                "This share of the pairs has p ≤ 0.05 under the second labeller's labels, whether or not it passes the "
                "threshold among all pairs.",
            ),
        ],
    )


def make_headlines(run: Content) -> list[Group]:
    """The headline figures, those against gold first; groups without a figure are left out."""
    groups = (_group_gold, _group_replication, _group_beyond, _group_second, _group_labels)
    return [group for make in groups if (group := make(run)).figures]
