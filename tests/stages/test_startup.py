"""What a stage loads before it begins: no stage waits for a library that it does not need."""

import os
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "huggingface_hub",
    "sklearn",
    "scipy.stats",
    "matplotlib",
    "openai",
    "dvc",
}
MODEL = {"torch", "transformers", "huggingface_hub"}
NEEDED = {
    "cluster": MODEL | {"sentence_transformers", "sklearn", "scipy.stats"},
    "extract": MODEL,
    "controls": MODEL,
    "tokens": MODEL,
    "transfer": MODEL,
    "ablate": MODEL,
    "writes": MODEL,
    "report": {"matplotlib"},
}
"""What a stage cannot begin without; `generate` and `label` load what the way that was chosen needs, once it is."""


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_loads_nothing_heavy_that_it_does_not_need(stage: str) -> None:
    script = f"import sys, stages.{stage}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    assert HEAVY & set(done.stdout.split()) == NEEDED.get(stage, set())
