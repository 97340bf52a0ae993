"""The reviews that a section of params.yaml names."""

from collections.abc import Iterator

from descry.corpus.readers import Review, read_reviews
from descry.settings.text import Reviews


def find_source(chosen: Reviews) -> str:
    """Where the reviews come from: the Hub where the section names a data set there, else the file."""
    return chosen.hub or chosen.source


def read_chosen_reviews(chosen: Reviews) -> Iterator[Review]:
    """The reviews, one by one. Errors: InputError as `read_reviews`."""
    return read_reviews(
        find_source(chosen),
        text_field=chosen.text_field,
        id_field=chosen.id_field,
        product_field=chosen.product_field,
        limit=chosen.limit,
    )
