"""The one error that a user is meant to read."""


def escape_unprintable(text: str) -> str:
    """A text on one line that a terminal can only show: control and direction characters are spelt out."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class InputError(ValueError):
    """Bad input or settings; the message is one line: where, what is wrong, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(escape_unprintable(message))
