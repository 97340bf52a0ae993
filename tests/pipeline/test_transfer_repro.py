"""The default assignments on the reviews of others: far more of them are found again than of pairs not assigned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import descry
from tests.conftest import ROOT
from tests.support.projects import Shell, change, default_run

OTHERS = ROOT.parent / "shared/data"
CORPORA = {"amazon_reviews": (60, 5.0), "opinosis": (4, 4.0)}
"""Every so manieth review is read; replication is to be so many times that of pairs that were not assigned."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shell]:
    """A run on the embedded default."""
    folder = tmp_path_factory.mktemp("project")
    return folder, default_run(folder, tmp_path_factory.mktemp("site"))


@pytest.mark.skipif(not OTHERS.is_dir(), reason="the reviews of others are not at hand")
@pytest.mark.long
@pytest.mark.parametrize("name", CORPORA)
def test_the_reviews_of_others_bear_it_out(project: tuple[Path, Shell], name: str) -> None:
    (folder, run), (step, times) = project, CORPORA[name]
    lines = (OTHERS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "other.jsonl").write_text("".join(lines[::step]), encoding="utf-8")
    change(folder, "transfer.source", "other.jsonl")
    run("dvc", "repro", "-q", "replicate", "metrics")
    found = json.loads((folder / "metrics/detail/beyond.json").read_text())["transfer"]
    assert found["replication"] > times * found["chance"]
    assert found["strongest_replication"] > found["replication"]
    table = descry.load(folder).transfer.query("pairs > 0 and there_prevalence >= 0.01")  # some are not spoken of there
    assert len(table) > 10
    assert (table["replication"] > table["unassigned"]).mean() > 0.9
    if name == "opinosis":  # its topics are known
        common = json.loads((folder / "metrics/detail/beyond.json").read_text())["null"]["most_common"]["transfer"]
        assert found["sentence"]["gold"]["recall_at_2"] > 2 * common["sentence"]["gold"]["recall_at_2"]
