"""Paths of a run's artifacts within its folder, and what its dvc.lock records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from descry.errors import InputError
from descry.splits import SPLITS, Pair

MODELS = Path("data/models")
SENTENCES = Path("data/sentences")
GOLD = Path("data/gold")
EDITS = Path("data/edits.yaml")
CANDIDATES = Path("data/candidates.parquet")
ANSWERS = Path("data/answers.parquet")
DESCRIPTORS = Path("data/descriptors.json")
LABELS = Path("data/labels")
ACTIVATIONS = Path("data/activations")
UNITS = Path("data/units")
POOLINGS = Path("data/poolings")
CONTROLS = Path("data/controls")
TOKENS = Path("data/tokens")
TRIGGERS = Path("data/triggers")
RELATIONS = Path("data/relations")
DEPTH = Path("data/depth")
TRANSFER = Path("data/transfer")
REPLICATION = Path("data/replication")
ABLATION = Path("data/ablation")
NEIGHBOURS = Path("data/neighbours.safetensors")
ASSIGNMENTS = Path("data/assignments")
ENDS = Path("data/ends")
WRITES = Path("data/writes")
WRITTEN, GLOSSES = Path("data/written.parquet"), Path("data/glosses.parquet")
JUDGE = Path("data/judge")
CONSISTENCY = Path("data/consistency")
EVALUATION = Path("data/evaluation")
RESPLITS = Path("data/resplits.parquet")
SWEEPS = Path("data/sweeps.parquet")
ASSOCIATIONS = Path("data/associations.parquet")
METRICS = Path("metrics")
REPORT = Path("report")
SHARDS = Path(".shards")
LOCK = Path("dvc.lock")


ANALYSES = (TRIGGERS, RELATIONS, DEPTH, REPLICATION, ABLATION, WRITES, ENDS, JUDGE)
"""What goes beyond the paper: folders that hold measures."""


def find_negative(split: str, root: Path = Path()) -> Path | None:
    """The activations of a split's negative end in the run in `root`; None if `extract.also` does not ask for them."""
    return next((root / POOLINGS / split).glob("negative_*.safetensors"), None)


def find_negative_pair() -> Pair[Path] | None:
    """`find_negative` of both splits in this folder; None unless both are there."""
    calibration, validation = (find_negative(split) for split in SPLITS)
    return None if calibration is None or validation is None else Pair(calibration, validation)


def read_yaml(path: Path) -> Any:
    """Read a YAML file in which YAML 1.1 and 1.2 mean the same; DVC's own reader takes ten times as long."""
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def read_lock(root: Path) -> dict[str, Any]:
    """Read what dvc.lock of the run in `root` records, by stage. Errors: InputError if it cannot be read."""
    path = root / LOCK
    if not path.is_file():
        raise InputError(f"{path}: not there; run `dvc repro` first, or name the folder of a run")
    try:
        return {name: dict(stage) for name, stage in read_yaml(path)["stages"].items()}
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read ({reason}); `git checkout {LOCK}` brings it back") from None


def read_parameters(recorded: Mapping[str, Any], stage: str, root: Path) -> dict[str, Any]:
    """The parameters that a stage was run with: whole sections by name, single keys by dotted name.

    recorded: `read_lock` of `root`. Errors: InputError if the stage is not in it.
    """
    parameters = recorded.get(stage, {}).get("params", {}).get("params.yaml")
    if parameters is None:
        raise InputError(f"{root / LOCK}: says nothing of {stage}; run `dvc repro` there")
    return dict(parameters)
