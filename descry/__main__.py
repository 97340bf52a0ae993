"""The command line: `descry COMMAND`, or `python -m descry COMMAND`.

It stands above the library and the stages; no other module here knows them.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from descry.errors import InputError

COMMANDS = {
    "explain": "descry.cli.explain",
    "neuron": "descry.cli.neuron",
    "descriptor": "descry.cli.descriptor",
    "top": "descry.cli.top",
    "compare": "descry.cli.compare",
    "verify": "stages.verify",
    "completion": "descry.cli.completion",
}
"""Where each command's module lies."""
OF_ALL = "completion"
"""The command that has to know every other one."""


def parser(name: str) -> argparse.ArgumentParser:
    """The parser of all commands; where `name` is one of them, of that alone, which need not wait for the others."""
    made = argparse.ArgumentParser(prog="descry", description="Describe the neurons of a language model.")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in [name] if name in COMMANDS and name != OF_ALL else COMMANDS:
        import_module(COMMANDS[command]).add_parser(commands)
    made.set_defaults(parser=made)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code. InputError is one line on stderr and 2; a reader that goes away ends it."""
    given = sys.argv[1:] if arguments is None else arguments
    chosen = parser(given[0] if given else "").parse_args(given)
    try:
        return int(chosen.run(chosen))
    except InputError as error:
        print(f"descry: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left unsaid goes nowhere
        return 1


if __name__ == "__main__":
    sys.exit(main())
