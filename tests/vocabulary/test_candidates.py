"""What holds for candidates of every generator."""

from __future__ import annotations

from descry.vocabulary.candidates import count_unspaced


def test_text_without_blanks_between_words_is_counted() -> None:
    spaced = ["It is loud.", "Звук хороший.", "소리가 좋아요.", "الصوت جيد", "", "5/5", "The 电池 died after a week."]
    unspaced = ["电池很好，音质不错。", "音がいいです。", "เสียงดีมาก", "iPhone的电池续航非常不错很好用"]
    assert count_unspaced(spaced) == 0
    assert count_unspaced(unspaced) == len(unspaced)
    assert count_unspaced([*spaced, *unspaced]) == len(unspaced)
