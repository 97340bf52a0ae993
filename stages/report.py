"""report: the page, the plots, and the tables behind the plots."""

from pathlib import PurePath

import numpy as np
import pandas as pd

from descry import artifacts, report
from descry.artifacts import Activations
from descry.assignment import assign, gather
from descry.neighbours import Neighbours
from descry.reading import Read
from descry.settings import Assign, Report
from stages import _stage

EXAMPLES = 3


def _model(role: str) -> tuple[str, set[str]]:
    """What a model is called (a folder outside the project by its last part), and its weights' hashes."""
    manifest = artifacts.read_json(_stage.MODELS / role / "manifest.json")
    name = manifest["source"].removeprefix("package:")
    weights = {digest for file, digest in manifest["files"].items() if file.endswith(".safetensors")}
    return PurePath(name).name if PurePath(name).is_absolute() else name, weights


def _side(split: str, active: Activations, exemplars: int) -> tuple[report.Side, np.ndarray]:
    """A split as the report needs it, and the sentences that show each descriptor best."""
    labels, _ = artifacts.read_arrays(_stage.LABELS / "first" / f"{split}.safetensors", "labels")
    read, _ = artifacts.read_arrays(_stage.TOKENS / f"{split}.safetensors", "tokens")
    side = report.Side(
        sentences=artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences"),
        labels=labels["labels"],
        rows=active.exemplars(exemplars),
        activations=active.values[:, :exemplars],  # noqa: PD011 - no DataFrame
        mean=active.mean,
        probe=active.probe,
        read=Read(on_tokens=read.pop("values"), **read),
        pairs=artifacts.read_table(_stage.ASSIGNMENTS / f"{split}.parquet", "assignments"),
    )
    return side, report.strongest(labels["labels"], labels["scores"], EXAMPLES)


def _explained(calibration: Activations, own: report.Side, other: report.Side, rule: Assign) -> list[report.Explained]:
    """The sentences drawn at random from validation, and what the neurons say of them."""
    examples, _ = artifacts.read_arrays(_stage.TOKENS / "examples.safetensors", "examples")
    findings = assign(gather(own.rows, own.labels), **rule.model_dump(exclude={"exemplars"}))
    gold = artifacts.read_table(_stage.GOLD / "validation.parquet", "gold")["aspects"]
    texts, aspects = (column.iloc[examples["rows"]].tolist() for column in (other.sentences["text"], gold))
    return report.explained(calibration, findings, examples, texts, aspects)


def _beyond() -> report.Beyond:
    """What the stages beyond the paper found."""
    measured = (_stage.TRIGGERS, _stage.RELATIONS, _stage.DEPTH, _stage.REPLICATION, _stage.ABLATION)
    tables = [artifacts.read_table(folder / "measures.parquet", "measures") for folder in measured]
    return report.Beyond(
        triggers=artifacts.read_table(_stage.TRIGGERS / "neurons.parquet", "triggers"),
        relations=artifacts.read_table(_stage.RELATIONS / "calibration.parquet", "relations"),
        relations_there=artifacts.read_table(_stage.RELATIONS / "validation.parquet", "relations"),
        depth=artifacts.read_table(_stage.DEPTH / "descriptors.parquet", "depth"),
        transfer=artifacts.read_table(_stage.REPLICATION / "descriptors.parquet", "transfer"),
        transfer_pairs=artifacts.read_table(_stage.REPLICATION / "pairs.parquet", "transfer_pairs"),
        ablation=artifacts.read_table(_stage.ABLATION / "descriptors.parquet", "ablation"),
        measures=pd.concat(tables, ignore_index=True),
    )


def _labeller(opinion: str) -> str:
    """Who labelled."""
    path = _stage.LABELS / opinion / "validation.safetensors"
    return str(artifacts.read_arrays(path, "labels", without=("labels", "scores"))[1]["labeller"])


def main() -> None:
    chosen, settings = _stage.settings(Assign), _stage.settings(Report)
    active = [artifacts.read_activations(_stage.ACTIVATIONS / f"{split}.safetensors") for split in _stage.SPLITS]
    sides = [_side(split, seen, chosen.exemplars) for split, seen in zip(_stage.SPLITS, active, strict=True)]
    target, weights = _model("target")
    near, compared = artifacts.read_arrays(_stage.NEIGHBOURS, "neighbours")
    run = report.Run(
        layer=active[0].layer,
        index=active[0].index,
        descriptors=artifacts.read_json(_stage.DESCRIPTORS)["descriptors"],
        calibration=sides[0][0],
        validation=sides[1][0],
        examples=sides[0][1],
        neighbours=Neighbours(**near),
        compared=compared["exemplars"],
        explained=_explained(active[0], sides[0][0], sides[1][0], chosen),
        consistency=artifacts.read_table(_stage.CONSISTENCY / "measures.parquet", "measures"),
        evaluation=artifacts.read_table(_stage.EVALUATION / "measures.parquet", "measures"),
        p_values=artifacts.read_table(_stage.CONSISTENCY / "p_values.parquet", "p_values"),
        sweeps=artifacts.read_table(_stage.SWEEPS, "sweeps"),
        associations=artifacts.read_table(_stage.ASSOCIATIONS, "associations"),
        aspects=artifacts.read_table(_stage.EVALUATION / "aspects.parquet", "aspects"),
        confusion=artifacts.read_table(_stage.EVALUATION / "confusion.parquet", "confusion"),
        beyond=_beyond(),
        agreement=artifacts.read_table(_stage.LABELS / "first" / "agreement.parquet", "agreement", optional=True),
        rule=chosen.model_dump(),
        target=target,
        pooling=active[0].pooling,
        labellers=(_labeller("first"), _labeller("second")),
        encoder_is_target=weights == _model("embedder")[1],
    )
    for name, content in report.build(run, **settings.model_dump()).items():
        with artifacts.replacing(_stage.REPORT / name) as partial:
            partial.write_bytes(content)


if __name__ == "__main__":
    _stage.run(main)
