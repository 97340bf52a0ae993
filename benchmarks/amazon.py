"""What does a large corpus cost: seconds and peak memory of every stage?

Run in the project's folder: python -m benchmarks.amazon [LIMIT]. Writes benchmarks/results/amazon.json. The default
pipeline runs in a copy of the project on REVIEWS, the first LIMIT or all of them, with all stages on; nothing is
measured if they are missing. With every core busy, all 70,000 take hours on two.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.repro import copied, make_environment, read_times, repro, time_with
from descry.results.layout import DESCRIPTORS, SENTENCES
from descry.splits import SPLITS
from descry.storage.files import read_json, write_json
from descry.storage.tables import count_rows

REVIEWS = Path("../shared/data/amazon_reviews.jsonl")
RESULT = Path("benchmarks/results/amazon.json")


def main() -> None:
    if not REVIEWS.exists():
        print(f"{RESULT}: not written: {REVIEWS} is missing")
        return
    limit = sys.argv[1] if len(sys.argv) > 1 else "null"
    with TemporaryDirectory() as temporary:
        folder, times = Path(temporary) / "project", Path(temporary) / "times"
        copied(folder)
        environment = make_environment(temporary)
        (folder / "presets/amazon.yaml").write_text(f"split: {{source: {REVIEWS.resolve()}, limit: {limit}}}\n")
        preset = [sys.executable, "-m", "stages.commands.preset", "amazon"]
        subprocess.run(preset, cwd=folder, env=environment, check=True)
        whole = repro(folder, environment | time_with(times))
        stages = read_times(times)
        sentences = sum(count_rows(folder / SENTENCES / f"{split}.parquet") for split in SPLITS)
        vocabulary = read_json(folder / DESCRIPTORS)["descriptors"]
    content = {
        "sentences": sentences,
        "peak_gb": round(max(stage["peak_gb"] for stage in stages), 3),
        "seconds": round(whole, 1),
        "stages": {
            stage["stage"]: {"seconds": round(stage["seconds"], 1), "peak_gb": round(stage["peak_gb"], 3)}
            for stage in stages
        },
        "descriptors": [descriptor["name"] for descriptor in vocabulary],
    }
    print(json.dumps(content, indent=1))
    write_json(RESULT, content)


if __name__ == "__main__":
    main()
