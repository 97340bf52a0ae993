import pickle
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from descry.activations import kept as what_is_kept
from descry.activations.extraction import Reader, Shard, cut_shards, extract, extract_poolings, extract_shards
from descry.activations.kept import Kept
from descry.activations.record import Activations
from descry.compute.batching import batch_by_tokens
from descry.compute.engine import Engine, LocalEngine, MakeWorker
from descry.corpus.sampling import sample_probe
from descry.errors import InputError
from descry.models.pooling import POOLINGS
from descry.models.target import Target, TargetLoader
from tests.conftest import TEXT, bert
from tests.support.families import FAMILIES

TEXTS = [
    "the battery died after a week",
    "love the sound of this small speaker and it is very very loud",
    "box was torn",
    "loud",
    "it is the small box and the box is loud and the box was small",
    "battery battery battery",
]


def slow_activations(folder: Path, text: str) -> list[np.ndarray]:
    """FFN activations of one sentence, layer by layer, from the layers' own weights: [tokens, width] without
    [CLS] and [SEP]."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        inputs = tokenizer(text, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states
        found = []
        for layer, state in zip(model.encoder.layer, states, strict=False):
            mask = torch.zeros(1, 1, 1, state.shape[1])
            attended = layer.attention(state, attention_mask=mask)[0]
            weights = layer.intermediate.dense
            found.append(torch.nn.functional.gelu(attended @ weights.weight.T + weights.bias)[0, 1:-1].numpy())
    return found


REDUCE = {
    "max": lambda v: v.max(0),
    "mean": lambda v: v.mean(0),
    "first": lambda v: v[0],
    "last": lambda v: v[-1],
    "negative_max": lambda v: -v.min(0),
    "negative_mean": lambda v: -v.mean(0),
    "negative_first": lambda v: -v[0],
    "negative_last": lambda v: -v[-1],
}


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_every_neuron_equals_an_independent_computation(tiny_bert: Path, pooling: str) -> None:
    found = extract(Target(tiny_bert), TEXTS, np.arange(len(TEXTS)), pooling=pooling, top_k=len(TEXTS), batch_tokens=40)
    expected = np.stack(
        [np.concatenate([REDUCE[pooling](v) for v in slow_activations(tiny_bert, text)]) for text in TEXTS]
    )
    restored = np.empty_like(expected)
    np.put_along_axis(restored, found.rows.T.astype(np.int64), found.values.T, axis=0)
    np.testing.assert_allclose(restored, expected, atol=2e-6)
    np.testing.assert_allclose(found.probe, expected, atol=2e-3)
    np.testing.assert_allclose(found.mean, expected.mean(0), atol=2e-6)
    assert found.count == len(TEXTS)
    assert found.layer.tolist() == [1] * 48 + [2] * 48 + [3] * 48
    assert found.index.tolist() == list(range(48)) * 3
    assert found.units == "inputs of encoder.layer.*.output.dense"


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_pooling_against_rows_worked_out_by_hand(pooling: str) -> None:
    values = torch.tensor([[[9.0, 9.0], [1.0, -4.0], [3.0, -2.0], [9.0, 9.0], [9.0, 9.0]]])
    own = torch.tensor([[False, True, True, False, False]])
    expected = {"max": [3.0, -2.0], "mean": [2.0, -3.0], "first": [1.0, -4.0], "last": [3.0, -2.0]}
    expected |= {"negative_max": [-1.0, 4.0], "negative_mean": [-2.0, 3.0]}
    expected |= {"negative_first": [-1.0, 4.0], "negative_last": [-3.0, 2.0]}
    assert POOLINGS[pooling](values, own).tolist() == [expected[pooling]]


@pytest.mark.parametrize("pooling", ["max", "mean", "first", "last"])
def test_negated_weights_swap_the_ends(tmp_path: Path, pooling: str) -> None:
    target = Target(FAMILIES["llama"].save(tmp_path))
    texts, both = ["the battery died", "word1 word2 word3 word4", "battery"], [pooling, f"negative_{pooling}"]

    def read() -> list[Activations]:
        return extract_poolings(target, texts, np.arange(3), poolings=both, top_k=2)

    positive, negative = read()
    for site in target.sites:
        _, up = (target.model.get_submodule(name) for name in site.ups)
        for module in (up, site.module):
            module.get_parameter("weight").data.neg_()
    swapped = read()
    for one, other in zip(swapped, (negative, positive), strict=True):
        for name in ("values", "rows", "beyond", "mean", "std", "maximum", "probe"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_a_batch_of_one_equals_a_batch_of_n_and_padding_never_enters(tiny_bert: Path, pooling: str) -> None:
    target = Target(tiny_bert)
    ids, special = target.encode(TEXTS)
    [together] = target.pool(ids, special, [pooling])
    for side in ("left", "right"):
        target.tokenizer.padding_side = side
        torch.testing.assert_close(target.pool(ids, special, [pooling])[0], together, atol=1e-6, rtol=1e-5)
    for row in range(len(TEXTS)):
        alone = target.pool([ids[row]], [special[row]], [pooling])[0][0]
        torch.testing.assert_close(alone, together[row], atol=1e-6, rtol=1e-5)


def test_the_embedded_model_gives_its_documented_neurons(embedded_model: Path) -> None:
    target = Target(embedded_model)
    assert target.widths == [1536] * 6
    ids, special = target.encode(["The battery died."])
    [one] = target.pool(ids, special, ["max"])
    expected = np.concatenate([v.max(0) for v in slow_activations(embedded_model, "The battery died.")])
    np.testing.assert_allclose(one[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("k", [3, 8])
def test_a_neuron_that_fires_rarely_has_the_sentences_on_which_it_fires_in_any_order_of_the_file(
    tmp_path: Path, pooling: str, k: int
) -> None:
    folder = bert(tmp_path / "relu", TEXT.split())
    model = AutoModel.from_pretrained(folder, hidden_act="relu")
    for layer in model.encoder.layer:
        layer.intermediate.dense.bias.data -= torch.linspace(0, 0.5, 48)  # the higher, the more rarely
    model.save_pretrained(folder)
    model.config.save_pretrained(folder)
    sets = []
    for order in (np.arange(len(MANY)), np.random.default_rng(0).permutation(len(MANY))):
        texts = [MANY[row] for row in order]
        found = extract(Target(folder), texts, np.arange(len(texts)), pooling=pooling, top_k=8, batch_tokens=60)
        sets.append([{texts[row] for row in rows if row >= 0} for rows in found.exemplars(k)])
    assert sets[0] == sets[1]
    fires = found.probe > 0
    sizes = np.array([len(own) for own in sets[1]])
    assert {0, k} < set(sizes.tolist())  # some never fire, some often, some in between
    np.testing.assert_array_equal(sizes[fires.sum(axis=0) <= k], fires.sum(axis=0)[fires.sum(axis=0) <= k])
    for neuron in np.flatnonzero(fires.sum(axis=0) <= k):
        assert sets[1][neuron] == {texts[row] for row in np.flatnonzero(fires[:, neuron])}


def test_too_long_a_sentence_is_cut_not_refused(tiny_bert: Path) -> None:
    found = extract(Target(tiny_bert), ["battery " * 500, "loud"], np.array([0]), top_k=1)
    assert np.isfinite(found.values).all()


def test_hooks_are_gone_after_a_pass(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    ids, special = target.encode(TEXTS[:1])
    target.pool(ids, special, ["max"])
    assert not any(site.module._forward_pre_hooks for site in target.sites)


def test_a_sentence_without_tokens_is_named(tiny_bert: Path) -> None:
    with pytest.raises(InputError, match="no token"):
        extract(Target(tiny_bert), ["loud", ""], np.array([0]))


def test_a_folder_that_is_no_model_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not load") as caught:
        Target(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_ends_in_one_line(tiny_bert: Path) -> None:
    with pytest.raises(InputError, match=r"runtime\.device is cuda, .*try cpu") as caught:
        Target(tiny_bert, device="cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tokens", [1, 7, 30, 1000])
def test_batches_hold_every_row_once_within_the_budget(tokens: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 30, size=101).tolist()
    batches = batch_by_tokens(lengths, tokens)
    assert sorted(np.concatenate(batches).tolist()) == list(range(101))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= tokens
    if tokens == 1000:
        assert len(batches) < 5
    assert batch_by_tokens([], 10) == []


def test_the_probe_follows_the_sentences_and_not_their_order() -> None:
    ids = [f"r{number}:0" for number in range(50)]
    sample = {ids[row] for row in sample_probe(ids, 10, "k")}
    backwards = ids[::-1]
    assert {backwards[row] for row in sample_probe(backwards, 10, "k")} == sample
    assert len(sample) == 10
    assert sample <= {ids[row] for row in sample_probe(ids, 20, "k")}
    assert sample_probe(ids, 99, "k").tolist() == list(range(50))


def corpus_of(texts: list[str], size: int, probe_rows: np.ndarray) -> Iterator[Shard]:
    return cut_shards((texts[start : start + size] for start in range(0, len(texts), size)), probe_rows)


def same(one: Activations, other: Activations) -> None:
    for field in fields(Activations):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


MANY = [f"{text} {other}" for text in TEXTS for other in TEXTS]
PROBE = np.array([0, 1, 7, 20, 35])


def reader(folder: Path) -> Reader:
    return Reader(TargetLoader(folder), ("mean", "max"), top_k=4, batch_tokens=30)


class Broken(Exception):
    pass


class BreaksOff:
    """An engine that works on so many shards and then breaks off; it notes which it worked on."""

    def __init__(self, after: int) -> None:
        self.after, self.worked = after, list[int]()

    def map(self, make: MakeWorker[Shard, Kept], items: Iterable[Shard]) -> Iterator[tuple[Shard, Kept]]:
        for shard, kept in LocalEngine().map(make, items):
            if len(self.worked) == self.after:
                raise Broken
            self.worked.append(shard.start)
            yield shard, kept


@pytest.mark.parametrize("after", [0, 1, 4, 8])
def test_a_run_broken_off_goes_on_where_it_was(tiny_bert: Path, tmp_path: Path, after: int) -> None:
    def run(engine: Engine, checkpoint: Path | None) -> list[Activations]:
        corpus = corpus_of(MANY, 4, PROBE)
        return extract_shards(engine, reader(tiny_bert), corpus, PROBE, len(MANY), checkpoint=checkpoint)

    straight, checkpoint = run(LocalEngine(), None), tmp_path / "kept.safetensors"
    with pytest.raises(Broken):
        run(first := BreaksOff(after), checkpoint)
    assert checkpoint.exists() == (after > 0)
    found = run(second := BreaksOff(99), checkpoint)
    for one, other in zip(straight, found, strict=True):
        same(one, other)
    assert sorted({*first.worked, *second.worked}) == list(range(0, len(MANY), 4))
    assert len(second.worked) < 9 or not after


def test_progress_is_told_within_a_shard_and_never_leaves_this_machine(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bar:
        def __init__(self, total: int, initial: int, **_: object) -> None:
            self.n, self.moves = initial, list[int]()
            bars.append(self)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, more: int) -> None:
            self.n += more
            self.moves.append(more)

    class Elsewhere:
        def map(self, make: MakeWorker[Shard, Kept], items: Iterable[Shard]) -> Iterator[tuple[Shard, Kept]]:
            return LocalEngine().map(pickle.loads(pickle.dumps(make)), items)

    bars: list[Bar] = []
    monkeypatch.setattr("descry.activations.extraction.tqdm", Bar)
    for engine in (LocalEngine(), Elsewhere()):
        extract_shards(engine, reader(tiny_bert), corpus_of(MANY, 18, PROBE), PROBE, len(MANY))
    here, elsewhere = bars
    assert here.n == elsewhere.n == len(MANY) == 36
    assert len([more for more in here.moves if more]) > 6
    assert [more for more in elsewhere.moves if more] == [18, 18]


def test_how_many_sentences_wait_changes_nothing(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tiny_bert)
    found = []
    for largest in (what_is_kept.LARGEST, 2 * sum(target.widths), 1):
        monkeypatch.setattr(what_is_kept, "LARGEST", largest)
        found.append(extract(target, TEXTS, np.arange(3), top_k=4))
    for other in found[1:]:
        for name in ("values", "rows", "beyond", "mean", "std", "maximum", "probe"):
            np.testing.assert_array_equal(getattr(other, name), getattr(found[0], name))


def test_shards_in_any_order_give_the_same(tiny_bert: Path) -> None:
    class Backwards:
        def map(self, make: MakeWorker[Shard, Kept], items: Iterable[Shard]) -> Iterator[tuple[Shard, Kept]]:
            return LocalEngine().map(make, reversed(list(items)))

    found = [
        extract_shards(engine, reader(tiny_bert), corpus_of(MANY, 5, PROBE), PROBE, len(MANY))
        for engine in (LocalEngine(), Backwards())
    ]
    for one, other in zip(*found, strict=True):
        same(one, other)


def test_a_damaged_checkpoint_is_done_anew(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.safetensors").write_bytes(b"nothing")
    found = [
        extract_shards(
            LocalEngine(), reader(tiny_bert), corpus_of(MANY, 5, PROBE), PROBE, len(MANY), checkpoint=checkpoint
        )
        for checkpoint in (None, tmp_path / "kept.safetensors")
    ]
    for one, other in zip(*found, strict=True):
        same(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_gpu_finds_the_same(tiny_bert: Path) -> None:
    sources = [TargetLoader(tiny_bert, device) for device in ("cpu", "cuda")]
    here, there = (
        extract_shards(LocalEngine(), Reader(s, ("mean", "max"), 4, 30), corpus_of(MANY, 5, PROBE), PROBE, len(MANY))
        for s in sources
    )
    for one, other in zip(here, there, strict=True):
        for name in ("values", "mean", "std", "maximum"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-4)
        np.testing.assert_allclose(one.probe, other.probe, atol=2e-3)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_near_and_says_where_it_is_slow(
    tiny_bert: Path, native: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": native})
    half = Target(tiny_bert, dtype="bfloat16")
    assert ("bfloat16" in capsys.readouterr().out) is not native
    one, other = (extract(target, MANY, PROBE, top_k=4) for target in (Target(tiny_bert), half))
    np.testing.assert_allclose(one.mean, other.mean, atol=0.02)
    assert not np.array_equal(one.mean, other.mean)
