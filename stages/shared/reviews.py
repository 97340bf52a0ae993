"""The reviews that a section of params.yaml names."""

from collections.abc import Iterator

from descry.corpus.readers import Review, read_reviews
from descry.settings.text import Reviews


def find_source(chosen: Reviews) -> str:
    """The source of the reviews: the Hub data set if the section names one, else the file."""
    return chosen.hub or chosen.source


def read_chosen_reviews(chosen: Reviews) -> Iterator[Review]:
    """Read the reviews one by one. Errors: InputError as `read_reviews`."""
    return read_reviews(
        find_source(chosen),
        text_field=chosen.text_field,
        id_field=chosen.id_field,
        product_field=chosen.product_field,
        limit=chosen.limit,
        quotes=chosen.quotes,
    )
