"""triggers: which words drive every neuron on its strongest sentences, and whether they tell where it fires."""

import numpy as np
import pandas as pd

from descry import artifacts
from descry.nulls import beside
from descry.reading import Forms, Read, forms, presence
from descry.settings import Assign, Triggers
from descry.trigger_measures import Judge, measures, table
from descry.triggers import Driven
from stages import _inputs, _stage


def _read(split: str) -> tuple[Read, Forms, list[str]]:
    """The strongest sentences of a split token by token, the word forms of the tokens, and all texts."""
    arrays, _ = artifacts.read_arrays(_stage.TOKENS / f"{split}.safetensors", "tokens")
    read = Read(on_tokens=arrays.pop("values"), **arrays)
    texts = artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences")["text"].tolist()
    return read, forms([texts[row] for row in read.rows], read.lengths, read.stop), texts


def _described(rule: str, layer: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The neurons that have a descriptor, the lowest p of their first one first, and the correlation of that one."""
    assigned = artifacts.read_table(_stage.ASSIGNMENTS / "calibration.parquet", "assignments")
    first = assigned[assigned[f"{rule}_rank"] == 1].sort_values("p", kind="stable")
    first = first.merge(artifacts.read_table(_stage.ASSOCIATIONS, "associations"), on=["layer", "index", "descriptor"])
    place = pd.MultiIndex.from_arrays([layer, index])
    return place.get_indexer(pd.MultiIndex.from_frame(first[["layer", "index"]])), first["pearson"].to_numpy()


def main() -> None:
    settings, chosen = _stage.settings(Triggers), _stage.settings(Assign)
    found, figures = None, None
    if settings.enabled:
        active = _inputs.activations(_stage.ACTIVATIONS)
        mean, heard = active.calibration.mean, active.validation
        read = _inputs.both(_read)
        driven = read.map(lambda split: Driven.of(split[0], split[1], mean, words=settings.words, share=settings.share))
        judge = Judge(presence(read.validation[2], driven.calibration.names), heard, chosen.exemplars)
        found = table(driven, judge)
        own = (*read.calibration[:2], mean)
        described = _described(chosen.rule, heard.layer, heard.index)
        figures = beside(*measures(driven, own, judge, described, **settings.model_dump(exclude={"enabled"})))
    artifacts.write_table(_stage.TRIGGERS / "neurons.parquet", found, "triggers")
    artifacts.write_table(_stage.TRIGGERS / "measures.parquet", figures, "measures")


if __name__ == "__main__":
    _stage.run(main)
