"""Descriptions that a language model writes: what it is shown, what is read, and which candidate is kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from descry.activations.record import Activations
from descry.errors import InputError
from descry.judging.writing import (
    COMPLETED_FIELDS,
    FIELDS,
    Ranking,
    Writer,
    rank_by_activation,
    rank_by_score,
    read_description,
    select_shown,
)
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Failure, Request
from descry.llm.prompts import Prompt
from tests.conftest import ROOT
from tests.judging.test_judge import WordEncoder
from tests.support.echo import Echo

UNITS, SENTENCES, KEPT = 6, 300, 40
PROMPT = Prompt.parse("Shared by\n{sentences}\nnot by\n{others}\nis noise and rattling:", FIELDS, "made.txt")
TEXTS = [f"w{row % 7} w{7 + row % 97} w{7 + row % 89}" for row in range(SENTENCES)]


def record(seed: int = 0) -> Activations:
    """Unit n fires on the sentences that have the word wn; the probe holds two sentences of three."""
    values = np.array([[f"w{unit}" in text.split() for unit in range(UNITS)] for text in TEXTS], dtype=np.float32)
    values += np.random.default_rng(seed).normal(0, 0.1, values.shape).astype(np.float32)
    rows = np.argsort(-values, axis=0, kind="stable")[:KEPT].T.astype(np.int32)
    probe_rows = np.flatnonzero(np.arange(SENTENCES) % 3).astype(np.int32)
    return Activations(
        count=SENTENCES,
        layer=np.repeat([1, 2], UNITS // 2).astype(np.int16),
        index=np.tile(np.arange(UNITS // 2), 2).astype(np.int32),
        values=np.take_along_axis(values.T, rows, 1),
        rows=rows,
        beyond=np.sort(values, axis=0)[-KEPT - 1],
        mean=values.mean(0),
        std=values.std(0),
        maximum=values.max(0),
        probe_rows=probe_rows,
        probe=values[probe_rows].astype(np.float16),
        pooling="mean",
    )


def ranked(active: Activations, unit: int) -> Ranking:
    return rank_by_activation(active, [unit], 12)[0]


def writer(client: Echo, folder: Path, candidates: int = 3, exemplars: int = 4) -> Writer:
    return Writer(client, AnswerCache(folder), PROMPT, candidates, exemplars, 20)


class Scripted(Echo):
    """Answers the prompts of each unit, in turn, by a list of answers."""

    def __init__(self, answers: Sequence[str | Failure]) -> None:
        super().__init__()
        self.answers = list(answers)

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        self.asked += [request.prompt for request in requests]
        replies = [self.answers.pop(0) for _ in requests]
        return [Answer(reply) if isinstance(reply, str) else reply for reply in replies]

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return [[place] for place in range(len(requests))]


def test_candidates_share_no_sentence_and_others_are_just_below_those_that_fire() -> None:
    active = record()
    for unit in range(UNITS):
        shown = select_shown(ranked(active, unit), 3, 4)
        strongest = np.concatenate([one.strongest for one in shown])
        others = np.concatenate([one.others for one in shown])
        assert sorted(strongest) == sorted(active.exemplars(12)[unit])
        assert len(set(strongest) | set(others)) == 24
        values = active.probe[:, unit].astype(np.float32)
        fired = set(active.probe_rows[values > np.sort(values)[-1 - len(values) // 10]].tolist())
        assert not fired & set(others.tolist())
        rest = [row for row in active.probe_rows if row not in fired and row not in strongest and row not in others]
        at = {int(row): value for row, value in zip(active.probe_rows, values, strict=True)}
        assert min(at[int(row)] for row in others) >= max(at[int(row)] for row in rest)


def test_the_candidate_that_fits_hidden_sentences_best_is_kept(tmp_path: Path) -> None:
    client = Scripted(["w9", "w0", "w17", "w11 w1", "w1", "w1"])
    table = writer(client, tmp_path).describe(
        rank_by_activation(record(), [0, 1], 12), TEXTS, ["w50", "w1"], WordEncoder()
    )
    assert table["description"].tolist() == ["w0", "w1"]
    assert table.index.tolist() == [0, 1]
    assert table["candidates"].map(list).tolist() == [["w0", *table["candidates"][0][1:]], ["w1", "w11 w1"]]
    assert sorted(table["candidates"][0]) == ["w0", "w17", "w9"]
    for scores in table["candidate_aurocs"]:
        assert list(scores) == sorted(scores, reverse=True)
    assert (table["auroc"] > 0.85).all()
    assert table["descriptor_auroc"][0] < 0.8  # another word
    assert table["descriptor_auroc"][1] == pytest.approx(table["auroc"][1])  # the same text


def test_a_descriptor_is_described_by_its_clearest_sentences_against_the_clearest_of_others(tmp_path: Path) -> None:
    scores = np.random.default_rng(1).random((SENTENCES, 2)).astype(np.float32)
    labels = np.array([[f"w{column}" in text.split() for column in range(2)] for text in TEXTS], dtype=np.int8)
    labels[5:60:7, 0] = -1
    probe_rows = record().probe_rows
    ranking = rank_by_score(labels, scores, probe_rows)[0]
    shown = select_shown(ranking, 3, 4)
    strongest, others = (np.concatenate(part) for part in zip(*shown, strict=True))
    holds, lacks = (np.flatnonzero(labels[:, 0] == label) for label in (1, 0))
    assert set(strongest) == set(holds[np.argsort(-scores[holds, 0])[:12]])
    lacks = lacks[np.isin(lacks, probe_rows)]
    assert set(others) == set(lacks[np.argsort(-scores[lacks, 0])[:12]])
    client = Scripted(["w9", "w0", "w17", "w1", "w1", "w1"])
    table = writer(client, tmp_path).describe(
        rank_by_score(labels, scores, probe_rows), TEXTS, ["w50", "w1"], WordEncoder()
    )
    assert table["description"].tolist() == ["w0", "w1"]
    assert table["auroc"].tolist() == pytest.approx([1.0, 1.0])  # labels are exactly the words
    assert table["descriptor_auroc"][1] == pytest.approx(1.0)


def test_a_descriptor_without_sentences_has_no_gloss(tmp_path: Path) -> None:
    scores, probe_rows = np.ones((SENTENCES, 1), np.float32), record().probe_rows
    rankings = rank_by_score(np.zeros((SENTENCES, 1), np.int8), scores, probe_rows)
    assert writer(Scripted([]), tmp_path).describe(rankings, TEXTS, ["w0"], WordEncoder()).empty


def test_no_sentence_of_a_prompt_decides(tmp_path: Path) -> None:
    """A candidate that says what is shown, and nothing else, scores as chance."""
    active = record()
    shown = {int(row) for one in select_shown(ranked(active, 0), 3, 4) for part in one for row in part}
    texts = [f"w110 {text}" if row in shown else text for row, text in enumerate(TEXTS)]
    client = Scripted(["w110", "w0", "w110 w112"])
    table = writer(client, tmp_path).describe(rank_by_activation(active, [0], 12), texts, ["w1"], WordEncoder())
    scores = dict(zip(table["candidates"][0], table["candidate_aurocs"][0], strict=True))
    assert scores["w110"] == pytest.approx(0.5, abs=0.15)
    assert table["description"][0] == "w0"


def test_echoes_are_dropped_and_a_unit_without_candidates_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    active = record()
    sentence = TEXTS[select_shown(ranked(active, 0), 2, 4)[1].strongest[0]]
    client = Scripted(["noise and rattling", sentence, "Noise and rattling.", "w1"])
    table = writer(client, tmp_path, candidates=2).describe(
        rank_by_activation(active, [0, 1], 12), TEXTS, ["w0", "w1"], WordEncoder()
    )
    assert table.index.tolist() == [1]
    assert table["candidates"].map(list).tolist() == [["w1"]]
    said = capsys.readouterr().out
    assert "describe: 3 of 4 answers repeat their prompt or say nothing, and are left out" in said
    assert "4 calls, 0 answered already, 4 to make" in said


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    first = Scripted(["w9", "w0", "w17"])
    table = writer(first, tmp_path).describe(rank_by_activation(record(), [0], 12), TEXTS, ["w0"], WordEncoder())
    second = Scripted([])
    assert (
        writer(second, tmp_path)
        .describe(rank_by_activation(record(), [0], 12), TEXTS, ["w0"], WordEncoder())
        .equals(table)
    )
    assert len(first.asked) == 3
    assert not second.asked


def test_too_many_failures_are_one_line(tmp_path: Path) -> None:
    client = Scripted(["w9", Failure("too long"), "w17"])
    with pytest.raises(InputError, match=r"^describe: echo leaves 1 of 3 prompts unanswered \(too long\); [^\n]*$"):
        writer(client, tmp_path).describe(rank_by_activation(record(), [0], 12), TEXTS, ["w0"], WordEncoder())


@pytest.mark.parametrize(
    ("answer", "finished", "read"),
    [
        (" Batteries that die early.\nAnd more", True, "Batteries that die early"),
        ("<think>hm</think>\n- **noise**, fans", True, "noise, fans"),
        ("how it is made, how it is made, how it is", False, "how it is made"),
        ("how it is made, how it is", True, "how it is made, how it is"),
        ("how it is", False, "how it is"),
        ("", True, ""),
        ("...", True, ""),
        ("word " * 60, True, " ".join(["word"] * 40)),
    ],
)
def test_a_description_is_one_line(answer: str, finished: bool, read: str) -> None:
    assert read_description(Answer(answer, finished=finished)) == read


@pytest.mark.parametrize(("name", "fields"), [("describe", FIELDS), ("describe_complete", COMPLETED_FIELDS)])
def test_the_prompts_have_their_fields(name: str, fields: tuple[str, ...]) -> None:
    path = ROOT / "prompts" / f"{name}.txt"
    prompt = Prompt.parse(path.read_text(encoding="utf-8"), fields, str(path))
    assert "{" not in prompt.fill(sentences="- a", others="- b")
