"""What does reading every neuron cost, compared with a plain forward pass, other tools, and the machine's limit?

Run after `dvc repro`: python -m benchmarks.extract. Writes benchmarks/results/extract.json and .png. All figures come
from the default corpus and model, in one run: all methods read one split after the other, in several rounds, so that a
change in the machine's speed affects all of them alike; a ratio is the median over splits and rounds.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, AutoTokenizer

from descry.activations.extraction import extract_poolings
from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import assign
from descry.compute.batching import batch_by_tokens
from descry.corpus.sampling import sample_probe
from descry.embedding.encoder import SentenceEncoder
from descry.models.forward import forward
from descry.models.loading import has_bfloat16
from descry.models.target import Target
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.neurons import Assign
from descry.settings.parsing import parse_section
from descry.splits import SPLITS, Pair
from descry.storage.arrays import read_arrays
from descry.storage.files import write_json
from descry.storage.tables import read_table
from stages.shared.inputs import to_rule

ROUNDS, BFLOAT16_SENTENCES = 3, 500
RESULTS = Path("benchmarks/results")
PARAMETERS = yaml.safe_load(Path("params.yaml").read_text())
TARGET = Path("data/models/target")


def seconds(work: Callable[[], Any]) -> float:
    """Time one call."""
    start = perf_counter()
    work()
    return perf_counter() - start


def sentences(split: str) -> list[str]:
    """Read the texts of a split."""
    found: list[str] = read_table(Path(f"data/sentences/{split}.parquet"), SENTENCE_TABLE)["text"].tolist()
    return found


def extracted(target: Target, texts: Sequence[str], poolings: Sequence[str] = ("mean",)) -> list[Activations]:
    """Extract activations with the parameters of params.yaml."""
    probe = sample_probe(map(str, range(len(texts))), PARAMETERS["extract"]["probe"], "benchmark")
    top_k = PARAMETERS["extract"]["top_k"]
    return extract_poolings(target, texts, probe, poolings=poolings, top_k=top_k)


class Bare:
    """The model's plain forward pass, over the same batches as the extraction."""

    def __init__(self, target: Target, texts: Sequence[str]) -> None:
        ids, special = target.encode(texts)
        self.tokens = sum(map(len, ids))
        self._target = target
        batches = batch_by_tokens([len(i) for i in ids], PARAMETERS["runtime"]["batch_tokens"])
        self._batches = [([ids[i] for i in batch], [special[i] for i in batch]) for batch in batches]

    @torch.inference_mode()
    def run(self) -> None:
        for batch in self._batches:
            tokens, attention, _ = self._target.batch(*batch)
            forward(self._target.model, "encoder", tokens, attention)

    def operations(self) -> int:
        """Count the floating-point operations of the matrix products needed to read the neurons."""
        sights = [(site, lambda values, own: values.new_zeros(0)) for site in self._target.sites]
        with FlopCounterMode(display=False) as counter:
            for batch in self._batches:
                self._target.read(*batch, sights)
        return int(counter.get_total_flops())


def one_at_a_time(texts: Sequence[str]) -> None:
    """Run the loop of common tutorials: one sentence at a time, with all hidden states."""
    tokenizer, model = AutoTokenizer.from_pretrained(TARGET), AutoModel.from_pretrained(TARGET).eval()
    with torch.inference_mode():
        for text in texts:
            model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)


def products() -> float:
    """Measure float32 matrix products, in operations per second: the faster of the model's shape and a square one."""
    best = 0.0
    for rows, inner, columns in ((1024, 384, 1536), (2048, 2048, 2048)):
        one, other = torch.randn(rows, inner), torch.randn(inner, columns)
        repeats = 1 + int(1e11 / (2 * rows * inner * columns))
        one @ other
        spent = seconds(lambda one=one, other=other, n=repeats: [one @ other for _ in range(n)])
        best = max(best, repeats * 2 * rows * inner * columns / spent)
    return best


def agreement(target: Target) -> float:
    """Jaccard index of the pairs that are assigned in bfloat16 and in float32, on calibration."""
    labels = read_arrays(Path("data/labels/first/calibration.safetensors"), LABEL_ARRAYS)[0]["labels"]
    rule = to_rule(parse_section(Assign, PARAMETERS))
    texts = sentences("calibration")
    half = Target(TARGET, dtype="bfloat16")
    found = Pair(*(extracted(one, texts)[0] for one in (target, half)))
    one, other = (assign(gather_evidence(by.exemplars(rule.exemplars), labels), rule).assigned for by in found)
    return float((one & other).sum() / (one | other).sum())


def speed() -> dict[str, Any]:
    """Time all methods in rounds."""
    parts = [sentences(split) for split in SPLITS]
    texts = list(chain.from_iterable(parts))
    target, embedder = Target(TARGET), SentenceEncoder(Path("data/models/embedder"))
    half = Target(TARGET, dtype="bfloat16")
    encoder: Any = embedder._model
    bare = [Bare(target, part) for part in parts]
    ways: dict[str, Callable[[int], Any]] = {
        "bare_forward": lambda i: bare[i].run(),
        "extract": lambda i: extracted(target, parts[i]),
        "extract_two_poolings": lambda i: extracted(target, parts[i], ("mean", "max")),
        "encode": lambda i: encoder.encode(parts[i], show_progress_bar=False),
        "one_at_a_time": lambda i: one_at_a_time(parts[i]),
    }
    operations = [one.operations() for one in bare]
    rows = []
    for row in product(range(ROUNDS), range(len(parts))):
        times = {name: seconds(partial(way, row[1])) for name, way in ways.items()}
        rows.append({**times, "matmul_limit": operations[row[1]] / products(), "part": row[1]})
        print({name: round(value, 2) for name, value in rows[-1].items()}, flush=True)
    table = pd.DataFrame(rows)
    few = texts[:BFLOAT16_SENTENCES]
    halves = [seconds(lambda one=one: extracted(one, few)) for one in (target, half) for _ in range(2)]

    def ratio(one: str, other: str) -> float:
        return round(float((table[one] / table[other]).median()), 3)

    middle = table.groupby("part").median().sum()
    if (other := neurox(texts)) is not None:
        middle["neurox"] = other
    return {
        "over_bare_forward": ratio("extract", "bare_forward"),
        "two_poolings_over_bare_forward": ratio("extract_two_poolings", "bare_forward"),
        "over_encode": ratio("extract", "encode"),
        "one_at_a_time_over": ratio("one_at_a_time", "extract"),
        "of_matmul_rate": ratio("matmul_limit", "extract"),
        "bare_forward_of_matmul_rate": ratio("matmul_limit", "bare_forward"),
        "bfloat16_speedup": round(min(halves[:2]) / min(halves[2:]), 3),
        "bfloat16_on_this_cpu": has_bfloat16(target.device),
        "bfloat16_jaccard": round(agreement(target), 4),
        "seconds": middle.round(2).to_dict(),
        "sentences": len(texts),
        "tokens": sum(one.tokens for one in bare),
        "threads": torch.get_num_threads(),
    }


NEUROX = """
import sys
from time import perf_counter
from neurox.data.extraction.transformers_extractor import extract_representations
start = perf_counter()
extract_representations(sys.argv[1], sys.argv[2], sys.argv[3], "cpu")
print("seconds", perf_counter() - start)
"""


def neurox(texts: Sequence[str]) -> float | None:
    """Time NeuroX, installed in a temporary folder; None if it cannot be installed."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site")]
        if subprocess.run([*install, "neurox==1.0.9", "h5py"], check=False).returncode:
            print("neurox is left out: NeuroX cannot be installed here (is there a network?)")
            return None
        (folder / "texts.txt").write_text("\n".join(texts) + "\n")
        done = subprocess.run(
            [sys.executable, "-c", NEUROX, str(TARGET.absolute()), str(folder / "texts.txt"), str(folder / "out.hdf5")],
            env=os.environ | {"PYTHONPATH": str(folder / "site")},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        return float(done.stdout.split()[-1])


def draw(content: dict[str, Any]) -> None:
    """Draw the seconds of each method as bars, with the machine's limit."""
    labels = {
        "matmul_limit": "matrix products alone, at the machine's rate",
        "bare_forward": "the model's bare forward pass",
        "extract": "descry: every neuron of every layer",
        "extract_two_poolings": "descry: the same, two poolings",
        "encode": "sentence-transformers encode",
        "one_at_a_time": "one sentence at a time, hidden states",
        "neurox": "NeuroX, hidden states",
    }
    times = {labels[name]: value for name, value in content["seconds"].items() if name in labels}
    names = sorted(times, key=times.__getitem__, reverse=True)
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    colours = ["#c44e52" if name.startswith("descry") else "#8c8c8c" for name in names]
    bars = axes.barh(names, [times[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.1f s", padding=3, fontsize=8)
    axes.set_xlabel(f"seconds for {content['sentences']:,} sentences, {content['threads']} CPU threads")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(RESULTS / "extract.png", dpi=110)


def main() -> None:
    content = speed()
    write_json(RESULTS / "extract.json", content)
    draw(content)
    for name, value in content.items():
        print(f"{name:34} {value}")


if __name__ == "__main__":
    main()
