"""What does a large corpus cost: seconds and peak memory of every stage?

Run in the project's folder: python -m benchmarks.amazon [LIMIT]. Writes benchmarks/results/amazon.json. The default
pipeline runs in a copy of the project on REVIEWS, the first LIMIT or all of them, with all stages on; nothing is
measured if they are missing. With every core busy, all 70,000 take hours on two. The copy lies in .amazon/ until the
run is complete: an interrupted one goes on, and seconds are those of all its parts, but for stages that were killed.
"""

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.repro import copied, make_environment, read_times, repro, time_with
from descry.results.layout import DESCRIPTORS, SENTENCES
from descry.splits import SPLITS
from descry.storage.files import read_json, write_json
from descry.storage.tables import count_rows

REVIEWS = Path("../shared/data/amazon_reviews.jsonl")
RESULT, FOLDER = Path("benchmarks/results/amazon.json"), Path(".amazon").absolute()


def run(limit: str) -> tuple[list[dict[str, Any]], Path]:
    """Run the pipeline, or what is left of it; returns what every stage took, and the folder of the run."""
    folder, times = FOLDER / "project", FOLDER / "times"
    environment = make_environment(str(FOLDER))
    preset = folder / "presets/amazon.yaml"
    if not preset.exists():
        copied(folder)
        preset.write_text(f"split: {{source: {REVIEWS.resolve()}, limit: {limit}}}\n")
        command = [sys.executable, "-m", "stages.commands.preset", "amazon"]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    mend = [sys.executable, "-m", "stages.commands.mend"]  # what an interrupted DVC may have left of dvc.lock
    subprocess.run(mend, cwd=folder, env=environment, check=True)
    repro(folder, environment | time_with(times))
    return read_times(times), folder


def main() -> None:
    if not REVIEWS.exists():
        print(f"{RESULT}: not written: {REVIEWS} is missing")
        return
    parts, folder = run(sys.argv[1] if len(sys.argv) > 1 else "null")
    seconds: defaultdict[str, float] = defaultdict(float)
    peak: defaultdict[str, float] = defaultdict(float)
    for part in parts:
        seconds[part["stage"]] += part["seconds"]
        peak[part["stage"]] = max(peak[part["stage"]], part["peak_gb"])
    content = {
        "sentences": sum(count_rows(folder / SENTENCES / f"{split}.parquet") for split in SPLITS),
        "peak_gb": round(max(peak.values()), 3),
        "seconds": round(sum(seconds.values()), 1),
        "stages": {stage: {"seconds": round(seconds[stage], 1), "peak_gb": round(peak[stage], 3)} for stage in seconds},
        "descriptors": [descriptor["name"] for descriptor in read_json(folder / DESCRIPTORS)["descriptors"]],
    }
    print(json.dumps(content, indent=1))
    write_json(RESULT, content)
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
