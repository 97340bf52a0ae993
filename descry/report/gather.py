"""A finished run gathered from its files, as the report needs it."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pandas as pd

from descry.activations.neighbours import Neighbours
from descry.activations.record import Activations, read_activations
from descry.activations.token_words import TokenReadings
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Rule, assign
from descry.evaluation.voting import fit_electorate
from descry.report.content import Beyond, Content, Explained, NegativeEnd, SplitContent, select_clearest
from descry.report.page.examples import explain_examples
from descry.results import layout
from descry.schemas.ablate import ABLATION_TABLE
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.consistency import P_VALUE_TABLE
from descry.schemas.depth import DEPTH_TABLE
from descry.schemas.describe import GLOSS_TABLE
from descry.schemas.evaluate import ASPECT_TABLE, CONFUSION_TABLE
from descry.schemas.judge import JUDGED_TABLE
from descry.schemas.label import AGREEMENT_TABLE, LABEL_ARRAYS
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.neighbours import NEIGHBOUR_ARRAYS
from descry.schemas.relations import COFIRING_TABLE, RELATION_TABLE
from descry.schemas.replicate import TRANSFER_PAIR_TABLE, TRANSFER_TABLE
from descry.schemas.resplit import RESPLIT_TABLE
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.schemas.sweep import SWEEP_TABLE
from descry.schemas.tokens import EXAMPLE_ARRAYS, TOKEN_ARRAYS
from descry.schemas.triggers import TRIGGER_TABLE
from descry.schemas.writes import WRITES_TABLE, WRITTEN_PAIR_TABLE
from descry.splits import SPLITS
from descry.storage.arrays import read_arrays
from descry.storage.files import read_json
from descry.storage.tables import read_table

EXAMPLES = 3
"""Sentences kept of each descriptor that show it best."""


def _read_model(role: str) -> tuple[str, set[str]]:
    """A model's name (of a folder outside the project, its last part), and its weights' hashes."""
    manifest = read_json(layout.MODELS / role / "manifest.json")
    name = manifest["source"].removeprefix("package:")
    weights = {digest for file, digest in manifest["files"].items() if file.endswith((".safetensors", ".gguf"))}
    return PurePath(name).name if PurePath(name).is_absolute() else name, weights


def _read_split(split: str, active: Activations, exemplars: int) -> tuple[SplitContent, np.ndarray]:
    """A split as the report needs it, and the sentences that show each descriptor best."""
    labels, _ = read_arrays(layout.LABELS / "first" / f"{split}.safetensors", LABEL_ARRAYS)
    tokens, _ = read_arrays(layout.TOKENS / f"{split}.safetensors", TOKEN_ARRAYS)
    content = SplitContent(
        sentences=read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE),
        labels=labels["labels"],
        rows=active.exemplars(exemplars),
        activations=active.values[:, :exemplars],  # noqa: PD011 - no DataFrame
        mean=active.mean,
        probe=active.probe,
        read=TokenReadings(on_tokens=tokens.pop("values"), **tokens),
        pairs=read_table(layout.ASSIGNMENTS / f"{split}.parquet", ASSIGNMENT_TABLE),
    )
    return content, select_clearest(labels["labels"], labels["scores"], EXAMPLES)


def _explain_sample(
    active: Activations, calibration: SplitContent, validation: SplitContent, rule: Rule
) -> list[Explained]:
    """The sentences drawn at random from validation, explained."""
    examples, _ = read_arrays(layout.TOKENS / "examples.safetensors", EXAMPLE_ARRAYS)
    findings = assign(gather_evidence(calibration.rows, calibration.labels), rule)
    reviews = calibration.sentences["review_id"].tolist()
    electorate = fit_electorate(active, findings, calibration.labels, reviews)
    gold = read_table(layout.GOLD / "validation.parquet", GOLD_TABLE)["aspects"]
    texts, aspects = (column.iloc[examples["rows"]].tolist() for column in (validation.sentences["text"], gold))
    return explain_examples(active, electorate, examples, texts, aspects)


def _read_negative(rule: Rule) -> NegativeEnd | None:
    """The neurons' negative ends; None if they were not read."""
    paths = layout.find_negative_pair()
    if paths is None:
        return None
    active = paths.map(lambda path: read_activations(path, probe=False))
    assigned = read_table(layout.ENDS / "assignments.parquet", ASSIGNMENT_TABLE)
    assigned = assigned[assigned[f"{rule.name}_assigned"]].rename(columns={f"{rule.name}_rank": "rank"})
    strength = read_table(layout.ENDS / "associations.parquet", ASSOCIATION_TABLE)
    pairs = assigned.merge(strength, on=["layer", "index", "descriptor"])
    return NegativeEnd(
        pairs=pairs.sort_values(["layer", "index", "rank"], kind="stable"),
        rows=active.map(lambda split: split.exemplars(rule.exemplars)),
        activations=active.map(lambda split: -split.values[:, : rule.exemplars]),  # noqa: PD011 - no DataFrame
    )


def _read_beyond(rule: Rule) -> Beyond:
    """What the analyses beyond the paper wrote."""
    tables = [read_table(folder / "measures.parquet", MEASURE_TABLE) for folder in layout.ANALYSES]
    return Beyond(
        triggers=read_table(layout.TRIGGERS / "neurons.parquet", TRIGGER_TABLE),
        relations=read_table(layout.RELATIONS / "calibration.parquet", RELATION_TABLE),
        relations_validation=read_table(layout.RELATIONS / "validation.parquet", RELATION_TABLE),
        cofiring=read_table(layout.RELATIONS / "cofiring.parquet", COFIRING_TABLE),
        depth=read_table(layout.DEPTH / "descriptors.parquet", DEPTH_TABLE),
        transfer=read_table(layout.REPLICATION / "descriptors.parquet", TRANSFER_TABLE),
        transfer_pairs=read_table(layout.REPLICATION / "pairs.parquet", TRANSFER_PAIR_TABLE),
        ablation=read_table(layout.ABLATION / "descriptors.parquet", ABLATION_TABLE),
        writes=read_table(layout.WRITES / "neurons.parquet", WRITES_TABLE),
        written_pairs=read_table(layout.WRITES / "pairs.parquet", WRITTEN_PAIR_TABLE),
        negative=_read_negative(rule),
        judged=read_table(layout.JUDGE / "units.parquet", JUDGED_TABLE),
        glosses=read_table(layout.GLOSSES, GLOSS_TABLE),
        measures=pd.concat(tables, ignore_index=True),
    )


def _read_labeller(folder: str) -> str:
    """The labeller whose labels lie in that folder."""
    path = layout.LABELS / folder / "validation.safetensors"
    return str(read_arrays(path, LABEL_ARRAYS, without=("labels", "scores"))[1]["labeller"])


def gather_content(rule: Rule) -> Content:
    """The run in the working folder. Errors: InputError where a file is not there or damaged."""
    active = [read_activations(layout.ACTIVATIONS / f"{split}.safetensors") for split in SPLITS]
    (calibration, examples), (validation, _) = (
        _read_split(split, kept, rule.exemplars) for split, kept in zip(SPLITS, active, strict=True)
    )
    target, weights = _read_model("target")
    neighbours, _ = read_arrays(layout.NEIGHBOURS, NEIGHBOUR_ARRAYS)
    return Content(
        layer=active[0].layer,
        index=active[0].index,
        descriptors=read_json(layout.DESCRIPTORS)["descriptors"],
        calibration=calibration,
        validation=validation,
        examples=examples,
        neighbours=Neighbours(**neighbours),
        explained=_explain_sample(active[0], calibration, validation, rule),
        consistency=read_table(layout.CONSISTENCY / "measures.parquet", MEASURE_TABLE),
        evaluation=read_table(layout.EVALUATION / "measures.parquet", MEASURE_TABLE),
        p_values=read_table(layout.CONSISTENCY / "p_values.parquet", P_VALUE_TABLE),
        resplits=read_table(layout.RESPLITS, RESPLIT_TABLE),
        sweeps=read_table(layout.SWEEPS, SWEEP_TABLE),
        associations=read_table(layout.ASSOCIATIONS, ASSOCIATION_TABLE),
        aspects=read_table(layout.EVALUATION / "aspects.parquet", ASPECT_TABLE),
        confusion=read_table(layout.EVALUATION / "confusion.parquet", CONFUSION_TABLE),
        beyond=_read_beyond(rule),
        agreement=read_table(layout.LABELS / "first" / "agreement.parquet", AGREEMENT_TABLE, optional=True),
        rule=rule,
        target=target,
        pooling=active[0].pooling,
        units=active[0].units,
        labellers=(_read_labeller("first"), _read_labeller("second")),
        encoder_is_target=weights == _read_model("embedder")[1],
    )
