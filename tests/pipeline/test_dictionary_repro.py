"""Latents of a sparse dictionary in place of neurons, from its files to the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import descry
from descry.activations.record import read_activations
from descry.results import layout
from descry.splits import SPLITS
from tests.conftest import bert_of_reviews
from tests.support.dictionaries import WIDTH, save_mirrored_dictionary
from tests.support.projects import LEFT_OUT, SMALL, change, clone, shell, with_model

LATENTS, LAYERS = 2 * WIDTH, (1, 3)
CHANGES = {
    **LEFT_OUT,
    "relations.enabled": "true",
    "relations.repeats": "50",
    "split.limit": "60",
    "generate.retrieval.words": "300",
    "cluster.min_sentences": "3",
    "extract.units": "dictionary",
    "extract.site": "hidden",
    "extract.also": "[]",
    "controls.kinds": "[target_neurons]",
    "assign.rule": "composition",
    "resplit.splits": "0",
    "sweep.thresholds": "[0.1]",
    "sweep.exemplars": "[40]",
}
"""Latents, and less of what takes long and is not looked at here."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def project(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the latents of two layers have been described."""
    folder, model = tmp_path_factory.mktemp("project"), bert_of_reviews(tmp_path_factory.mktemp("tiny") / "bert")
    for layer in LAYERS:
        save_mirrored_dictionary(folder / "own" / f"layer_{layer - 1}")
    changes = SMALL | with_model(model) | CHANGES | {"models.dictionaries.source": "own"}
    clone(folder, site, changes)("dvc", "repro", "-q")
    return folder


def test_every_latent_is_a_unit_of_the_run(project: Path) -> None:
    run = descry.load(project)
    assert run.neurons.groupby("layer").size().to_dict() == dict.fromkeys(LAYERS, LATENTS)
    assert (run.neurons["maximum"] >= 0).all()
    for split in SPLITS:
        active = read_activations(project / layout.ACTIVATIONS / f"{split}.safetensors")
        assert active.units == "latents of a dictionary of outputs of encoder.layer.*"
        told = json.loads((project / "metrics/detail/units.json").read_text())[split]
        assert told["units"] == len(LAYERS) * LATENTS
        assert told["rate"] == pytest.approx(np.mean(active.probe > 0), abs=1e-6)
        assert all(0 < told["explained_variance"][str(layer)] < 1 for layer in LAYERS)
        exemplars = active.exemplars(run.settings["exemplars"])
        assert (active.values[:, : exemplars.shape[1]][exemplars >= 0] > 0).all()  # no latent is described by silence


def test_descriptors_of_latents_and_their_cofiring_reach_the_measures_and_the_page(project: Path) -> None:
    run = descry.load(project)
    described = run.neurons[run.neurons["descriptors"] > 0]
    assert len(described) > 10
    counts = described.groupby("descriptor").size()
    assert run.cofiring.set_index("descriptor")["units"].to_dict() == counts.to_dict()
    told = json.loads((project / "metrics/detail/beyond.json").read_text())
    assert told["relations"]["split_pairs"] == run.cofiring["split"].sum() == (run.exclusive["kind"] == "split").sum()
    assert told["relations"]["absorbed_pairs"] == run.cofiring["absorbed"].sum()
    assert told["null"]["permuted_firing"]["relations"]["cofiring_ratio"] == pytest.approx(1, abs=0.1)
    assert run.writes.empty
    page = (project / "report/index.html").read_text(encoding="utf-8")
    assert "latents of a dictionary of outputs of encoder.layer.*" in page


def test_latents_stand_beside_the_neurons_of_their_layers(project: Path) -> None:
    neurons = read_activations(project / layout.CONTROLS / "target_neurons" / "calibration.safetensors")
    assert sorted(set(neurons.layer.tolist())) == list(LAYERS)
    assert neurons.units == "inputs of encoder.layer.*.output.dense"
    detail = json.loads((project / "metrics/detail/consistency.json").read_text())
    assert 0 <= detail["null"]["target_neurons"]["replication"] <= 1
    page = (project / "report/index.html").read_text(encoding="utf-8")
    assert "Latents against controls" in page


def test_a_dictionary_of_another_width_is_refused_in_one_line(project: Path, site: Path) -> None:
    change(project, "models.dictionaries.source", "other")
    save_mirrored_dictionary(project / "other" / "layer_0", WIDTH + 1)
    done = shell(project, site)("dvc", "repro", "extract@calibration", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("descry: ")]
    assert f"layer_0: has vectors of {WIDTH + 1} values, but the outputs of encoder.layer.0 have {WIDTH}" in line
    shutil.rmtree(project / "other")
