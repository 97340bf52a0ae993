"""What `make` says at the end: the headline figures beside chance, and where the report lies."""

from typing import Any

from descry import artifacts
from descry.evaluation import flat
from stages import _stage

SHOWN = (
    ("sentences: first gold aspect right", "sentence.gold.precision_at_1"),
    ("sentences: gold aspects found by two guesses", "sentence.gold.recall_at_2"),
    ("  the same with gold as labels, first right", "oracle.sentence.precision_at_1"),
    ("  the same with gold as labels, found by two", "oracle.sentence.recall_at_2"),
    ("neurons: first descriptor confirmed", "neuron.precision_at_1"),
)


def _line(name: str, value: Any, chance: Any = None) -> str:
    return f"  {name:<48}{value:>9.3f}{'' if chance is None else f'{chance:>11.3f}'}"


def main() -> None:
    evaluation = flat(artifacts.read_json(_stage.METRICS / "evaluation.json"))
    consistency = artifacts.read_json(_stage.METRICS / "consistency.json")
    print(f"\n  {'':<48}{'value':>9}{'by chance':>11}")
    for name, key in SHOWN:
        if key in evaluation:
            print(_line(name, evaluation[key], evaluation[f"null.most_common.{key}"]))
    print(_line("neurons: sets agree on other reviews (Jaccard)", consistency["jaccard"], consistency["jaccard_null"]))
    print(
        _line(
            "neurons: findings replicated on other reviews", consistency["replication"], consistency["replication_null"]
        )
    )
    print(
        f"\n  {evaluation['neuron.described']:,} neurons described with {evaluation['descriptors.count']} descriptors"
    )
    print("  metrics: metrics/*.json, or dvc metrics show      differences: dvc metrics diff")
    print(f"  report:  {_stage.REPORT}/index.html\n")


if __name__ == "__main__":
    _stage.run(main)
