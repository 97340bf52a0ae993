"""How does extraction scale with the workers of a Ray cluster, and what does it cost to merge their results?

Run after `dvc repro`: python -m benchmarks.cluster. Writes benchmarks/results/ray.json. One worker, two workers and
this process read the same sentences in the same shards, each with one thread; workers load their model before the clock
starts. Then the merge of 1,000 shards is estimated from 60, for the sizes of BERT-base and of an 8B decoder.
"""

import os
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"

from descry.activations.extraction import Reader, Shard, cut_shards, extract_shards
from descry.activations.kept import Kept
from descry.activations.record import Activations
from descry.compute.engine import Engine, LocalEngine, MakeWorker
from descry.compute.ray_engine import RayCrew, RayEngine
from descry.corpus.sampling import sample_probe
from descry.models.target import TargetLoader
from descry.schemas.split import SENTENCE_TABLE
from descry.storage.files import write_json
from descry.storage.tables import read_table

SHARD, ROUNDS, WORKERS = 128, 3, (1, 2)
READER = Reader(TargetLoader(Path("data/models/target").absolute()), ("mean",), top_k=100, batch_tokens=1024)
MERGED_FEW, SENTENCES = 60, 4096
SIZES = {"bert_base": (36_864, 100), "decoder_8b": (32 * 14_336, 100)}
"""Neurons and exemplars: 12 layers x 3,072, and 32 layers x 14,336."""


class Warm:
    """A `RayCrew` whose workers have loaded their models."""

    def __init__(self, crew: RayCrew[Shard, Kept], warming: Iterable[Shard]) -> None:
        self._crew = crew
        list(crew.map(warming))

    def map(self, _: MakeWorker[Shard, Kept], items: Iterable[Shard]) -> Iterator[tuple[Shard, Kept]]:
        return self._crew.map(items)


def timed(engine: Engine, texts: list[str]) -> tuple[float, Activations]:
    """Extract on an engine; returns the seconds and the activations."""
    probe = sample_probe(map(str, range(len(texts))), 500, "benchmark")
    pieces = (texts[start : start + SHARD] for start in range(0, len(texts), SHARD))
    start = perf_counter()
    [found] = extract_shards(engine, READER, cut_shards(pieces, probe), probe, len(texts))
    return perf_counter() - start, found


def speedup() -> dict[str, Any]:
    """Time this process and each number of workers, and compare their activations bit by bit."""
    table = read_table(Path("data/sentences/calibration.parquet"), SENTENCE_TABLE)
    texts = table["text"].tolist()
    torch.set_num_threads(1)
    alone, expected = timed(LocalEngine(), texts)
    RayEngine("", max(WORKERS), 1.0, 0.0)
    rounds, identical = [], True
    for _ in range(ROUNDS):
        times = {}
        for workers in WORKERS:
            cluster = RayEngine("", workers, 1.0, 0.0)
            with RayCrew(cluster, READER) as crew:
                warming = cut_shards([texts[:8]] * (4 * workers), np.zeros(0, np.int32))
                times[workers], found = timed(Warm(crew, warming), texts)
            pairs = ((getattr(found, f.name), getattr(expected, f.name)) for f in fields(Activations))
            identical &= all(np.array_equal(one, other) for one, other in pairs)
        rounds.append(times)
        print({workers: round(value, 2) for workers, value in times.items()}, flush=True)
    ratios = sorted(times[1] / times[2] for times in rounds)
    return {
        "speedup_2_workers": round(ratios[len(ratios) // 2], 3),
        "identical": identical,
        "seconds": {"alone": round(alone, 2)} | {f"{w}_workers": round(min(t[w] for t in rounds), 2) for w in WORKERS},
        "sentences": len(texts),
    }


def merging() -> dict[str, Any]:
    """Time the merge of shards as they come from another machine, each with other values. The more were merged, the
    fewer values of another can enter: of all after the first MERGED_FEW, the cost is that of the last half of these."""
    found = {}
    for name, (neurons, k) in SIZES.items():
        layer, index = np.zeros(neurons, np.int16), np.arange(neurons, dtype=np.int32)
        whole, times = Kept(layer, index, ["mean"], k, np.zeros(0, np.int32)), []
        for number in range(MERGED_FEW):
            part = whole.empty(np.zeros(0, np.int32))
            part.update(torch.randn(1, k + 1, neurons), number * (k + 1) + np.arange(k + 1))
            buffers: list[pickle.PickleBuffer] = []
            sent = pickle.dumps(part, protocol=5, buffer_callback=buffers.append)
            arrived = [memoryview(bytes(buffer)) for buffer in buffers]  # shared memory that Ray does not copy
            start = perf_counter()
            whole.merge(pickle.loads(sent, buffers=arrived))
            times.append(perf_counter() - start)
        late = times[MERGED_FEW // 2 :]
        found[name] = {
            "seconds_for_1000": round(sum(times) + (1000 - MERGED_FEW) * sum(late) / len(late), 1),
            "merged": MERGED_FEW,
            "megabytes_a_shard": round(sum(map(len, arrived)) / 1e6, 1),
        }
        print(name, found[name], [round(time, 2) for time in times], flush=True)
    return found


def main() -> None:
    content = {**speedup(), "merge": merging(), "threads_a_worker": 1, "cores": os.cpu_count()}
    write_json(Path("benchmarks/results/ray.json"), content)
    for name, value in content.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
