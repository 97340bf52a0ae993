"""The vocabulary: edits by hand."""

import pytest

from descry.errors import InputError
from descry.vocabulary.descriptors import Descriptor, apply_edits

FOUND = [
    Descriptor("battery", ("battery", "charge"), 9),
    Descriptor("box", ("box",), 5),
    Descriptor("hum", ("hum",), 2),
]


def test_edits_rename_merge_and_drop_in_place() -> None:
    merged = apply_edits(FOUND, merge={"box": ["hum"]})
    assert merged == [FOUND[0], Descriptor("box", ("box", "hum"), 7)]
    assert apply_edits(FOUND, merge={"things": ["hum", "battery"]}) == [
        Descriptor("things", ("hum", "battery", "charge"), 11),
        FOUND[1],
    ]
    renamed = apply_edits(FOUND, rename={"battery": "battery life"}, drop=["hum"])
    assert [one.name for one in renamed] == ["battery life", "box"]
    assert renamed[0].members == FOUND[0].members
    assert apply_edits(FOUND) == FOUND


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"rename": {"batery": "x"}}, "no descriptor 'batery'; did you mean battery"),
        ({"merge": {"x": ["zzzzz"]}}, "no descriptor 'zzzzz'; there are battery, box, hum"),
        ({"drop": ["bax"]}, "no descriptor 'bax'; did you mean box"),
        ({"rename": {"box": "hum"}}, "that name is taken"),
        ({"merge": {"x": []}}, "names none"),
        ({"drop": ["battery", "box", "hum"]}, "every descriptor is dropped"),
    ],
)
def test_an_edit_that_cannot_be_made_is_told_in_one_line(edits: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        apply_edits(FOUND, **edits)
    assert "\n" not in str(caught.value)
