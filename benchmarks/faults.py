"""What is lost when results are shared, runs interrupted, files damaged and inputs invalid?

Run: python -m benchmarks.faults. Writes benchmarks/results/faults.json: the sums of what the tests in TESTS count as
they run. Nothing is written if one of them fails, or if a count is missing.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from descry.storage.files import write_json

KINDS = ("sharing", "interrupts", "shards", "damage", "misuse")
TESTS = [f"tests/pipeline/test_{kind}_repro.py" for kind in KINDS]
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
    """Sum the numbers that tests recorded under each of KEYS."""
    found: Counter[str] = Counter()
    for entry in ElementTree.parse(report).iter("property"):
        if entry.attrib["name"] in KEYS:
            found[entry.attrib["name"]] += int(entry.attrib["value"])
    return dict(found)


def main() -> None:
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *TESTS]
        done = subprocess.run(command, env=os.environ | {"DESCRY_ALL": "1"}, check=False)
        if done.returncode:
            sys.exit(f"{RESULT}: not written: the tests failed, see above (pytest exit code {done.returncode})")
        content = counted(report)
    if missing := [key for key in KEYS if key not in content]:
        sys.exit(f"{RESULT}: not written: no test recorded {', '.join(missing)}; see which tests were skipped")
    write_json(RESULT, content)
    print(content)


if __name__ == "__main__":
    main()
