"""Clones of the project to run commands in, as a user would, with small parameters."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.support.warm import warm_path

Shell = Callable[..., subprocess.CompletedProcess[str]]


def environment(site: Path, **changes: str) -> dict[str, str]:
    own = {
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(site),
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    return os.environ | own | changes


def shell(folder: Path, site: Path, **changes: str) -> Shell:
    """Runs commands in a folder; a stage starts at once, without loading its libraries."""

    def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return finished(command, check, cwd=folder, env=environment(site, **{"PATH": warm_path()} | changes))

    return run


def finished(command: Sequence[str], check: bool, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command that has run, and well if `check`; options: of `subprocess.run`."""
    done = subprocess.run(command, text=True, capture_output=True, check=False, **options)
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def with_model(folder: Path) -> dict[str, str]:
    """The parameters that make a model's folder target and embedder."""
    return {
        f"models.{role}.{key}": f'"{value}"'
        for role in ("target", "embedder")
        for key, value in (("source", folder), ("sha256", ""))
    }


def change(folder: Path, path: str, value: str) -> None:
    """Set one key of params.yaml, in place."""
    text = (folder / "params.yaml").read_text()
    start = end = 0
    for depth, key in enumerate(path.split(".")):
        found = re.compile(rf"^{'  ' * depth}{key}:.*$", re.MULTILINE).search(text, start)
        assert found, path
        start, end = found.span()
    line = text[start:end].split(":")[0]
    (folder / "params.yaml").write_text(f"{text[:start]}{line}: {value}{text[end:]}")


SMALL = {
    "split.limit": "120",
    "generate.retrieval.words": "1500",
    "extract.top_k": "60",
    "assign.exemplars": "40",
    "consistency.repeats": "2",
    "evaluate.repeats": "2",
    "associate.repeats": "10",
    "resplit.splits": "2",
    "sweep.thresholds": "[0.1, 0.2]",
    "sweep.exemplars": "[10, 40]",
    "triggers.repeats": "2",
    "relations.repeats": "2",
    "depth.repeats": "2",
    "transfer.limit": "100",
    "transfer.repeats": "2",
    "ablate.neurons": "20",
    "ablate.sentences": "20",
    "ablate.positives": "5",
}
TWO_LAYERS = {"extract.layers": "[2, 3]"}
"""Of the embedded model's six, where it does not matter how many there are."""
BEYOND = ("triggers", "relations", "depth", "transfer", "ablate")
LEFT_OUT = {f"{stage}.enabled": "false" for stage in BEYOND}
"""Without what goes beyond the paper."""


def clone(folder: Path, site: Path, changes: dict[str, str] = SMALL) -> Shell:
    """The project as git sees it, committed in a repository of its own, with some parameters changed."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for path, value in changes.items():
        change(folder, path, value)
    run = shell(folder, site)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "small"]):
        run("git", *command)
    return run


def default_run(folder: Path, site: Path) -> Shell:
    """The project with the run that params.yaml asks for: out of the cache, where that has been run here."""
    run = clone(folder, site, {})
    if (ROOT / ".dvc/cache").is_dir():
        shutil.copytree(ROOT / ".dvc/cache", folder / ".dvc/cache", copy_function=os.link)
        shutil.copy(ROOT / "dvc.lock", folder)
        run("dvc", "checkout", "-q", check=False)  # all at once; what is not there, the next line makes
    run("dvc", "repro", "-q")
    return run
