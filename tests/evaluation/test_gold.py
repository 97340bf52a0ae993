import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, f1_score

from descry.evaluation import gold as gold_aspects
from descry.splits import Pair


def test_gold_becomes_labels_and_unknown_gold_is_missing() -> None:
    names = gold_aspects.list_aspects([["b"], None], [["a", "b"], []])
    assert names == ["a", "b"]
    assert gold_aspects.label_aspects([["b"], None, ["a", "b"], []], names).tolist() == [
        [0, 1],
        [-1, -1],
        [1, 1],
        [0, 0],
    ]
    assert gold_aspects.list_aspects([None, None]) == []


def test_scores_that_are_the_gold_are_matched_and_perfect() -> None:
    gold = (np.random.default_rng(6).random((100, 4)) < 0.3).astype(np.int8)
    scores = gold[:, [2, 0, 3, 1]].astype(np.float32)
    best, aspect_of = gold_aspects.match_aspects(scores, gold)
    assert best.tolist() == [1, 3, 0, 2]
    assert aspect_of.tolist() == [2, 0, 3, 1]
    labels = gold[:, [2, 0, 3, 1]]
    quality = gold_aspects.measure_label_quality(Pair(scores, scores), Pair(labels, labels), Pair(gold, gold))
    assert quality == {"mean_best_ap": 1.0, "mean_best_f1": 1.0}
    assert gold_aspects.measure_recovery(scores, gold) == {"mean_best_ap": 1.0, "matched_share": 1.0}


def world(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels and gold of 300 sentences: descriptors a and b tell the aspects one and two, c nothing."""
    generator = np.random.default_rng(seed)
    gold = (generator.random((300, 2)) < [0.3, 0.1]).astype(np.int8)
    scores = generator.normal(size=(300, 3)).astype(np.float32)
    scores[:, :2] += 2 * gold
    gold[:5] = -1
    return scores, (scores > 1.2).astype(np.int8), gold


def both() -> tuple[Pair[np.ndarray], Pair[np.ndarray], Pair[np.ndarray]]:
    one, two = world(0), world(1)
    return Pair(one[0], two[0]), Pair(one[1], two[1]), Pair(one[2], two[2])


def test_every_aspect_stands_with_its_descriptor_and_its_figures() -> None:
    scores, labels, gold = both()
    table = gold_aspects.tabulate_aspects((["one", "two"], ["a", "b", "c"]), scores, labels, gold)
    assert table[["aspect", "descriptor"]].to_numpy().tolist() == [["one", "a"], ["two", "b"]]
    known = gold.validation[5:]
    for column, row in enumerate(table.itertuples()):
        assert np.isclose(
            row.average_precision, average_precision_score(known[:, column], scores.validation[5:, column])
        )
        assert np.isclose(row.f1, f1_score(known[:, column], labels.validation[5:, column]))
        assert np.isclose(row.chance, known[:, column].mean())
        assert np.isclose(row.prevalence, labels.validation[5:, column].mean())
        assert row.sentences == known[:, column].sum()
    quality = gold_aspects.measure_quality(scores, labels, gold)
    assert np.isclose(quality["labels"]["mean_best_ap"], table["average_precision"].mean())
    assert np.isclose(quality["labels"]["mean_best_f1"], table["f1"].mean())


def test_confusion_counts_every_known_sentence() -> None:
    _, labels, gold = both()
    table = gold_aspects.tabulate_confusion((["one", "two"], ["a", "b", "c"]), labels.validation, gold.validation)
    counts = table.set_index(["aspect", "descriptor"])["sentences"]
    known, given = gold.validation[5:] == 1, labels.validation[5:] == 1
    assert counts["two", "a"] == (known[:, 1] & given[:, 0]).sum()
    assert counts["one", ""] == (known[:, 0] & ~given.any(1)).sum()
    assert counts["", "c"] == (~known.any(1) & given[:, 2]).sum()
    assert counts["", ""] == (~known.any(1) & ~given.any(1)).sum()
    assert len(table) == 3 * 4


def test_a_corpus_without_gold_has_no_aspects() -> None:
    scores, labels, _ = both()
    nothing = Pair(np.zeros((300, 0), np.int8), np.zeros((300, 0), np.int8))
    table = gold_aspects.tabulate_aspects(([], ["a", "b", "c"]), scores, labels, nothing)
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0
    assert list(table) == ["aspect", "descriptor", "sentences", "average_precision", "chance", "f1", "prevalence"]


def test_missing_labels_are_left_out_and_are_no_zeros() -> None:
    scores, labels, gold = both()
    names = (["one", "two"], ["a", "b", "c"])
    whole = gold_aspects.tabulate_aspects(names, scores, labels, gold)
    lost = np.random.default_rng(2).random((300, 3)) < 0.3
    lost[:100] = True
    some = Pair(*(np.where(lost, -1, part).astype(np.int8) for part in labels))
    shown = Pair(*(np.where(lost, np.nan, part) for part in scores))
    table = gold_aspects.tabulate_aspects(names, shown, some, gold)
    assert table["descriptor"].tolist() == whole["descriptor"].tolist()
    for column, row in enumerate(table.itertuples()):
        known = ~lost[:, column] & (gold.validation[:, 0] >= 0)
        wanted = gold.validation[known, column]
        assert np.isclose(row.average_precision, average_precision_score(wanted, scores.validation[known, column]))
        assert np.isclose(row.f1, f1_score(wanted, labels.validation[known, column]))
        assert np.isclose(row.chance, wanted.mean())
        assert np.isclose(row.prevalence, labels.validation[known, column].mean())
    quality = gold_aspects.measure_quality(shown, some, gold)
    assert abs(quality["labels"]["mean_best_ap"] - whole["average_precision"].mean()) < 0.1
    counts = gold_aspects.tabulate_confusion(names, some.validation, gold.validation)
    assert counts["sentences"].max() <= (~lost.all(axis=1)).sum()
