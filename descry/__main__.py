"""The command line: `descry COMMAND`, or `python -m descry COMMAND`.

No other module of the library knows the stages. They are not installed: they lie beside this package in the checkout.
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
    "judge": "descry.cli.judge",
    "export": "descry.cli.export",
    "verify": "stages.commands.verify",
    "completion": "descry.cli.completion",
}
"""The module of each command."""
STAGES = Path(__file__).resolve().parents[1] / "stages"
"""The folder of the stages; it does not exist where only the library is installed."""
NEEDS_ALL = "completion"
"""The command that needs the parsers of all others."""


def parser(name: str) -> argparse.ArgumentParser:
    """Make the parser of all commands or, if `name` is one of them, of that alone, which loads faster."""
    made = argparse.ArgumentParser(prog="descry", description="Describe the neurons of a language model.")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    available = {command: module for command, module in COMMANDS.items() if not _is_stage(module) or STAGES.is_dir()}
    for command in [name] if name in available and name != NEEDS_ALL else available:
        _load(available[command]).add_parser(commands)
    made.set_defaults(parser=made)
    return made


def _is_stage(module: str) -> bool:
    return module.startswith("stages.")


def _load(module: str) -> ModuleType:
    """Import a command's module; one of the stages from this library's own checkout, never from the working folder."""
    checkout = str(STAGES.parent)
    if _is_stage(module) and checkout not in sys.path:
        sys.path.append(checkout)
    return import_module(module)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 2 after an InputError, one line on stderr; 1 after a closed pipe."""
    given = sys.argv[1:] if arguments is None else arguments
    chosen = parser(given[0] if given else "").parse_args(given)
    try:
        return int(chosen.run(chosen))
    except InputError as error:
        print(f"descry: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of the output is dropped
        return 1


if __name__ == "__main__":
    sys.exit(main())
