"""Do the pairs assigned on the project's own reviews replicate on other corpora?

Run in the project's folder, after `dvc repro`: python -m benchmarks.transfer CORPUS.jsonl [CORPUS.jsonl ...]. Writes
benchmarks/results/transfer.json. In a copy of the project, with its cache, each corpus in turn is the second one
(`transfer.source`); of a long one, every n-th review is read, about 5,000 in all. Nothing is learned or assigned again.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.repro import ROOT, copied, make_environment
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.replicate import TRANSFER_TABLE
from descry.storage.tables import count_rows, read_table

READ = 5_000
"""Approximate number of reviews that are read of a corpus."""
TIMES = 5
"""A descriptor transfers well if its pairs replicate at least this many times as often as unassigned pairs."""


def taken(corpus: Path, to: Path) -> int:
    """Write every n-th review of a corpus, and return their number."""
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    some = lines[:: max(1, len(lines) // READ)]
    to.write_text("".join(some), encoding="utf-8")
    return len(some)


def measured(folder: Path) -> dict[str, Any]:
    """Read the results of the stage `replicate` in the copy."""
    table = read_table(folder / "data/replication/measures.parquet", MEASURE_TABLE)
    rows = {(name, null): row for name, null, *row in table[["measure", "null", "value", "chance"]].to_numpy()}
    replication, chance = rows["transfer.replication", "unassigned_pairs"]
    own = read_table(folder / "data/replication/descriptors.parquet", TRANSFER_TABLE).dropna()
    times = own["replication"] / own["unassigned"]
    gold = {
        f"gold_{name}{suffix}": round(value, 4)
        for name in ("precision_at_1", "recall_at_2")
        for key in [(f"transfer.sentence.gold.{name}", "most_common")]
        if key in rows
        for suffix, value in zip(("", "_chance"), rows[key], strict=True)
    }
    return {
        "sentences": count_rows(folder / "data/transfer/sentences.parquet"),
        "pairs": int(own["pairs"].sum()),
        "replication": round(replication, 4),
        "unassigned": round(chance, 4),
        "times": round(replication / chance, 2),
        "permuted_neurons": round(rows["transfer.replication", "permuted_neurons"][1], 4),
        "strongest_replication": round(rows["transfer.strongest_replication", "unassigned_pairs"][0], 4),
        **gold,
        f"descriptors_{TIMES}_times": round(float((times >= TIMES).mean()), 4),
        "descriptors_median_times": round(float(times.median()), 2),
        "descriptors": own.round(4).to_dict("records"),
    }


def main() -> None:
    corpora = [Path(name).resolve() for name in sys.argv[1:]]
    if not corpora:
        raise SystemExit("no corpus given; name one or more: python -m benchmarks.transfer CORPUS.jsonl")
    found: dict[str, Any] = {}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        copied(folder)
        shutil.copy2(ROOT / "dvc.lock", folder)
        shutil.copytree(ROOT / ".dvc/cache", folder / ".dvc/cache", copy_function=os.link)
        environment = make_environment(temporary)

        def dvc(*command: str) -> None:
            subprocess.run([sys.executable, "-m", "dvc", *command], cwd=folder, env=environment, check=True)

        dvc("checkout", "-q")
        for corpus in corpora:
            reviews = taken(corpus, folder / "other.jsonl")
            text = (folder / "params.yaml").read_text()
            start = text.index("\ntransfer:")
            line = next(line for line in text[start:].splitlines() if line.startswith("  source:"))
            whole = text[:start] + text[start:].replace(line, "  source: other.jsonl", 1)
            (folder / "params.yaml").write_text(whole)
            dvc("repro", "replicate")
            found[corpus.stem] = {"reviews": reviews} | measured(folder)
            print(json.dumps({k: v for k, v in found[corpus.stem].items() if k != "descriptors"}, indent=1))
    path = ROOT / "benchmarks/results/transfer.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
