"""What can refuse an input, but never changes a result."""

from descry.activations.record import Activations
from descry.errors import InputError


def check_exemplars(active: Activations, exemplars: int, of: str) -> None:
    """Errors: InputError where there are fewer sentences than an exemplar set has, or no more. of: what they are of."""
    kept = active.rows.shape[1]
    if exemplars > kept:
        raise InputError(
            f"params.yaml: assign.exemplars is {exemplars}, but {kept} sentences were kept for each neuron of {of} "
            "(extract.top_k, or all there are); lower the one or raise the other"
        )
    if exemplars == active.count:
        raise InputError(
            f"params.yaml: assign.exemplars is {exemplars}, all sentences of {of}: every neuron would have the same "
            "exemplars; lower it"
        )
