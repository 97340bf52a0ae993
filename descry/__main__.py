"""The command line: `python -m descry COMMAND`, from the project's root.

It stands above the library and the stages; no other module here knows them.
"""

from __future__ import annotations

import argparse
import sys

from descry.errors import InputError
from stages import verify


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code. InputError is one line on stderr and 2."""
    parser = argparse.ArgumentParser(prog="descry", description="Describe the neurons of a language model.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (verify,):
        command.add_parser(commands)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except InputError as error:
        print(f"descry: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
