"""Runs the examples of README.md, docs/prompt.md and docs/tour.ipynb, and keeps what they print; run by `make docs`.

A command stands in a `console` block, after `$ `.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DOCUMENTS = (Path("README.md"), Path("docs/prompt.md"))
TOUR = Path("docs/tour.ipynb")
BLOCK = re.compile(r"```console\n\$ descry (.+)\n(?:[^`].*\n|\n)*```")
WIDTH = "100"


def run(command: str) -> str:
    """What `descry COMMAND` prints, without colours and in a terminal of WIDTH columns."""
    done = subprocess.run(
        [sys.executable, "-m", "descry", *shlex.split(command)],
        env=os.environ | {"COLUMNS": WIDTH, "NO_COLOR": "1"},
        text=True,
        capture_output=True,
        check=True,
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def fill(text: str, answer: Callable[[str], str] = run) -> str:
    """A document with the present output of each of its commands."""
    return BLOCK.sub(lambda block: f"```console\n$ descry {block[1]}\n{answer(block[1])}\n```", text)


def execute(path: Path) -> None:
    """Execute a notebook in its folder and keep the results."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)


def main() -> None:
    for path in DOCUMENTS:
        path.write_text(fill(path.read_text()))
    execute(TOUR)


if __name__ == "__main__":
    main()
