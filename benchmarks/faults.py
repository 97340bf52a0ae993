"""What is lost when machines are shared, runs interrupted, files damaged and inputs bad?

Run: python benchmarks/faults.py. Writes benchmarks/results/faults.json: what the tests that break things count as
they run, added up. Nothing is written where one of them fails, or where a count is missing.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from descry.storage.files import write_json

KINDS = ("sharing", "interrupts", "shards", "damage", "misuse")
TESTS = [f"tests/test_{kind}_repro.py" for kind in KINDS]
KEYS = (
    "remotes",
    "kills",
    "kills_lost",
    "damages",
    "damages_unnoticed",
    "bad_inputs",
    "bad_inputs_with_traceback",
)
RESULT = Path("benchmarks/results/faults.json")


def counted(report: Path) -> dict[str, int]:
    """The numbers that tests recorded under KEYS, added up."""
    found: Counter[str] = Counter()
    for entry in ElementTree.parse(report).iter("property"):
        if entry.attrib["name"] in KEYS:
            found[entry.attrib["name"]] += int(entry.attrib["value"])
    return dict(found)


def main() -> None:
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run([sys.executable, "-m", "pytest", f"--junitxml={report}", *TESTS], check=False)
        if done.returncode:
            sys.exit(f"nothing written: the tests failed (pytest: {done.returncode})")
        content = counted(report)
    if missing := [key for key in KEYS if key not in content]:
        sys.exit(f"nothing written: no test counted {', '.join(missing)} (skipped?)")
    write_json(RESULT, content)
    print(content)


if __name__ == "__main__":
    main()
