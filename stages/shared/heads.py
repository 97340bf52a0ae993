"""The target with its head, for the stage that reads what neurons write."""

from descry.models.heads import Unembedding, find_head, find_unembedding, load_with_head
from descry.models.target import Target, TargetLoader


def load_unembedding(loader: TargetLoader) -> tuple[Target, Unembedding] | None:
    """Load the target with its head, and what turns its stream into logits; None, with a line that says why, if what
    its units write cannot be read off the weights."""
    head = find_head(loader.folder)
    if head is None:
        print("the target's weights have no head that predicts words: what neurons write is left out")
        return None
    target = load_with_head(loader.load(), loader.folder, loader.dtype, head)
    unembedding = find_unembedding(target)
    if unembedding is None:
        print("between these units and the target's head lies more than a norm: what they write is left out")
        return None
    return target, unembedding
