"""The one error that a user is meant to read."""


class InputError(ValueError):
    """Bad input or settings; the message is one line: where, what is wrong, what to do."""
