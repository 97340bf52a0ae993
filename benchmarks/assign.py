"""What does the assignment cost at the size of BERT-base: 36,864 neurons x 300 descriptors x 100 exemplars?

Run: python -m benchmarks.assign. Writes benchmarks/results/assign.json. Labels and exemplars are drawn at
random over 100,000 sentences, descriptors with prevalences from 0.1 % to 30 %; a tenth of the neurons prefer one.
"""

import resource
from pathlib import Path
from time import perf_counter

import numpy as np

from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import RULES, Rule, assign_by, tabulate_assignments
from descry.storage.files import write_json

NEURONS, DESCRIPTORS, EXEMPLARS, SENTENCES = 36_864, 300, 100, 100_000


def world(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw exemplars, int32 [neurons, k], and labels, int8 [sentences, descriptors]."""
    prevalence = np.geomspace(1e-3, 0.3, DESCRIPTORS)
    labels = (generator.random((SENTENCES, DESCRIPTORS)) < prevalence).astype(np.int8)
    rows = generator.integers(0, SENTENCES, (NEURONS, EXEMPLARS), dtype=np.int32)
    for neuron in range(0, NEURONS, 10):
        bearing = np.flatnonzero(labels[:, neuron % DESCRIPTORS])
        rows[neuron, : EXEMPLARS // 4] = generator.choice(bearing, EXEMPLARS // 4, replace=len(bearing) < EXEMPLARS)
    return rows, labels


def main() -> None:
    rows, labels = world(np.random.default_rng(0))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, perf_counter()
    evidence = gather_evidence(rows, labels)
    findings = assign_by(RULES, evidence, Rule())
    layer, index = np.divmod(np.arange(NEURONS), NEURONS // 12)
    pairs = tabulate_assignments(findings, layer + 1, index, [f"descriptor {number}" for number in range(DESCRIPTORS)])
    seconds = perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = {
        "seconds": round(seconds, 3),
        "peak_gb": round(peak / 1e6, 3),
        "before_gb": round(before / 1e6, 3),
        "pairs": len(pairs),
        "neurons": NEURONS,
        "descriptors": DESCRIPTORS,
        "exemplars": EXEMPLARS,
        "sentences": SENTENCES,
    }
    write_json(Path("benchmarks/results/assign.json"), content)
    for name, value in content.items():
        print(f"{name:12} {value:,}")


if __name__ == "__main__":
    main()
