"""A finished run as tables: beside slow references on a run made up here, and the committed run beside its metrics."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import hypergeom

import descry
from descry.activations.record import Activations, read_activations, write_activations
from descry.analyses.triggers import CLASSES
from descry.assignment.evidence import Evidence, gather_evidence
from descry.assignment.false_discovery import log_p
from descry.assignment.rules import RULES, Rule, assign_by, tabulate_assignments
from descry.errors import InputError
from descry.results import columns, layout
from descry.results.columns import NEEDED
from descry.results.measures import HEADLINES
from descry.results.run import Run
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.relations import RELATION_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.splits import SPLITS
from descry.storage.arrays import read_arrays, write_arrays
from descry.storage.files import write_json
from descry.storage.tables import read_table, write_table
from tests.conftest import ROOT

HOSTILE = "odd [red]\x1b[31m name"
NAMES = ["refund", "battery", HOSTILE]
WIDTH, SENTENCES, EXEMPLARS = 8, 150, 20
THRESHOLDS = {"exemplars": EXEMPLARS, "alpha": 0.05, "min_lift": 1.5, "min_count": 3, "tau": 0.5}
FINISHED = all((ROOT / needed).is_file() for needed in NEEDED)
needs_a_run = pytest.mark.skipif(not FINISHED, reason="no finished run is at hand: run `dvc repro` or `dvc pull`")


def further(folder: Path, names: list[str], layer: np.ndarray, index: np.ndarray, pairs: pd.DataFrame) -> None:
    """Made-up tables of the stages that may be left out."""
    generator = np.random.default_rng(9)

    def write(name: str, rows: int, **given: Any) -> None:
        path, schema = columns.FURTHER[name]
        numbers = {key: generator.random(rows) for key in schema.columns}
        whole = {key: np.arange(rows) for key, dtype in schema.columns.items() if dtype.startswith("int")}
        table = pd.DataFrame(numbers | whole | given)[list(schema.columns)]
        write_table(folder / path, table, schema)

    words = [[f"word {neuron}", HOSTILE][: 1 + neuron % 2] for neuron in range(len(layer))]
    shares = [[0.5, 0.25][: len(own)] for own in words]
    kinds = np.array(CLASSES, object)[np.arange(len(layer)) % 3]
    write(
        "triggers", len(layer), layer=layer, index=index, words=words, shares=shares,
        pattern=np.where(layer > 1, "char-", ""), validation_class="lexical", **{"class": kinds},
    )  # fmt: skip
    ordered = [(one, other) for one in names for other in names if one != other]
    both = {"descriptor": [one for one, _ in ordered], "other": [other for _, other in ordered]}
    write("relations", len(ordered), **both)
    write("relations_there", len(ordered), p=np.linspace(0, 0.1, len(ordered)), **both)
    write(
        "exclusive", 2, descriptor=names[0], kind=["split", "absorbed"], layer=[1, 2], index=[0, 1],
        other_layer=[2, 1], other_index=[3, 4],
    )  # fmt: skip
    for name in ("depth", "transfer", "ablation", "cofiring"):
        write(name, len(names) - 1, descriptor=names[:-1])
    given = {name: pairs[name].to_numpy() for name in ("layer", "index", "descriptor")}
    write("transfer_pairs", len(pairs), **given, p=np.linspace(0, 0.1, len(pairs)))
    tokens = {name: [[f" {name}", HOSTILE]] * len(layer) for name in ("promoted", "suppressed")}
    logits = {f"{name}_logits": [[2.0, 1.0]] * len(layer) for name in tokens}
    write("writes", len(layer), layer=layer, index=index, **tokens, **logits)
    write("written_pairs", len(pairs), **given, end="positive", auroc=np.linspace(0.4, 0.9, len(pairs)))
    texts = {"description": HOSTILE, "descriptor": [names[unit % len(names)] for unit in index]}
    scored = {"candidates": [["one", HOSTILE]] * len(layer), "candidate_aurocs": [[0.75, 0.5]] * len(layer)}
    write("glosses", 1, descriptor=names[:1], description=HOSTILE, **{name: one[:1] for name, one in scored.items()})
    write("written", len(layer), layer=layer, index=index, **texts, **scored)
    write("judged", len(layer), layer=layer, index=index, whose="written", **texts)
    measure = pd.DataFrame([("transfer.replication", "unassigned_pairs", 0.7, 0.1, 0.05, 0.15, 1, 0.6)])
    measure.columns = pd.Index(list(MEASURE_TABLE.columns))
    write_table(folder / layout.REPLICATION / "measures.parquet", measure, MEASURE_TABLE)


def recorded(values: np.ndarray, layer: np.ndarray, index: np.ndarray, pooling: str) -> Activations:
    """The record of neurons with these values, float32 [sentences, neurons]; the last never moves."""
    rows = np.argsort(-values, axis=0, kind="stable")[: 2 * EXEMPLARS].T.astype(np.int32)
    return Activations(
        count=SENTENCES,
        layer=layer.astype(np.int16),
        index=index.astype(np.int32),
        values=np.take_along_axis(values.T, rows, 1),
        rows=rows,
        beyond=np.sort(values, axis=0)[-2 * EXEMPLARS - 1],
        mean=values.mean(0),
        std=values.std(0) * (np.arange(len(layer)) < len(layer) - 1),
        maximum=values.max(0),
        probe_rows=np.arange(SENTENCES, dtype=np.int32),
        probe=values.astype(np.float16),
        pooling=pooling,
    )


def associate(
    table: pd.DataFrame, evidence: Evidence, names: list[str], rule: str, generator: np.random.Generator
) -> pd.DataFrame:
    """What validation says of assigned pairs; how strong they are is made up. evidence: on validation."""
    pairs = table.loc[table[f"{rule}_assigned"], ["layer", "index", "descriptor"]]
    place = (pairs["layer"] - 1) * WIDTH + pairs["index"], pairs["descriptor"].map(names.index)
    tested = {"count": evidence.counts, "known": evidence.known, "p": np.exp(log_p(evidence))}
    found = pairs.assign(**{f"validation_{name}": values[place] for name, values in tested.items()})
    strengths = list(ASSOCIATION_TABLE.columns)[len(found.columns) :]
    found[strengths] = generator.random((len(pairs), len(strengths)))
    return found


def made(folder: Path, *, seed: int = 0, layers: int = 2, names: list[str] = NAMES, rule: str = "enrichment") -> Path:
    """A run of made-up neurons: each knows the descriptor of its index, modulo their number; the last never moves."""
    generator = np.random.default_rng(seed)
    layer, index = (grid.ravel() for grid in np.meshgrid(np.arange(1, layers + 1), np.arange(WIDTH), indexing="ij"))
    tables, opposite = {}, {}
    for split in SPLITS:
        labels = (generator.random((SENTENCES, len(names))) < 0.2).astype(np.int8)
        labels[0, 0] = -1
        values = generator.normal(size=(SENTENCES, layers * WIDTH)).astype(np.float32)
        values += 1.2 * (labels == 1)[:, index % len(names)]
        values -= 1.2 * (labels == 1)[:, (index + 1) % len(names)]
        values[:, -1] = 0.25
        active = recorded(values, layer, index, "mean")
        write_activations(folder / layout.ACTIVATIONS / f"{split}.safetensors", active)
        negative = recorded(-values, layer, index, "negative_mean")
        write_activations(folder / layout.POOLINGS / split / "negative_mean.safetensors", negative)
        scores = generator.random(labels.shape, np.float32)
        meta = {"descriptors": names, "labeller": "embedding"}
        arrays = {"labels": labels, "scores": scores}
        write_arrays(folder / layout.LABELS / "first" / f"{split}.safetensors", arrays, LABEL_ARRAYS, meta)
        ids = [f"{split[0]}{row}" for row in range(SENTENCES)]
        sentences = pd.DataFrame({"sentence_id": ids, "review_id": ids, "position": 0, "product": "lamp"})
        sentences["text"] = [f"sentence {row} of [bold]{split}[/bold] \x1b[31mand more" for row in range(SENTENCES)]
        write_table(folder / layout.SENTENCES / f"{split}.parquet", sentences, SENTENCE_TABLE)
        evidence = gather_evidence(active.exemplars(EXEMPLARS), labels)
        findings = assign_by(RULES, evidence, Rule(**THRESHOLDS))
        tables[split] = tabulate_assignments(findings, layer, index, names)
        opposite[split] = gather_evidence(negative.exemplars(EXEMPLARS), labels)
        write_table(folder / layout.ASSIGNMENTS / f"{split}.parquet", tables[split], ASSIGNMENT_TABLE)
    pairs = associate(tables["calibration"], evidence, names, rule, generator)
    write_table(folder / layout.ASSOCIATIONS, pairs, ASSOCIATION_TABLE)
    fallen = tabulate_assignments(assign_by(RULES, opposite["calibration"], Rule(**THRESHOLDS)), layer, index, names)
    write_table(folder / layout.ENDS / "assignments.parquet", fallen, ASSIGNMENT_TABLE)
    strength = associate(fallen, opposite["validation"], names, rule, generator)
    write_table(folder / layout.ENDS / "associations.parquet", strength, ASSOCIATION_TABLE)
    vocabulary = [{"name": name, "members": [name, f"{name}s"], "sentences": 30} for name in names]
    write_json(folder / layout.DESCRIPTORS, {"descriptors": vocabulary})
    beyond = ("tokens", "relations", "depth", "transfer", "ablation")
    headlines = [measure for measure in HEADLINES if measure.name.partition(".")[0] not in beyond]
    rows = [(measure.name, measure.chance, 0.5, 0.1, 0.05, 0.15, 20, 0.44) for measure in headlines]
    measures = pd.DataFrame([*rows, ("labels.none_share", "", 0.2, *[np.nan] * 3, 0, np.nan)])
    measures.columns = pd.Index(list(MEASURE_TABLE.columns))
    for part, own in ((layout.EVALUATION, measures), (layout.CONSISTENCY, measures[:0])):
        write_table(folder / part / "measures.parquet", own, MEASURE_TABLE)
    further(folder, names, layer, index, pairs)
    params = {"assign": {"rule": rule} | THRESHOLDS}
    lock = {"assign@calibration": {"params": {"params.yaml": params}}}
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of made-up neurons."""
    return made(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """The same, loaded."""
    return descry.load(folder)


def exemplars_and_labels(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    active = read_activations(folder / layout.ACTIVATIONS / f"{split}.safetensors")
    labels = read_arrays(folder / layout.LABELS / "first" / f"{split}.safetensors", LABEL_ARRAYS)[0]["labels"]
    return active.exemplars(EXEMPLARS), labels


@pytest.mark.parametrize("rule", ["enrichment", "composition"])
def test_pairs_equal_a_loop_over_exemplars(tmp_path: Path, rule: str) -> None:
    pairs = descry.load(made(tmp_path, rule=rule)).pairs
    assert len(pairs) > 8
    for split, prefix in zip(SPLITS, ("", "validation_"), strict=True):
        rows, labels = exemplars_and_labels(tmp_path, split)
        for pair in pairs.to_dict("records"):
            own = labels[rows[(pair["layer"] - 1) * WIDTH + pair["index"]], NAMES.index(pair["descriptor"])]
            known = labels[:, NAMES.index(pair["descriptor"])]
            known = known[known >= 0]
            count, drawn = int((own == 1).sum()), int((own >= 0).sum())
            assert (pair[f"{prefix}count"], pair[f"{prefix}known"]) == (count, drawn)
            assert pair[f"{prefix}composition"] == count / drawn
            assert pair[f"{prefix}lift"] == pytest.approx(count / drawn / known.mean())
            assert pair[f"{prefix}p"] == pytest.approx(hypergeom.sf(count - 1, len(known), known.sum(), drawn))
    assert pairs["replicates"].tolist() == (pairs["validation_p"] <= 0.05).tolist()
    joined = pairs.merge(read_table(tmp_path / layout.ASSOCIATIONS, ASSOCIATION_TABLE), on=list(pairs.columns[:3]))
    assert (joined["pearson_x"] == joined["pearson_y"]).all()
    assert len(joined) == len(pairs)
    by_neuron = pairs.groupby(["layer", "index"])["place"]
    assert by_neuron.apply(lambda place: place.tolist() == list(range(1, len(place) + 1))).all()


def test_neurons_are_all_there_with_their_first_descriptor(run: Run) -> None:
    neurons = run.neurons
    assert len(neurons) == 2 * WIDTH
    assert neurons["descriptors"].sum() == len(run.pairs)
    firsts = run.pairs[run.pairs["place"] == 1].set_index(["layer", "index"])["descriptor"]
    described = neurons[neurons["descriptors"] > 0].set_index(["layer", "index"])["descriptor"]
    pd.testing.assert_series_equal(described, firsts)
    dead = neurons.iloc[-1]
    assert (dead["std"], dead["descriptors"]) == (0, 0)
    assert pd.isna(dead["descriptor"])


def test_descriptors_sentences_and_labels_belong_together(run: Run) -> None:
    assert run.descriptors["name"].tolist() == NAMES
    assert run.descriptors["neurons"].sum() == len(run.pairs)
    assert run.descriptors["first"].sum() == (run.neurons["descriptors"] > 0).sum()
    calibration = run.labels[(run.sentences["split"] == "calibration").to_numpy()]
    known = calibration.where(calibration >= 0)
    assert run.descriptors["prevalence"].tolist() == pytest.approx(known.mean().tolist())
    assert run.sentences["sentence_id"].tolist()[SENTENCES] == "v0"
    listed = run.measures["measure"].tolist()
    assert listed == [one.name for one in HEADLINES if one.name in listed and "transfer" not in one.name] + [
        "labels.none_share",
        "transfer.replication",
    ]
    assert pd.isna(run.measures["chance"].iloc[-2])


TABLES = (
    *("triggers", "relations", "depth", "transfer", "transfer_pairs", "ablation", "writes", "written_pairs"),
    *("written", "judged", "cofiring", "exclusive"),
)


def test_pairs_of_the_negative_end_equal_a_loop_over_its_exemplars(run: Run, folder: Path) -> None:
    pairs = run.negative_pairs
    assert len(pairs) > 4
    assert list(pairs) == list(run.pairs)
    for split, prefix in zip(SPLITS, ("", "validation_"), strict=True):
        probe = read_activations(folder / layout.ACTIVATIONS / f"{split}.safetensors").probe
        labels = exemplars_and_labels(folder, split)[1]
        for pair in pairs.to_dict("records"):
            values = probe[:, (pair["layer"] - 1) * WIDTH + pair["index"]]
            own = labels[np.argsort(values, kind="stable")[:EXEMPLARS], NAMES.index(pair["descriptor"])]
            assert pair[f"{prefix}count"] == (own == 1).sum()
    assert (pairs["descriptor"] == [NAMES[(index + 1) % 3] for index in pairs["index"]]).mean() > 0.8
    lowest = run.exemplars(1, 2, count=3, end="negative")
    probe = read_activations(folder / layout.ACTIVATIONS / "calibration.safetensors").probe[:, 2]
    np.testing.assert_allclose(lowest["activation"][:3], np.sort(probe)[:3], rtol=1e-3)


def test_a_run_without_negative_ends_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / layout.POOLINGS)
    with pytest.raises(InputError, match=r"no negative end; add it to extract\.also"):
        descry.load(tmp_path / "run").exemplars(1, 1, end="negative")


def test_tables_beyond_the_paper_are_those_of_their_stages(run: Run, folder: Path, tmp_path: Path) -> None:
    for name in TABLES:
        table, (path, schema) = getattr(run, name), columns.FURTHER[name]
        written = read_table(folder / path, schema)
        pd.testing.assert_frame_equal(table[list(written)], written)
    there = read_table(folder / columns.FURTHER["relations_there"][0], RELATION_TABLE)
    assert run.relations["replicates"].tolist() == (there["p"] <= 0.05).tolist()
    assert run.transfer_pairs["replicates"].tolist() == (run.transfer_pairs["p"] <= 0.05).tolist()
    assert len(run.transfer_pairs) == len(run.pairs)
    shutil.copytree(folder, tmp_path / "older")
    for path, _ in columns.FURTHER.values():
        (tmp_path / "older" / path).unlink()
    older = descry.load(tmp_path / "older")
    for name in (*TABLES, "negative_pairs"):
        assert getattr(older, name).empty
        assert list(getattr(older, name)) == list(getattr(run, name))


def test_exemplars_are_the_strongest_sentences(run: Run, folder: Path) -> None:
    found = run.exemplars(2, 3, count=4)
    assert found["rank"].tolist() == [1, 2, 3, 4] * 2
    for split, own in found.groupby("split"):
        probe = read_activations(folder / layout.ACTIVATIONS / f"{split}.safetensors").probe[:, WIDTH + 3]
        best = np.argsort(-probe, kind="stable")[:4]
        assert own["sentence_id"].tolist() == [f"{split[0]}{row}" for row in best]
        np.testing.assert_allclose(own["activation"], probe[best], rtol=1e-3)
    assert len(run.exemplars(2, WIDTH - 1)) == 0
    with pytest.raises(InputError, match=r"neuron 2:8: there is none in .*; layer 2 has 0 to 7"):
        run.exemplars(2, WIDTH)
    with pytest.raises(InputError, match="the layers are 1, 2"):
        run.exemplars(3, 0)


@pytest.mark.parametrize("missing", [*NEEDED, layout.LOCK], ids=str)
def test_a_folder_without_a_finished_run_is_one_line(folder: Path, tmp_path: Path, missing: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(InputError, match=f"no finished run: {missing} is missing; run `dvc repro` there"):
        descry.load(tmp_path / "run")


def test_a_damaged_file_is_one_line_and_only_when_it_is_asked_for(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / layout.SENTENCES / "validation.parquet").write_bytes(b"PAR1")
    run = descry.load(tmp_path / "run")
    assert len(run.neurons) == 2 * WIDTH
    with pytest.raises(InputError, match=r"validation\.parquet: damaged"):
        _ = run.sentences
    (tmp_path / "run/dvc.lock").write_text("stages: {}\n")
    with pytest.raises(InputError, match="says nothing of assign@calibration"):
        _ = descry.load(tmp_path / "run").settings


def test_importing_descry_loads_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import descry; print(*{m.split('.')[0] for m in sys.modules} - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=True,
    )
    assert not {"numpy", "pandas", "pyarrow", "torch"} & set(done.stdout.split())


@needs_a_run
def test_the_committed_runs_tables_say_what_its_metrics_say() -> None:
    run = descry.load(ROOT)
    consistency = json.loads((ROOT / "metrics/detail/consistency.json").read_text())
    evaluation = json.loads((ROOT / "metrics/detail/evaluation.json").read_text())
    assert len(run.pairs) == consistency["pairs"]
    assert (run.pairs["validation_p"] <= 0.05).mean() == pytest.approx(consistency["replication"], abs=1e-6)
    assert (run.neurons["descriptors"] > 0).sum() == evaluation["neuron"]["described"]
    assert len(run.descriptors) == evaluation["descriptors"]["count"]
    assert len(run.sentences) == len(run.labels)
    weights = run.descriptors["neurons"] / run.descriptors["neurons"].sum()
    assert (run.descriptors["replicates"] * weights).sum() == pytest.approx(consistency["replication"], abs=1e-6)
    there = read_table(ROOT / layout.ASSIGNMENTS / "validation.parquet", ASSIGNMENT_TABLE)
    both = run.pairs.merge(there, on=["layer", "index", "descriptor"], suffixes=("", "_there"))
    assert len(both) > 5_000
    np.testing.assert_allclose(both["validation_p"], both["p_there"], rtol=1e-9)
    assert (both["validation_count"] == both["count_there"]).all()
