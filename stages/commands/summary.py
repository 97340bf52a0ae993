"""What `make` says at the end: the headline figures beside chance, and where the report lies."""

from descry.results import layout
from descry.storage.files import read_json
from descry.storage.nesting import flatten
from stages.harness.stage import run_stage

SHOWN = (
    ("sentences: first gold aspect right", "sentence.gold.precision_at_1"),
    ("sentences: gold aspects found by two guesses", "sentence.gold.recall_at_2"),
    ("  the same with gold as labels, first right", "oracle.sentence.precision_at_1"),
    ("  the same with gold as labels, found by two", "oracle.sentence.recall_at_2"),
    ("neurons: first descriptor confirmed", "neuron.precision_at_1"),
)
AGREEMENT = (
    ("neurons: sets agree on other reviews (Jaccard)", "jaccard"),
    ("neurons: findings replicated on other reviews", "replication"),
)
BEYOND = (
    ("neurons: findings found in another corpus", "transfer.replication", "unassigned_pairs"),
    ("descriptors: lose more than with random neurons off", "ablation.share_specific", "exchangeable_sets"),
)


def _line(name: str, *figures: float | None) -> str:
    return f"  {name:<52}" + "".join(" " * 12 if figure is None else f"{figure:>12.3f}" for figure in figures)


def main() -> None:
    evaluation = flatten(read_json(layout.METRICS / "evaluation.json"))
    consistency = flatten(read_json(layout.METRICS / "consistency.json"))
    print(f"\n  {'':<52}{'value':>12}{'by chance':>12}{'random':>12}\n  {'':<76}{'directions':>12}")
    for name, key in SHOWN:
        if key in evaluation:
            directions = evaluation.get(f"null.random_directions.{key}")
            print(_line(name, evaluation[key], evaluation[f"null.most_common.{key}"], directions))
    for name, key in AGREEMENT:
        directions = consistency.get(f"null.random_directions.{key}")
        print(_line(name, consistency[key], consistency[f"{key}_null"], directions))
    beyond = flatten(read_json(layout.METRICS / "beyond.json"))
    for name, key, null in BEYOND:
        if key in beyond:
            print(_line(name, beyond[key], beyond[f"null.{null}.{key}"]))
    print(
        f"\n  {evaluation['neuron.described']:,} neurons described with {evaluation['descriptors.count']} descriptors"
    )
    print("  metrics: metrics/*.json, or dvc metrics show      differences: dvc metrics diff")
    print(f"  report:  {layout.REPORT}/index.html\n")


if __name__ == "__main__":
    run_stage(main)
