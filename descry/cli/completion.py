"""`descry completion bash`: a script with which a shell completes the commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shtab

SHELLS = ("bash", "zsh", "tcsh", "fish")


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    about = "print a script with which a shell completes these commands"
    parser = commands.add_parser("completion", help=about, description=f"{about}; how to use it: docs/prompt.md.")
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the command. chosen.parser: the parser of all commands."""
    for action in _list_actions(chosen.parser):
        if action.type is Path:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(chosen.parser, chosen.shell))
    return 0


def _list_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its sub-commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _list_actions(inner)
