"""What the stages read that measure descriptors, labels and neurons."""

from descry.evaluation.evaluate import Evaluation, Opinion
from descry.results import layout
from descry.schemas.label import AGREEMENT_TABLE
from descry.storage.tables import read_table
from stages.shared.gold import read_gold
from stages.shared.inputs import list_controls, read_activation_pair, read_labels, read_review_ids


def _read_opinion(which: str) -> Opinion:
    labels, scores, _ = read_labels(which)
    taught = read_table(layout.LABELS / which / "agreement.parquet", AGREEMENT_TABLE, optional=True)
    return Opinion(labels, scores, taught)


def read_evaluation() -> Evaluation:
    """Read what is measured."""
    aspects, gold = read_gold()
    return Evaluation(
        active=read_activation_pair(layout.ACTIVATIONS),
        controls=list_controls(),
        names=read_labels("first")[2],
        opinions=(_read_opinion("first"), _read_opinion("second")),
        aspects=aspects,
        gold=gold,
        reviews=read_review_ids(),
    )
