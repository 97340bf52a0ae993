"""The headline figures of a run, in groups."""

from __future__ import annotations

from descry.report.content import Content
from descry.report.figures.headline import DEFINITION, Group, Headline, add_basis, make_headline
from descry.report.measures import CONTROL_TEXTS, NULL_TEXTS
from descry.report.words import format_count, format_interval, format_measure, format_percent


def _gold(run: Content) -> Group:
    return Group(
        "Against what the sentences really speak of",
        "The corpus comes with annotated aspects, which are used for measuring alone: these are the figures "
        "to trust. “Annotated aspects” takes them in place of the pipeline's labels, which tells what the "
        "neurons know apart from how good the labels are.",
        [
            *make_headline(
                run,
                "sentence.gold.precision_at_1",
                "First guess: descriptors found",
                "Of an unseen sentence, the aspect that its active neurons name first is right this often.",
            ),
            *make_headline(
                run,
                "sentence.gold.recall_at_2",
                "Two guesses: descriptors found",
                "Of an unseen sentence's aspects, the neurons' first two guesses find this share.",
            ),
            *make_headline(
                run,
                "oracle.sentence.precision_at_1",
                "First guess: annotated aspects",
                "The same with annotated aspects as descriptors: what neurons know, were all labels right.",
            ),
            *make_headline(
                run,
                "oracle.sentence.recall_at_2",
                "Two guesses: annotated aspects",
                "With right labels, the first two guesses find this share of an unseen sentence's aspects.",
            ),
        ],
    )


def _described(run: Content) -> list[Headline]:
    found, size = run.figures.get("neuron.described"), len(run.layer)
    if found is None:
        return []
    chances, yardsticks = (
        {name: level.over(size) for name, level in found.among(names).items()} for names in (NULL_TEXTS, CONTROL_TEXTS)
    )
    sentence = "This share of all neurons has at least one descriptor."
    detail = f"{format_count(found.value)} of {format_count(size)}"
    return [Headline("Neurons with a description", sentence, found.value / size, chances, yardsticks, detail)]


def describe_attained_error(run: Content) -> str:
    """How many of the pairs found chance explains, in words; empty where that is unknown."""
    pairs = run.figures.get("pairs")
    if pairs is None or not pairs.value or "shuffled_labels" not in pairs.levels:
        return ""
    level = pairs.levels["shuffled_labels"]
    error, bounds = level.mean / pairs.value, format_interval(level.low, level.high, format_count)
    said = (
        f"Significance: {format_count(pairs.value)} neuron-descriptor pairs pass on calibration; when whole "
        f"reviews change places among the labels, {format_count(level.mean)} {bounds} pass the same threshold, an attained error of "
        f"{format_percent(error)}".replace("  ", " ")
    )
    if run.rule.name == "composition":
        return f"{said}."
    alpha, calibrated = run.rule.alpha, run.figures.get("calibrated_alpha")
    said += f", {'within' if error <= alpha else 'more than'} the {format_percent(alpha)} asked for (alpha)."
    if calibrated is None or not calibrated.value:
        return said
    return f"{said} An alpha of {format_measure(calibrated.value)} would attain {format_percent(alpha)}."


def _stability(run: Content) -> Group:
    note = "Everything is found on calibration and looked for again on validation, other reviews altogether."
    if _circular(run):
        note += " The labels on both are the pipeline's own, so the caution below holds here too."
    return Group(
        "Does it hold on reviews it has not seen",
        note,
        [
            *_described(run),
            *add_basis(
                run,
                make_headline(
                    run,
                    "replication",
                    "Found again on other reviews",
                    "Of the neuron-descriptor pairs found on calibration, this share shows on validation too.",
                    DEFINITION,
                ),
                "pairs",
                "of {} pairs",
            ),
            *add_basis(
                run,
                make_headline(
                    run,
                    "oracle.replication",
                    "Found again, annotated aspects",
                    "The same share with the annotated aspects in place of the labels.",
                    DEFINITION,
                ),
                "oracle.neuron.described",
                "pairs of {} neurons",
            ),
            *add_basis(
                run,
                make_headline(
                    run,
                    "jaccard",
                    "Same set of descriptors (Jaccard)",
                    "How much of a neuron's set of descriptors the two halves share. Sets differ mostly because "
                    "a threshold cuts differently on each half; whether the findings themselves return, "
                    "“found again” says.",
                ),
                "coverage",
                "over {} of the neurons",
            ),
        ],
        describe_attained_error(run),
    )


def _circular(run: Content) -> bool:
    """Whether the labels come out of the network that they describe."""
    return run.encoder_is_target and run.labellers[0] in ("embedding", "distil")


def _origin(run: Content) -> str:
    if run.labellers[0] == "lexical":
        return (
            "These labels come from words alone: no network reads the sentences that are labelled. The vocabulary, and "
            "the candidates that its words are learnt from, an encoder proposed. They are an opinion, not the truth."
        )
    if run.labellers[0] == "distil":
        shared = ", and that encoder is the target model itself, which flatters" if run.encoder_is_target else ""
        return (
            "A language model labelled a sample; a linear model on an encoder's embeddings learnt from it and labelled "
            f"the rest{shared}. They are an opinion, not the truth."
        )
    if _circular(run):
        return (
            "The encoder behind these labels is the target model itself, so these figures flatter: labels and "
            "neurons come out of the same network."
        )
    return "The labels are another model's opinion, not the truth."


def _own(run: Content) -> Group:
    return Group(
        "Against the pipeline's own labels",
        _origin(run),
        [
            *add_basis(
                run,
                make_headline(
                    run,
                    "neuron.precision_at_1",
                    "A neuron's first descriptor",
                    "Of the neurons described on both halves, this share has it confirmed on validation. Few neurons, "
                    "with few descriptors each, are easily right: mind of how many it speaks.",
                ),
                "neuron.coverage",
                "of {} of the neurons",
            ),
            *make_headline(
                run,
                "sentence.labels.precision_at_1",
                "First guess: own labels",
                "What an unseen sentence's active neurons name first is among its labels this often.",
            ),
            *make_headline(
                run,
                "sentence.labels.recall_at_2",
                "Two guesses: own labels",
                "Of an unseen sentence's labels, the neurons' first two guesses find this share.",
            ),
        ],
    )


def _second(run: Content) -> Group:
    if run.labellers[1] == "lexical":
        who = "from words alone: no network reads them (though one proposed the vocabulary and its examples)"
    else:
        who = f"by another labeller ({run.labellers[1]})"
    one, other = (run.figures.get(f"{which}.mean_best_ap") for which in ("labels", "second_opinion"))
    weaker = one is not None and other is not None and other.value < one.value
    bound = "It is a lower bound: a finding can be right and yet be missed by the other labeller"
    if weaker and one is not None and other is not None:
        precisions = f"{format_measure(other.value)} against {format_measure(one.value)}"
        bound += f", the weaker of the two (average precision {precisions})"
    return Group(
        "A second opinion",
        f"The same sentences, labelled a second time {who}. Do the neurons say the same under both? Chance: neurons "
        "paired at random between the two.",
        [
            *make_headline(
                run,
                "second_opinion.survival",
                "Found under both labellers",
                f"Of the neuron-descriptor pairs found, the other labeller's labels give this share as well. {bound}.",
            ),
            *make_headline(
                run,
                "second_opinion.support",
                "Supported by the second",
                "This share of the pairs shows under the other labeller's labels too (p ≤ 0.05), whether or not it "
                "would pass there among all pairs.",
                DEFINITION,
            ),
        ],
    )


def _beyond(run: Content) -> Group:
    described = run.figures.get("neuron.described")
    several = run.figures.get("relations.polysemantic")
    minds: list[Headline] = []
    if described is not None and several is not None and described.value:
        levels = {name: level.over(described.value) for name, level in several.among(NULL_TEXTS).items()}
        sentence = (
            "This share of the described neurons carries descriptors that have nothing to do with each other. Were "
            "descriptors dealt out at random, it would be what chance says."
        )
        detail = f"{format_count(several.value)} of {format_count(described.value)}"
        minds = [Headline("Neurons of two minds", sentence, several.value / described.value, levels, detail=detail)]
    return Group(
        "Beyond these reviews",
        "The same vocabulary and the same pairs on another kind of text; what the model loses when neurons are "
        "switched off; which words drive them. More under Beyond.",
        [
            *make_headline(
                run,
                "transfer.replication",
                "Found again in another corpus",
                "Of the neuron-descriptor pairs found on calibration, this share shows on the other corpus too, where "
                "nothing was learned or chosen.",
                DEFINITION,
            ),
            *make_headline(
                run,
                "ablation.share_specific",
                "Switching off is specific",
                "Of the descriptors, this share loses more than the others do when its neurons are switched off, "
                "beyond what as many random neurons of the same layers take from it.",
            ),
            *make_headline(
                run,
                "tokens.agreement",
                "Driven by words alike",
                "Bound to one word, to a few or to none: of this share of the strongest neurons, validation says the "
                "same.",
            ),
            *minds,
        ],
    )


def make_headlines(run: Content) -> list[Group]:
    """The headline figures, those against gold first; groups without a figure are left out."""
    groups = (_gold(run), _stability(run), _beyond(run), _second(run), _own(run))
    return [group for group in groups if group.figures]
