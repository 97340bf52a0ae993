import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.activations import accumulators
from descry.activations import kept as what_is_kept
from descry.activations.accumulators import Moments, Probe, TopK
from descry.activations.kept import Kept
from descry.errors import InputError


def matrix(seed: int, sentences: int, neurons: int, ties: bool = True) -> torch.Tensor:
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=(sentences, neurons)).astype(np.float32))
    return (values * 2).round() / 2 if ties else values


def chunks(seed: int, sentences: int) -> list[torch.Tensor]:
    """The rows in random order, cut at random places."""
    generator = np.random.default_rng(seed)
    cuts = np.sort(generator.integers(0, sentences + 1, size=3))
    return [torch.from_numpy(part) for part in np.split(generator.permutation(sentences), cuts)]


def slow_top(values: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The definition: sort every column by value, then by row."""
    columns = values.T.tolist()
    rows = [sorted(range(len(column)), key=lambda row: (-column[row], row))[:k] for column in columns]
    return np.array([[c[r] for r in rs] for c, rs in zip(columns, rows, strict=True)], np.float32), np.array(rows)


def pretend_it_is_a_device(patch: pytest.MonkeyPatch) -> None:
    """Let the CPU go the way of a device that is not to be waited for."""
    patch.setattr(accumulators, "on_cpu", lambda _: False)
    patch.setattr(what_is_kept, "on_cpu", lambda _: False)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 400),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 200),
    st.booleans(),
)
def test_streamed_top_k_equals_a_full_sort(
    seed: int, sentences: int, neurons: int, k: int, cached: int, device: bool
) -> None:
    values, order = matrix(seed, sentences, neurons), np.random.default_rng(seed).permutation(sentences)
    top = TopK(neurons, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accumulators, "_CACHED", cached)  # blocks of one neuron, or of several
        patch.setattr(accumulators, "_LAUNCHED", cached)
        if device:
            pretend_it_is_a_device(patch)
        for rows in torch.from_numpy(order).split(1 + seed % 50):  # few and many at once
            top.update(values[rows], rows)
        top = TopK.restore(top.state(), k)
        found, rows, beyond = top.compute()
    expected, expected_rows = slow_top(values, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(beyond, slow_top(values, k + 1)[0][:, -1])


def test_ties_go_to_the_lower_row_and_minus_zero_is_zero() -> None:
    values = torch.tensor([[-0.0], [0.0], [-1.0], [0.0]])
    top = TopK(1, 3)
    top.update(values.flip(0), torch.tensor([3, 2, 1, 0]))
    assert top.compute()[1].tolist() == [[0, 1, 3]]


def test_extreme_values_keep_their_order() -> None:
    values = torch.tensor([[-3e38], [3e38], [-1e-45], [1e-45], [0.0]])
    top = TopK(1, 5)
    top.update(values, torch.arange(5))
    found, rows, beyond = top.compute()
    assert rows.tolist() == [[1, 3, 4, 2, 0]]
    assert beyond == np.float32(-3e38)
    assert found[0, 0] == np.float32(3e38)


def moments_of(values: torch.Tensor) -> Moments:
    moments = Moments(values.shape[1])
    if len(values):
        moments.update(values)
    return moments


def state(moments: Moments) -> tuple[object, ...]:
    return (moments.count, *(tuple(array.tolist()) for array in moments.compute()))


def test_moments_agree_with_numpy() -> None:
    values = matrix(3, 500, 6, ties=False) * torch.tensor([1e-3, 1.0, 10.0, 300.0, 5e4, 0.0]) + 0.25
    mean, std, maximum = moments_of(values).compute()
    exact = values.numpy().astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(std, exact.std(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(maximum, values.numpy().max(0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_merge_is_associative_and_commutative_to_the_last_bit(seed: int) -> None:
    values = matrix(seed, 60, 4, ties=False) * 1000
    parts = [values[rows] for rows in chunks(seed, 60)]
    straight = state(moments_of(values))
    left, right = moments_of(parts[0]), moments_of(parts[3])
    for part in parts[1:]:
        left.merge(moments_of(part))
    for part in (parts[2], parts[0], parts[1]):
        right.merge(moments_of(part))
    assert state(left) == straight
    assert state(right) == straight


def test_top_k_and_probe_merge_in_any_order() -> None:
    values = matrix(5, 50, 4)
    sample = np.array([0, 7, 20, 49])
    results = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        top, probe = TopK(4, 6), Probe(4, sample)
        for number in order:
            rows = chunks(5, 50)[number]
            part_top, part_probe = TopK(4, 6), Probe(4, sample)
            part_top.update(values[rows], rows)
            part_probe.update(values[rows], rows.numpy())
            top.merge(part_top)
            probe.merge(part_probe)
        results.append(([part.tolist() for part in top.compute()], probe.compute().tolist()))
    assert results[0] == results[1]
    assert results[0][0][1] == slow_top(values, 6)[1].tolist()
    assert results[0][1] == values[sample].to(torch.float16).tolist()


def test_moments_are_those_of_whole_numbers() -> None:
    scale, offset = torch.tensor([1e-6, 1.0, 40.0, 5e4, 2e5]), torch.tensor([0, 0.125, -3, 0, 0])
    values = matrix(7, 700, 5, ties=False) * scale + offset
    moments = Moments(5)
    for part in values.split(600):
        moments.update(part)
    moments.merge(moments_of(values[:10]))
    for neuron, column in enumerate(torch.cat([values, values[:10]]).T.tolist()):
        whole = [round(value * 2**24) for value in column]
        sums, squares = (array[:, neuron].tolist() for array in (moments.state()["sums"], moments.state()["squares"]))
        assert sum(limb << 22 * place for place, limb in enumerate(sums)) == sum(whole)
        assert sum(limb << 22 * place for place, limb in enumerate(squares)) == sum(value * value for value in whole)


@pytest.mark.parametrize("neurons", [1, 30])
def test_a_device_that_is_not_waited_for_keeps_the_same(neurons: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.stack([matrix(seed, 1000, neurons, ties=bool(seed)) for seed in range(2)])
    probe_rows = np.arange(0, 1000, 7, dtype=np.int32)

    def keep() -> Kept:
        kept = Kept(np.ones(neurons, np.int16), np.arange(neurons, dtype=np.int32), ["mean", "max"], 5, probe_rows)
        for rows in np.array_split(np.random.default_rng(0).permutation(1000), 60):
            kept.update(values[:, rows], rows)
        return kept

    monkeypatch.setattr(what_is_kept, "WAITING", 40)
    here = keep()
    monkeypatch.setattr(what_is_kept, "WAITING_ELSEWHERE", 33)
    pretend_it_is_a_device(monkeypatch)
    for one, other in zip(here.compute(), keep().compute(), strict=True):
        for name, array in vars(one).items():
            np.testing.assert_array_equal(getattr(other, name), array)


def test_a_merge_takes_what_can_still_enter_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.arange(3000.0).view(3000, 1).repeat(1, 4)
    whole, appended = TopK(4, 9), []
    whole.update(values[:2000], torch.arange(2000))
    append = TopK._append
    monkeypatch.setattr(TopK, "_append", lambda top, keys: (appended.append(keys.shape[1]), append(top, keys)))
    for start, enter in ((2000, 10), (0, 0)):
        part = TopK(4, 9)
        part.update(values[start : start + 500], torch.arange(start, start + 500))
        appended.clear()
        whole.merge(part)
        assert appended == [enter]
    assert whole.compute()[1][0].tolist() == list(range(2499, 2490, -1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.permutations(range(4)), st.sets(st.integers(0, 29), min_size=1))
def test_what_is_kept_is_the_same_whoever_saw_what_and_whenever_it_was_set_aside(
    seed: int, sentences: int, order: list[int], sample: set[int]
) -> None:
    values = matrix(seed, sentences, 3)
    probe_rows = np.array(sorted(row for row in sample if row < sentences), dtype=np.int32)
    layer, index = np.ones(3, np.int16), np.arange(3, dtype=np.int32)
    straight, merged = (Kept(layer, index, ["mean"], 4, probe_rows) for _ in range(2))
    straight.update(values[None], np.arange(sentences))
    for number in order:
        rows = chunks(seed, sentences)[number]
        part = straight.empty(probe_rows)
        if len(rows):
            part.update(values[rows][None], rows.numpy())
        merged.merge(Kept.restore(part.state(), ["mean"], 4))
        merged = Kept.restore(merged.state(), ["mean"], 4)
    for one, other in zip(straight.compute(), merged.compute(), strict=True):
        for name, array in vars(one).items():
            np.testing.assert_array_equal(getattr(other, name), array)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 2.0**21])
def test_a_model_that_overflows_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        moments_of(torch.tensor([[0.0], [bad]])).compute()


def test_a_row_that_never_came_is_noticed() -> None:
    probe = Probe(2, np.array([0, 3]))
    probe.update(torch.ones(1, 2), np.array([3]))
    with pytest.raises(ValueError, match="1 sampled rows"):
        probe.compute()
