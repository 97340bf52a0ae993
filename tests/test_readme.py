"""What the README says is what was measured."""

import json
import re

from descry.evaluation import flat
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def metrics() -> dict[str, float]:
    """Every committed metric by its dotted name."""
    found = {}
    for name in ("evaluation", "consistency"):
        found |= flat(json.loads((ROOT / "metrics" / f"{name}.json").read_text()))
    return found


def test_the_figures_are_those_of_the_committed_run() -> None:
    rows = re.findall(r"^\|[^|]+\| `([^`]+)` \| ([\d.,]+) \| ([\d.]*) ?\|$", README, re.MULTILINE)
    assert len(rows) == 10
    measured = metrics()
    for key, value, chance in rows:
        assert value == (f"{measured[key]:,}" if isinstance(measured[key], int) else f"{measured[key]:.3f}"), key
        null = measured.get(f"null.most_common.{key}", measured.get(f"{key}_null"))
        assert chance == ("" if null is None else f"{null:.3f}"), key


def test_the_two_commands_and_what_it_links_to_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
