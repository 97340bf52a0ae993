"""What the page's script is given is what the tables say."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from descry.activations.neighbours import find_neighbours
from descry.report.content import Content, SplitContent, tabulate_pairs
from descry.report.page.further import RELATED
from descry.report.page.page import PLOTS, render_page
from descry.report.page.pieces import (
    BINS,
    count_histograms,
    pack,
    pack_all,
    round_bits,
    select_shown_rows,
)
from descry.report.plots.series import tabulate_series
from descry.report.shading import LEVELS
from tests.report.test_report import EXEMPLARS, HOSTILE, NAMES, a_run

SHOWN = 4


def unpacked(piece: str) -> tuple[dict[str, np.ndarray], Any]:
    raw = gzip.decompress(base64.b64decode(piece))
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return load(raw), json.loads(header["__metadata__"]["content"])


@pytest.fixture(scope="module")
def run() -> Content:
    return a_run(NAMES)


@pytest.fixture(scope="module")
def found(run: Content) -> dict[str, tuple[dict[str, np.ndarray], Any]]:
    return {name: unpacked(piece) for name, piece in pack_all(run, SHOWN).items()}


def test_a_piece_is_the_same_for_the_same_content() -> None:
    arrays = {"b": np.arange(3, dtype=np.uint16), "a": np.ones((2, 2), np.float32)}
    assert pack(arrays, {"é": [1, None]}) == pack(dict(reversed(arrays.items())), {"é": [1, None]})
    back, content = unpacked(pack(arrays, {"é": [1, None]}))
    assert content == {"é": [1, None]}
    assert all((back[name] == array).all() and back[name].dtype == array.dtype for name, array in arrays.items())


def test_pairs_are_those_of_the_tables(run: Content, found: dict[str, Any]) -> None:
    arrays, content = found["core"]
    pairs = run.calibration.pairs[run.calibration.pairs["enrichment_assigned"]]
    assert len(arrays["column"]) == len(pairs) >= 50
    for neuron in range(len(run.layer)):
        own = pairs[(pairs["layer"] == arrays["layer"][neuron]) & (pairs["index"] == arrays["index"][neuron])]
        own = own.sort_values("enrichment_rank")
        here = slice(*arrays["bounds"][neuron : neuron + 2])
        assert [NAMES[column] for column in arrays["column"][here]] == own["descriptor"].tolist()
        assert arrays["q"][here].tolist() == own["q"].tolist()
        assert arrays["count"][here].tolist() == own["count"].tolist()
        assert arrays["known"][here].tolist() == own["known"].tolist()
    strengths = run.associations.set_index(["layer", "index", "descriptor"])
    for at, row in enumerate(tabulate_pairs(run).itertuples()):
        key = (run.layer[row.neuron], run.index[row.neuron], NAMES[row.column])
        assert arrays["pearson_low"][at] == np.float32(strengths.loc[key, "pearson_low"])
    assert content["descriptors"][0]["layers"] == [
        int(((pairs["descriptor"] == NAMES[0]) & (pairs["layer"] == layer)).sum()) for layer in (1, 2, 3)
    ]


def test_a_pair_stands_beside_what_validation_says_of_it(run: Content, found: dict[str, Any]) -> None:
    arrays, _ = found["core"]
    tested = run.associations.set_index(["layer", "index", "descriptor"])
    for at, row in enumerate(tabulate_pairs(run).itertuples()):
        own = tested.loc[(run.layer[row.neuron], run.index[row.neuron], NAMES[row.column])]
        for name in ("validation_count", "validation_known", "validation_p"):
            assert arrays[name][at] == own[name]


def test_a_descriptor_is_summed_up_from_its_pairs(run: Content, found: dict[str, Any]) -> None:
    arrays, content = found["core"]
    for column, one in enumerate(content["descriptors"]):
        own = arrays["column"] == column
        assert one["neurons"][0] == own.sum()
        assert one["replicates"] == pytest.approx((arrays["validation_p"][own] <= 0.05).mean())
        assert one["correlation"] == pytest.approx(np.median(arrays["pearson"][own]), rel=1e-6)
        neuron, value, low, high = one["best"]
        assert value == pytest.approx(arrays["pearson"][own].max(), rel=1e-6)
        strengths = run.associations.set_index(["layer", "index", "descriptor"])
        row = strengths.loc[(run.layer[neuron], run.index[neuron], NAMES[column])]
        assert (low, high) == (row["pearson_low"], row["pearson_high"])


def test_exemplars_tokens_and_labels_are_those_of_the_run(run: Content, found: dict[str, Any]) -> None:
    texts, said = found["sentences"]
    rows = select_shown_rows(run, SHOWN)
    sides = {"calibration": run.calibration, "validation": run.validation}
    for neuron in range(0, len(run.layer), 7):
        arrays, _ = found[f"layer-{run.layer[neuron]}"]
        at = neuron % 20
        for split, side in sides.items():
            values = side.read.on_tokens.astype(np.float32)
            lengths = side.read.lengths[np.searchsorted(side.read.rows, side.read.exemplars)]
            starts = np.concatenate([[0], np.cumsum(lengths.ravel())])
            for slot in range(SHOWN):
                row = side.rows[neuron, slot]
                shown = arrays[f"{split}_exemplars"][at, slot]
                assert said["texts"][shown] == side.sentences["text"].iloc[row]
                assert arrays[f"{split}_values"][at, slot] == pytest.approx(side.activations[neuron, slot], rel=2**-12)
                spans = texts["spans"][slice(*texts["span_bounds"][shown : shown + 2])].reshape(-1, 2)
                words = [said["texts"][shown][start:stop] for start, stop in spans]
                assert words == side.sentences["text"].iloc[row].split()
                labels = texts["labels"][slice(*texts["label_bounds"][shown : shown + 2])]
                assert set(labels) == {2 * c + (v < 0) for c, v in enumerate(side.labels[row]) if v != 0}
                cell = neuron * side.read.exemplars.shape[1] + slot
                levels = arrays[f"{split}_levels"][slice(*arrays[f"{split}_bounds"][at * SHOWN + slot :][:2])]
                mean, peak = run.calibration.mean[neuron], arrays["peak"][at]
                expected = (values[starts[cell] : starts[cell + 1]] - mean) / (peak - mean)
                assert levels.tolist() == np.rint(LEVELS * expected.clip(0, 1)).tolist()
    assert len(said["texts"]) == sum(map(len, rows))
    assert set(HOSTILE) & set(said["texts"])


def test_some_token_of_every_neuron_is_its_peak(found: dict[str, Any]) -> None:
    run = a_run(NAMES)
    for layer in run.layers:
        arrays, _ = unpacked(pack_all(run, 100)[f"layer-{layer}"])
        for at in range(20):
            both = [
                arrays[f"{split}_levels"][slice(*arrays[f"{split}_bounds"][[6 * at, 6 * at + 6]])]
                for split in ("calibration", "validation")
            ]
            assert max(levels.max() for levels in both) == LEVELS


def test_histograms_count_every_sentence_once() -> None:
    probe = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float16)
    probe[:, 3] = 1.5
    counts, low, high = count_histograms(probe)
    for column in range(7):
        if column != 3:
            expected, _ = np.histogram(probe[:, column].astype(np.float32), BINS, (low[column], high[column]))
            assert np.abs(counts[column] - expected).sum() <= 2  # a value on an edge
    assert counts[3].tolist() == [500] + [0] * (BINS - 1)
    assert (counts.sum(axis=1) == 500).all()


def test_a_neuron_without_exemplars_and_a_tokenizer_that_tells_no_places(run: Content) -> None:
    def still(side: SplitContent) -> SplitContent:
        read, exemplars, rows = side.read, side.read.exemplars.copy(), side.rows.copy()
        sizes = read.lengths[np.searchsorted(read.rows, exemplars)].sum(axis=1)
        exemplars[5] = rows[5] = -1
        kept = read.on_tokens[np.repeat(np.arange(len(sizes)) != 5, sizes)]
        nowhere = np.zeros_like(read.start)
        read = replace(read, exemplars=exemplars, on_tokens=kept, start=nowhere, stop=nowhere)
        return replace(side, rows=rows, read=read)

    other = replace(run, calibration=still(run.calibration), validation=still(run.validation))
    given, changed = (unpacked(pack_all(one, SHOWN)["layer-1"])[0] for one in (run, other))
    for split in ("calibration", "validation"):
        assert (changed[f"{split}_exemplars"][5] == -1).all()
        levels = [[arrays[f"{split}_{name}"] for name in ("bounds", "levels")] for arrays in (given, changed)]
        (bounds, before), (new, after) = levels
        assert after.tolist() == np.delete(before, slice(bounds[5 * SHOWN], bounds[6 * SHOWN])).tolist()
        assert new[5 * SHOWN] == new[6 * SHOWN]
    texts, _ = unpacked(pack_all(other, SHOWN)["sentences"])
    assert not texts["spans"].any()


def test_rounded_floats_are_near_and_take_half_the_room() -> None:
    values = (np.random.default_rng(0).normal(size=20_000) * 10.0 ** np.arange(-10, 10).repeat(1000)).astype(np.float32)
    np.testing.assert_allclose(round_bits(values), values, rtol=2**-12)
    assert len(gzip.compress(round_bits(values).tobytes())) < 0.7 * len(gzip.compress(values.tobytes()))
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0, 1000.0], np.float32)
    np.testing.assert_array_equal(round_bits(odd), odd)


def test_the_map_is_that_of_the_relations(run: Content, found: dict[str, Any]) -> None:
    arrays, _ = found["map"]
    place = {name: column for column, name in enumerate(NAMES)}
    rows = zip(run.beyond.relations.to_dict("records"), run.beyond.relations_validation["p"], strict=True)
    for own, there in rows:
        at = place[own["descriptor"]], place[own["other"]]
        for name in RELATED:
            assert arrays[name][at] == pytest.approx(own[name], rel=2**-12)
        assert arrays["q"][at] == own["q"]
        assert arrays["replicates"][at] == (there <= 0.05)
    assert np.isnan(np.diagonal(arrays["ratio"])).all()
    assert sorted(arrays["order"]) == list(range(len(NAMES)))
    assert arrays["sizes"].tolist() == [20, 20, 20]


def test_what_drives_neurons_and_what_becomes_of_descriptors_is_what_the_tables_say(run: Content, found: Any) -> None:
    arrays, content = found["core"]
    described = set(run.assigned.calibration["neuron"])
    for neuron, kind in enumerate(arrays["kind"].tolist()):
        expected = run.beyond.triggers["class"][neuron] if neuron in described else None
        assert (content["classes"][kind] if kind < 3 else None) == expected
    pairs = run.beyond.transfer_pairs.set_index(["layer", "index", "descriptor"])["p"]
    for at, own in enumerate(tabulate_pairs(run).itertuples()):
        p = pairs[run.layer[own.neuron], run.index[own.neuron], NAMES[own.column]]
        assert arrays["transferred"][at] == (p <= 0.05)
    causes = run.beyond.ablation.set_index("descriptor")
    for one in content["descriptors"]:
        assert one["gloss"] == {NAMES[0]: "<u>a gloss"}.get(one["name"])
        assert one["causes"]["separation_above_low"] == pytest.approx(
            causes["separation_above_low"][one["name"]], abs=1e-6
        )
        assert one["causes"]["word_above"] is None
        assert (one["depth"] is None) == (one["name"] == NAMES[-1])
        assert (one["cofiring"] is None) == (one["name"] == NAMES[0])
    ratios = run.beyond.cofiring["ratio"].tolist()[1:]
    assert content["descriptors"][1]["cofiring"]["ratio"] is None
    assert [one["cofiring"]["ratio"] for one in content["descriptors"][2:]] == pytest.approx(ratios, abs=1e-6)
    assert content["descriptors"][0]["transfer"]["replication"] is None
    level = run.scores["transfer.replication"].levels["unassigned_pairs"]
    assert content["chance"]["transfer"] == level.mean
    words = [one for layer in (1, 2, 3) for one in found[f"layer-{layer}"][1]["triggers"]]
    for own, row in zip(words, run.beyond.triggers.to_dict("records"), strict=True):
        assert [word for word, _ in own["words"]] == row["words"]
        assert content["classes"][own["validation_class"]] == row["validation_class"]
        assert own["pattern"] == row["pattern"]


def test_negative_ends_and_what_neurons_write_are_what_the_tables_say(run: Content, found: Any) -> None:
    negative = run.beyond.negative
    assert negative is not None
    _, texts = found["sentences"]
    by_neuron = dict(list(negative.pairs.groupby(["layer", "index"])))
    written = run.beyond.written_pairs.dropna()
    for neuron in range(0, 60, 3):
        key = run.layer[neuron], run.index[neuron]
        arrays, content = found[f"layer-{key[0]}"]
        at = neuron % 20
        shown = content["negative"][at]
        own = by_neuron.get(key, negative.pairs.head(0))
        assert [NAMES[one[0]] for one in shown] == own["descriptor"].tolist()
        assert [one[3] for one in shown] == pytest.approx(own["q"].tolist(), rel=1e-3)
        assert all(one[4] == 0.75 and one[6] == -0.25 for one in shown)
        assert content["writes"][at]["promoted"] == [" <u>promoted", "b"]
        for end in ("positive", "negative"):
            of = written[(written["layer"] == key[0]) & (written["index"] == key[1]) & (written["end"] == end)]
            expected = [
                [NAMES.index(name), pytest.approx(value, abs=1e-3)]
                for name, value in zip(of["descriptor"], of["auroc"], strict=True)
            ]
            assert content["writes"][at][end] == expected
        for split, side in (("calibration", run.calibration), ("validation", run.validation)):
            ids = arrays[f"negative_{split}_exemplars"][at]
            rows = getattr(negative.rows, split)[neuron, :SHOWN]
            assert ids.tolist() == [-1] * SHOWN if neuron == 7 else (ids >= 0).all()
            assert [texts["texts"][n] for n in ids if n >= 0] == side.sentences["text"].iloc[rows[rows >= 0]].tolist()


def test_descriptions_in_free_text_are_those_of_the_table(run: Content, found: Any) -> None:
    for layer in (1, 2, 3):
        shown = found[f"layer-{layer}"][1]["judged"]
        assert len(shown) == 20
        for index, of_neuron in enumerate(shown):
            own = run.beyond.judged.query(f"layer == {layer} and index == {index}")
            aurocs = own[["auroc", "auroc_swapped", "auroc_descriptor"]].to_numpy()
            assert [one[:2] for one in of_neuron] == own[["whose", "description"]].to_numpy().tolist()
            figures = np.array([one[2:] for one in of_neuron], dtype=float).reshape(-1, 3)
            np.testing.assert_allclose(figures, aurocs, atol=5e-4)
    assert found["layer-2"][1]["judged"][4][0][-1] is None


def test_what_is_left_out_is_not_there(run: Content) -> None:
    names = (
        "triggers",
        "relations",
        "relations_validation",
        "cofiring",
        "depth",
        "transfer",
        "transfer_pairs",
        "ablation",
        "writes",
        "written_pairs",
        "judged",
        "glosses",
        "measures",
    )
    empty = {name: getattr(run.beyond, name).head(0) for name in names}
    bare = replace(run, beyond=replace(run.beyond, negative=None, **empty))
    found = {name: unpacked(piece) for name, piece in pack_all(bare, SHOWN).items()}
    arrays, content = found["core"]
    assert (arrays["kind"] == 255).all()
    assert (arrays["transferred"] == 255).all()
    details = ("transfer", "causes", "depth", "cofiring", "gloss")
    assert all(one[name] is None for one in content["descriptors"] for name in details)
    assert content["chance"] == {"transfer": None}
    assert set(found["map"][0]) == {"order", "sizes"}
    assert found["layer-1"][1] == {"triggers": None, "writes": None, "negative": None, "judged": None}
    assert not [name for name in found["layer-1"][0] if name.startswith("negative_")]
    page = render_page(bare, tabulate_series(bare), dict.fromkeys(PLOTS, b"\x89PNG" + bytes(20)), exemplars=2)
    assert "#beyond" not in page[: page.index("<script")]
    assert "Polysemanticity" not in page[: page.index("<script")]


def test_a_neuron_with_few_exemplars_is_shown_with_those_and_one_without_any_with_none(run: Content) -> None:
    few, none = 3, 4
    sides = []
    for side in (run.calibration, run.validation):
        rows, read = side.rows.copy(), side.read
        rows[few, 2:] = rows[none] = -1
        shown = np.where(rows[:, : read.exemplars.shape[1]] >= 0, read.exemplars, -1)
        kept = np.repeat(shown.ravel() >= 0, read.sizes.ravel())
        read = replace(read, exemplars=shown, on_tokens=read.on_tokens[kept])
        sides.append(replace(side, rows=rows, read=read))
    neighbours = find_neighbours(sides[0].rows, sides[1].rows, 3)
    changed = replace(run, calibration=sides[0], validation=sides[1], neighbours=neighbours)
    arrays, _ = unpacked(pack_all(changed, SHOWN)["layer-1"])
    assert (arrays["calibration_exemplars"][few] >= 0).tolist() == [True, True, False, False]
    assert (arrays["validation_exemplars"][none] == -1).all()
    assert arrays["sizes"][[few, none, 5]].tolist() == [[2, 2], [0, 0], [EXEMPLARS, EXEMPLARS]]
    assert arrays["cut"][few] == pytest.approx(sides[0].activations[few, 1], rel=2**-12)
    assert arrays["cut"][none] == np.inf
    assert (arrays["neighbour"][none] == -1).all()
    before, _ = unpacked(pack_all(run, SHOWN)["layer-1"])
    others = np.arange(20)[5:]
    np.testing.assert_array_equal(
        arrays["calibration_exemplars"][others] >= 0, before["calibration_exemplars"][others] >= 0
    )
    np.testing.assert_array_equal(arrays["peak"][others], before["peak"][others])
