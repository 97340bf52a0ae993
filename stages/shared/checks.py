"""Checks that may refuse an input but never change a result."""

from descry.activations.record import Activations
from descry.errors import InputError


def check_exemplars(active: Activations, exemplars: int, of: str) -> None:
    """Errors: InputError if exemplar sets would have more sentences than were kept, or all of them. of: the split or
    corpus, for the message."""
    kept = active.rows.shape[1]
    if exemplars > kept:
        raise InputError(
            f"params.yaml: assign.exemplars is {exemplars}, but {kept} sentences were kept for each neuron of {of} "
            "(extract.top_k, or all sentences); lower assign.exemplars, or raise extract.top_k"
        )
    if exemplars == active.count:
        raise InputError(
            f"params.yaml: assign.exemplars is {exemplars}, all sentences of {of}: every neuron would have the same "
            "exemplars; lower it"
        )
