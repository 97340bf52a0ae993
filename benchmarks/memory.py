"""Does the memory of `extract` grow with the corpus?

Run after `dvc repro`: python -m benchmarks.memory. Writes benchmarks/results/memory.json: the peak memory of reading
20,000 and 200,000 sentences of real reviews with the committed parameters, each in a process of its own with one
thread. Only the first layer is read, which saves time and keeps the part that does not grow small. Nothing is measured
if the reviews are missing.
"""

import os
import resource
import subprocess
import sys
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

from descry.activations.extraction import Reader, cut_shards, extract_shards
from descry.compute.engine import LocalEngine
from descry.corpus.readers import read_reviews
from descry.corpus.sampling import sample_probe
from descry.corpus.sentences import build_sentence_table
from descry.models.target import TargetLoader
from descry.schemas.split import SENTENCE_TABLE
from descry.storage.files import write_json
from descry.storage.tables import read_pieces, write_table

SIZES = (20_000, 200_000)
REVIEWS = Path("../shared/data/amazon_reviews.jsonl")
RESULT = Path("benchmarks/results/memory.json")


def corpus(path: Path) -> None:
    """Write the table of sentences, max(SIZES) of them, from real reviews."""
    reviews = read_reviews(str(REVIEWS), text_field="text", id_field="review_id", product_field="product", limit=None)
    table = build_sentence_table(reviews, key="benchmark", validation=0.5, source=str(REVIEWS)).sentences
    both = pd.concat([table["calibration"], table["validation"]], ignore_index=True)
    write_table(path, both.head(max(SIZES)), SENTENCE_TABLE)


def peak(path: Path, size: int) -> None:
    """Extract from the first `size` sentences of a table, as the stage does, and print the peak memory in GB."""
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    wanted, runtime = parameters["extract"], parameters["runtime"]
    pieces = read_pieces(path, SENTENCE_TABLE, "text", runtime["shard"])
    texts = (texts[: size - start] for start, texts in zip(range(0, size, runtime["shard"]), pieces, strict=False))
    ids = chain.from_iterable(read_pieces(path, SENTENCE_TABLE, "sentence_id"))
    probe = sample_probe(islice(ids, size), wanted["probe"], "benchmark")
    poolings = (wanted["pooling"], *wanted["also"])
    source = TargetLoader(Path("data/models/target"), neurons=(("layers", (1,)),))
    reader = Reader(source, poolings, wanted["top_k"], runtime["batch_tokens"])
    checkpoint = path.with_name(f"kept-{size}.safetensors")
    found = extract_shards(
        LocalEngine(), reader, cut_shards(texts, probe), probe, size, checkpoint=checkpoint, progress=f"{size:,}"
    )
    assert found[0].count == size
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def measured(path: Path, size: int) -> float:
    """Run `peak` in a process of its own and return what it prints."""
    command = [sys.executable, "-m", "benchmarks.memory", "--peak", str(path), str(size)]
    own = os.environ | {"OMP_NUM_THREADS": "1"}
    return float(subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        peak(Path(sys.argv[2]), int(sys.argv[3]))
        return
    if not REVIEWS.exists():
        print(f"{RESULT}: not written: {REVIEWS} is missing")
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sentences.parquet"
        corpus(path)
        peaks = {size: measured(path, size) for size in SIZES}
    small, large = (peaks[size] for size in SIZES)
    content = {
        "memory_200k_over_20k": round(large / small, 3),
        "peak_gb": {f"{size:,}": round(gb, 3) for size, gb in peaks.items()},
    }
    write_json(RESULT, content)
    print(content)


if __name__ == "__main__":
    main()
