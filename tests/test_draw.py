"""What of the long tests a day's run draws."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from itertools import chain
from pathlib import Path

import pytest

from tests import conftest
from tests.conftest import DAYS, ROOT, draw

MONDAY = date(2026, 11, 30).toordinal()
TESTS = """
import pytest

@pytest.mark.long
@pytest.mark.parametrize("one", range(4))
@pytest.mark.parametrize("other", range(5))
def test_long(one, other): pass

@pytest.mark.parametrize("number", range(9))
def test_short(number): pass
"""


def drawn(monkeypatch: pytest.MonkeyPatch, day: int, count: int) -> list[int]:
    monkeypatch.setattr(conftest, "SEED", date.fromordinal(day).isoformat())
    return draw("test", range(count))


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8, 20, 100])
def test_every_variant_is_drawn_once_in_as_many_days(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(conftest, "ALL", False)
    period = min(DAYS, count)
    first = MONDAY - MONDAY % period
    shares = [drawn(monkeypatch, day, count) for day in range(first, first + period)]
    assert sorted(chain(*shares)) == list(range(count))
    assert all(share == sorted(share) for share in shares)
    assert min(map(len, shares)) == count // period


def test_a_run_every_monday_comes_to_every_variant_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "ALL", False)
    mondays = [drawn(monkeypatch, day, 14) for day in range(MONDAY, MONDAY + 7 * 60, 7)]
    assert set(chain(*mondays)) == set(range(14))


def collected(folder: Path, *command: str, **variables: str) -> set[str]:
    command = ("-p", "tests.conftest", "-p", "no:cacheprovider", "--collect-only", "-q", "test_some.py", *command)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("DESCRY_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command],
        cwd=folder,
        env=plain | {"PYTHONPATH": str(ROOT)} | variables,
        text=True,
        capture_output=True,
        check=True,
    )
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_a_long_test_keeps_its_share_and_others_keep_all(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    everything = collected(tmp_path, DESCRY_ALL="1")
    assert len(everything) == 29
    some = collected(tmp_path, DESCRY_SEED="2026-11-30")
    assert some == collected(tmp_path, DESCRY_SEED="2026-11-30")
    assert some < everything
    assert len([name for name in some if "test_short" in name]) == 9
    assert len([name for name in some if "test_long" in name]) in (2, 3)
    asked = "test_long[3-2]"
    assert collected(tmp_path, "-k", asked, DESCRY_SEED="2026-11-30") == {f"test_some.py::{asked}"}
