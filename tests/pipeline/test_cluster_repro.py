"""The same work on a real Ray cluster of two nodes on this machine, and what it bears."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as Nodes

import tests
from descry.activations.extraction import Reader, cut_shards, extract_shards
from descry.activations.record import Activations
from descry.compute.engine import Engine, LocalEngine
from descry.compute.ray_engine import RayEngine
from descry.errors import InputError
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Request
from descry.llm.local import LocalModel
from descry.llm.options import LocalOptions
from descry.llm.remote import LlmLoader, RemoteModel
from descry.models.target import TargetLoader
from descry.settings.llms import LocalLlm
from tests.activations.test_extraction import TEXTS
from tests.conftest import TEXT, bert
from tests.llm.test_local import built
from tests.support.squares import Squares

OPTIONS = LocalOptions(**LocalLlm(client="transformers", batch_tokens=200).model_dump(exclude={"client"}))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head and another node, of one core each."""
    found = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture(scope="module")
def cluster(nodes: Nodes) -> RayEngine:
    ray.init(address=nodes.address, log_to_driver=False, runtime_env={"py_modules": [tests]})
    return RayEngine(nodes.address, workers=2, cpus=1.0, gpus=0.0)


def extracted(engine: Engine, folder: Path) -> list[Activations]:
    texts = [f"{text} {other}" for text in TEXTS for other in TEXTS]
    probe = np.arange(0, len(texts), 3)
    reader = Reader(TargetLoader(folder), ("mean", "max"), top_k=5, batch_tokens=40)
    pieces = (texts[start : start + 4] for start in range(0, len(texts), 4))
    return extract_shards(engine, reader, cut_shards(pieces, probe), probe, len(texts))


def loaded(cluster: RayEngine, folder: Path) -> RemoteModel:
    """The language model of a folder, on the cluster's workers."""
    return RemoteModel(cluster, LlmLoader(folder, "tiny", "0", OPTIONS))


def test_a_worker_killed_in_the_middle_loses_nothing(cluster: RayEngine, tmp_path: Path) -> None:
    found = list(cluster.map(Squares(tmp_path, bad=7, times=2), range(20)))
    assert sorted(found) == [(number, number * number) for number in range(20)]
    assert len(list(tmp_path.glob("7-*"))) == 3


def test_both_workers_work_and_items_are_taken_as_they_are_needed(cluster: RayEngine, tmp_path: Path) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(12):
            taken.append(number)
            yield number

    for done, _ in enumerate(cluster.map(Squares(tmp_path, crowd=2), items())):
        assert len(taken) <= done + 1 + 2 * cluster.workers
    assert len(taken) == 12


def test_what_cannot_be_borne_ends_in_one_line(
    cluster: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("descry.compute.ray_engine.RETRIES", 1)
    with pytest.raises(InputError, match=r"^-3 is negative$"):
        list(cluster.map(Squares(tmp_path), [1, 2, -3, 4]))
    with pytest.raises(InputError, match="die again and again") as caught:
        list(cluster.map(Squares(tmp_path, bad=5, times=10**6), [5]))
    assert "\n" not in str(caught.value)
    assert len(list(tmp_path.glob("5-*"))) == cluster.workers + 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("load", "said"), [(extracted, "the target model does not load"), (loaded, r"llms\.tiny: .* does not load")]
)
def test_a_model_that_does_not_load_ends_in_one_line(
    cluster: RayEngine, tmp_path: Path, load: Callable[[RayEngine, Path], object], said: str
) -> None:
    with pytest.raises(InputError, match=rf"\A.*{said}.*\Z"):
        load(cluster, tmp_path)
    gc.collect()  # what did not load is in a cycle with its error, and its workers would keep their cores


def compare_activations(cluster: RayEngine, folder: Path) -> None:
    model = bert(folder / "bert", TEXT.split())
    for one, other in zip(extracted(LocalEngine(), model), extracted(cluster, model), strict=True):
        for field in fields(Activations):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def compare_answers(cluster: RayEngine, folder: Path) -> None:
    model = built(folder, "chat")
    requests = [Request(f"say {text}", 6) for text in TEXTS]
    local, remote = LocalModel(model, "tiny", "0", OPTIONS), loaded(cluster, model)
    assert remote.identity == local.identity
    assert remote.batches(requests) == local.batches(requests)
    answers = [AnswerCache(folder / name) for name in ("here", "there")]
    here, there = (ask(client, requests, kept, "t") for client, kept in zip((local, remote), answers, strict=True))
    assert here == there
    assert all(isinstance(answer, Answer) for answer in here)


@pytest.mark.long
@pytest.mark.parametrize("compare", [compare_activations, compare_answers])
def test_workers_give_what_this_machine_gives(
    cluster: RayEngine, tmp_path: Path, compare: Callable[[RayEngine, Path], None]
) -> None:
    compare(cluster, tmp_path)


def test_a_node_killed_in_the_middle_loses_nothing(nodes: Nodes, cluster: RayEngine, tmp_path: Path) -> None:
    found = []
    for pair in cluster.map(Squares(tmp_path, seconds=0.2), range(30)):
        found.append(pair)
        if len(found) == 6:
            nodes.remove_node(next(node for node in nodes.worker_nodes), allow_graceful=False)
    assert sorted(found) == [(number, number * number) for number in range(30)]
