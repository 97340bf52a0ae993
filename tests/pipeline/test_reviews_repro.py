"""The pipeline on real reviews, without gold."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.pipeline.test_repro import check_p_values
from tests.support.projects import LEFT_OUT, TWO_LAYERS, clone

AMAZON = ROOT.parent / "shared" / "data" / "amazon_reviews.jsonl"


@pytest.mark.skipif(
    not AMAZON.is_file(), reason="the real reviews are not at hand: ../shared/data/amazon_reviews.jsonl"
)
def test_real_reviews_are_described_in_what_shoppers_talk_about(tmp_path: Path) -> None:
    changes = {
        **LEFT_OUT,
        **TWO_LAYERS,
        "split.source": str(AMAZON),
        "split.limit": "1000",
        "extract.also": "[]",
        "controls.kinds": "[]",
        "consistency.repeats": "5",
        "evaluate.repeats": "2",
        "associate.repeats": "10",
        "resplit.splits": "2",
        "sweep.thresholds": "[0.1]",
        "sweep.exemplars": "[50]",
    }
    folder = tmp_path / "project"
    run = clone(folder, tmp_path / "site", changes)
    run("dvc", "repro", "-q")
    names = {entry["name"] for entry in json.loads((folder / "data/descriptors.json").read_text())["descriptors"]}
    assert 40 <= len(names) <= 200
    assert {"book", "story", "illustrations", "characters"} & names  # the first reviews are of books
    evaluation = json.loads((folder / "metrics/detail/evaluation.json").read_text())
    assert "oracle" not in evaluation  # no gold, no figure against gold
    assert "gold" not in evaluation["sentence"]
    consistency = json.loads((folder / "metrics/detail/consistency.json").read_text())
    assert consistency["replication"] > 3 * consistency["replication_null"]
    assert consistency["jaccard"] > 3 * consistency["jaccard_null"]
    assert "random_directions" not in consistency["null"]  # switched off
    assert 0 < consistency["attained_error"] <= 0.05  # alpha, though reviews and labels come in clusters
    check_p_values(folder)
    assert set(pd.read_csv(folder / "report/descriptors.csv")["descriptor"]) == names
