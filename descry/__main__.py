"""The command line: `descry COMMAND`, or `python -m descry COMMAND`.

It stands above the library and the stages; no other module here knows them. The stages are no installed package: they
lie beside this one in the project's checkout.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from descry.errors import InputError

COMMANDS = {
    "explain": "descry.cli.explain",
    "neuron": "descry.cli.neuron",
    "descriptor": "descry.cli.descriptor",
    "top": "descry.cli.top",
    "compare": "descry.cli.compare",
    "verify": "stages.commands.verify",
    "completion": "descry.cli.completion",
}
"""Where each command's module lies."""
STAGES = Path(__file__).resolve().parents[1] / "stages"
"""Where the stages lie; not there where the library alone is installed."""
OF_ALL = "completion"
"""The command that has to know every other one."""


def parser(name: str) -> argparse.ArgumentParser:
    """The parser of all commands; where `name` is one of them, of that alone, which need not wait for the others."""
    made = argparse.ArgumentParser(prog="descry", description="Describe the neurons of a language model.")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    there = {command: module for command, module in COMMANDS.items() if not _of_stages(module) or STAGES.is_dir()}
    for command in [name] if name in there and name != OF_ALL else there:
        _load(there[command]).add_parser(commands)
    made.set_defaults(parser=made)
    return made


def _of_stages(module: str) -> bool:
    return module.startswith("stages.")


def _load(module: str) -> ModuleType:
    """A command's module; one of the stages out of the checkout that this library lies in, never the working folder."""
    checkout = str(STAGES.parent)
    if _of_stages(module) and checkout not in sys.path:
        sys.path.append(checkout)
    return import_module(module)


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
