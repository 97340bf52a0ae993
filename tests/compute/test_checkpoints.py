import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from descry.compute import checkpoints
from descry.compute.checkpoints import Saver, compute_fingerprint, open_workspace
from descry.compute.engine import LocalEngine
from descry.embedding.sharded import EncoderLoader, ShardedEncoder
from descry.errors import InputError
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.storage.tables import count_rows, read_pieces, write_table


def test_every_ingredient_is_in_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"a": 1, "b": {"c": [1, 2]}}
    assert compute_fingerprint(given) == compute_fingerprint({"b": {"c": [1, 2]}, "a": 1})
    others = [{"a": 2, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [2, 1]}}, {"a": 1}, {**given, "d": 0}]
    assert len({compute_fingerprint(other) for other in [given, *others]}) == 5
    before = compute_fingerprint(given)
    monkeypatch.setattr(checkpoints, "version", lambda name: "0")
    assert compute_fingerprint(given) != before
    monkeypatch.undo()
    shutil.copytree(Path(checkpoints.__file__).parents[1], tmp_path / "descry")
    monkeypatch.setattr(checkpoints, "__file__", str(tmp_path / "descry" / "compute" / "checkpoints.py"))
    assert compute_fingerprint(given) == before
    (tmp_path / "descry" / "models" / "neurons.py").write_text("changed")
    assert compute_fingerprint(given) != before


def test_a_workspace_outlives_what_breaks_off_and_no_other_key(tmp_path: Path) -> None:
    def broken_off(error: BaseException) -> None:
        with open_workspace(tmp_path / "stage", "one") as folder:
            (folder / "shard").touch()
            raise error

    for error in (KeyboardInterrupt(), InputError("x: bad")):
        with pytest.raises(type(error)):
            broken_off(error)
    with open_workspace(tmp_path / "stage", "one") as folder:
        assert (folder / "shard").exists()
    assert not (tmp_path / "stage").exists()
    with pytest.raises(InputError):
        broken_off(InputError("x: bad"))
    with open_workspace(tmp_path / "stage", "two") as folder:
        assert [path.name for path in (tmp_path / "stage").iterdir()] == ["two"]
        assert not list(folder.iterdir())


def test_saving_takes_a_twentieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now, saved = [0.0], list[float]()
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now[0])

    def save() -> None:
        saved.append(now[0])
        now[0] += 1.0

    saver = Saver(save)
    for _ in range(1000):
        now[0] += 0.5
        saver.shard_done()
    assert saved[0] == 0.5
    assert 15 <= len(saved) <= 26
    assert min(later - earlier for earlier, later in pairwise(saved)) >= 20


def test_pieces_are_the_column_cut_up(tmp_path: Path) -> None:
    ids = [f"r{number}:0" for number in range(10_000)]
    texts = [f"{one} says so" for one in ids]
    table = pd.DataFrame({"sentence_id": ids, "review_id": ids, "position": np.int32(0), "product": "", "text": texts})
    write_table(tmp_path / "table.parquet", table, SENTENCE_TABLE)
    assert count_rows(tmp_path / "table.parquet") == 10_000
    for size in (999, 4096, 5000, 20_000):
        pieces = list(read_pieces(tmp_path / "table.parquet", SENTENCE_TABLE, "text", size))
        assert {len(piece) for piece in pieces[:-1]} <= {size}
        assert [text for piece in pieces for text in piece] == table["text"].tolist()
    with pytest.raises(InputError, match="holds sentences of schema 1, not gold"):
        next(read_pieces(tmp_path / "table.parquet", GOLD_TABLE, "sentence_id"))


def test_an_encoder_in_shards_asks_only_for_what_is_not_kept(tiny_bert: Path, tmp_path: Path) -> None:
    asked = list[int]()

    class Counting(LocalEngine):
        def map(self, make, items):  # type: ignore[no-untyped-def]
            for item, result in super().map(make, items):
                asked.append(len(item))
                yield item, result

    source = EncoderLoader(tiny_bert, "cpu", 64)
    encoder = ShardedEncoder(source, Counting(), 3, tmp_path)
    texts = ["the battery died", "loud", "small box", "love the sound", "torn", "it is", "week"]
    vectors = encoder.encode(texts)
    assert asked == [3, 3, 1]
    np.testing.assert_allclose(vectors, source.load().encode(texts), atol=1e-6)
    first, second, _ = tmp_path.iterdir()
    first.unlink()
    second.write_bytes(b"damaged")
    asked.clear()
    np.testing.assert_array_equal(encoder.encode(texts), vectors)
    assert len(asked) == 2
    asked.clear()
    encoder.encode([*texts[:3], "another", *texts[4:]])
    assert asked == [3]
