"""Rewrites the tables of figures in README.md and docs/ from metrics/ and benchmarks/results/; run by `make docs`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, where NAME is one of TABLES. Which measures there are,
their titles and their chance levels come from descry/results/measures.py.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from descry.results.layout import SWEEPS
from descry.results.measures import COLUMNS, MEASURES, find_measure
from descry.results.noise import judge_gap
from descry.schemas.sweep import SWEEP_TABLE
from descry.storage.nesting import flatten
from descry.storage.tables import read_table

Reader = Callable[[str], Any]
"""Gives the content of a JSON file of the project."""

ROWS = ("neurons", "split_std", "chance", "random_directions", "untrained")
PAPER = {
    "neuron.precision_at_1": "–",
    "neuron.precision_at_2": "75 %",
    "neuron.recall_at_2": "50 %",
    "jaccard": "95 %",
    "sentence.gold.precision_at_1": "–",
    "sentence.gold.precision_at_2": "–",
    "sentence.gold.recall_at_2": "–",
}
"""What the paper reports of each measure that is set beside it."""
LLM = {
    "list": "`list`",
    "each": "`each`",
    "distil": "`distil`, embedded corpus ({:,} sentences)",
    "distil_200000": "`distil`, 200,000 sentences",
    "generate": "`generate`",
}
WAYS = {
    "matmul_limit": "the matrix products alone, at the speed of a large one: the machine's limit",
    "bare_forward": "a forward pass that keeps nothing, same batches",
    "extract": "**`extract`: the pass, every neuron pooled, exemplars and probe kept**",
    "extract_two_poolings": "`extract` with two poolings",
    "encode": "sentence-transformers' `encode`, which keeps sentence vectors only",
    "one_at_a_time": "one sentence at a time",
    "neurox": "NeuroX, hidden states only",
}
SLOWEST = 10
"""Stages that are listed of a large run."""
UNITS = {
    "neurons": "neurons",
    "sparse_neurons": "neurons, as sparse as latents",
    "latents": "latents",
    "random_decoder": "latents, random decoder",
    "random_directions": "random directions",
    "untrained": "latents, untrained model",
}
UNIT_MEASURES = (
    "described",
    "replication",
    "association",
    "gold_precision_at_1",
    "gold_recall_at_2",
    "best_f1",
    "own_unit",
)
PRESETS = (
    "descriptors.count",
    "descriptors.mean_best_ap",
    "labels.mean_best_ap",
    "second_opinion.mean_best_ap",
    "second_opinion.survival",
    "neuron.described",
    "neuron.precision_at_1",
    "replication",
    "sentence.gold.precision_at_1",
    "transfer.replication",
    "ablation.separation_own_loss",
    "ends.positive",
    "ends.negative",
    "writes.agreement",
)
"""Measures that are compared between the default and the presets that were run."""
TITLES = {"second_opinion.mean_best_ap": "Second labeller: mean average precision of each aspect's best descriptor"}
"""Titles of those that are not registered."""
PLANTED = {
    "one": "on one descriptor",
    "two": "on either of two descriptors",
    "conjunction": "on both of two descriptors, together in at least 1 % of the sentences",
    "rare_conjunction": "on both of two descriptors, together in fewer",
}


def read_file(path: str) -> Any:
    """The content of a JSON file."""
    return json.loads(Path(path).read_text())


def make_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def show(value: float | None, name: str = "") -> str:
    """A measure's value as a document shows it; nothing where there is none."""
    if value is None:
        return ""
    return f"{value:,.0f}" if find_measure(name).counts else f"{value + 0.0:.3f}"


def read_details(read: Reader) -> dict[str, float]:
    """Every figure of the evaluation and of consistency, by dotted name."""
    return flatten(read("metrics/detail/evaluation.json")) | flatten(read("metrics/detail/consistency.json"))


def find_chance(figures: Mapping[str, float], name: str) -> float | None:
    """A measure's chance level."""
    return figures.get(f"null.{find_measure(name).chance}.{name}", figures.get(f"{name}_null"))


def metrics_table(read: Reader) -> str:
    """What `dvc metrics show` prints: who reaches what."""
    rows = {row: read(f"metrics/{row}.json") for row in ROWS}
    columns = sorted(rows["neurons"])
    by_column = {measure.column: measure.name for measure in MEASURES if measure.column}
    shown = [[f"`{row}`", *(show(rows[row].get(name), by_column[name]) or "–" for name in columns)] for row in ROWS]
    compared = ("neurons", "random_directions", "split_std")
    verdicts = (judge_gap(*(rows[row].get(name) for row in compared)) or "–" for name in columns)
    shown.append(["neurons against random directions", *verdicts])
    return make_table(["", *(f"`{name}`" for name in columns)], shown)


def column_table(read: Reader) -> str:
    """What the columns of `dvc metrics show` are: of the measures that may fill one, the first that was measured."""
    figures = read_details(read)
    named = {
        column: next(one.title for one in MEASURES if one.column == column and one.name in figures)
        for column in COLUMNS
        if column in read("metrics/neurons.json")
    }
    return make_table(["column", "measure"], ([f"`{column}`", named[column]] for column in sorted(named)))


def headline_table(read: Reader) -> str:
    """The headline measures of neurons, sentences, labels and the vocabulary."""
    figures, resplits = read_details(read), flatten(read("metrics/detail/resplits.json"))
    rows = []
    for measure in MEASURES:
        if measure.headline and measure.name in figures:
            levels = (find_chance(figures, measure.name), figures.get(f"null.random_directions.{measure.name}"))
            spread = resplits.get(f"{measure.name}.target.std")
            shown = (show(value, measure.name) for value in (figures[measure.name], spread, *levels))
            verdict = judge_gap(figures[measure.name], levels[1], spread) or ""
            rows.append([measure.title, f"`{measure.name}`", *shown, verdict, f"`{measure.chance}`"])
    head = ["what", "measure", "value", "std over splits", "chance", "random directions", "neurons", "what chance is"]
    return make_table(head, rows)


def beyond_table(read: Reader) -> str:
    """The measures of the analyses that go beyond the paper."""
    figures = flatten(read("metrics/detail/beyond.json"))
    rows = []
    for measure in MEASURES:
        if measure.name in figures:
            shown = (show(value, measure.name) for value in (figures[measure.name], find_chance(figures, measure.name)))
            null = f"`{measure.chance}`" if measure.chance else ""
            rows.append([measure.title, f"`{measure.name}`", *shown, null])
    return make_table(["what", "measure", "value", "chance", "what chance is"], rows)


def paper_table(read: Reader) -> str | None:
    """descry's rule and the paper's on the same activations; None where the sweeps are not at hand."""
    if not SWEEPS.is_file():
        return None
    table = read_table(SWEEPS, SWEEP_TABLE)
    table = table[(table["sweep"] == "threshold") & (table["rule"] == "composition") & (table["x"] == "0.1")]
    composition = table[table["neurons"] == "target"].set_index("measure")["value"]
    figures = read_details(read)
    rows = []
    for name, reported in PAPER.items():
        levels = (find_chance(figures, name), figures.get(f"null.random_directions.{name}"), composition[name])
        rows.append([find_measure(name).title, *(show(value) for value in (figures[name], *levels)), reported])
    return make_table(["what", "descry", "chance", "random directions", "composition, tau 0.1", "the paper"], rows)


def choice_table(read: Reader) -> str:
    """Agreement beyond chance, replication and share of neurons described, by setting."""
    found = {
        (one["exemplars"], one["pooling"], one["alpha"]): " / ".join(
            (f"{one['jaccard_adjusted']:.3f}", f"{one['replication']:.2f}", f"{one['coverage']:.2f}")
        )
        for one in read("benchmarks/results/choice.json")
    }
    settings = [(pooling, alpha) for pooling in ("mean", "max") for alpha in (0.05, 0.01)]
    sizes = sorted({size for size, _, _ in found})
    head = ["exemplars", *(f"{pooling}, alpha {alpha}" for pooling, alpha in settings)]
    return make_table(head, ([str(size), *(found[size, *setting] for setting in settings)] for size in sizes))


def planted_table(read: Reader) -> str:
    """Synthetic neurons by what they fire on: how many of the planted pairs are found, how many findings are false."""
    synthetic = read("benchmarks/results/planted.json")["synthetic"]
    rows = [
        [text, *(f"{synthetic['kinds'][kind][figure]:.3f}" for figure in ("recall", "fdr"))]
        for kind, text in PLANTED.items()
    ]
    rows.append(["all but the last", f"{synthetic['recall']:.3f}", f"{synthetic['fdr']:.3f}"])
    return make_table(["neurons that fire", "found", "false among what is found"], rows)


def transfer_table(read: Reader) -> str:
    """Replication on corpora written by others."""
    rows = [
        [
            f"`{name}`",
            f"{found['sentences']:,}",
            *(f"{found[figure]:.3f}" for figure in ("replication", "unassigned")),
            f"{found['times']:.1f}",
            f"{found['strongest_replication']:.3f}",
            f"{100 * found['descriptors_5_times']:.0f} %",
        ]
        for name, found in sorted(read("benchmarks/results/transfer.json").items())
    ]
    head = ["corpus", "sentences", "replication", "pairs not assigned", "ratio"]
    return make_table([*head, "strongest tenth", "descriptors with a ratio of 5 or more"], rows)


def stage_table(read: Reader) -> str:
    """Where the time of the default run goes."""
    found = read("benchmarks/results/repro.json")
    seconds: dict[str, float] = {}
    for address, one in found["stages"].items():
        stage = address.partition("@")[0]
        seconds[stage] = seconds.get(stage, 0.0) + one["seconds"]
    longest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:8]
    rest = sum(seconds.values()) - sum(seconds[stage] for stage in longest)
    rows = [[f"`{stage}`", f"{seconds[stage]:.0f}"] for stage in longest]
    return make_table(
        ["stage", "seconds"],
        [
            *rows,
            ["the other stages", f"{rest:.0f}"],
            ["DVC itself", f"{found['dvc_seconds']:.0f}"],
            ["all", f"{found['seconds']:.0f}"],
        ],
    )


def speed_table(read: Reader) -> str:
    """Ways to run the embedded model over the embedded corpus."""
    seconds = read("benchmarks/results/extract.json")["seconds"]
    return make_table(["way", "seconds"], ([text, f"{seconds[way]:.1f}"] for way, text in WAYS.items()))


def memory_table(read: Reader) -> str:
    """Peak memory of `extract` by size of the corpus."""
    peaks = read("benchmarks/results/memory.json")["peak_gb"]
    return make_table(["sentences", "peak memory"], ([size, f"{peak:.2f} GB"] for size, peak in peaks.items()))


def amazon_table(read: Reader) -> str:
    """Minutes and peak memory of the stages that take longest on a large corpus, and of all others."""
    whole = read("benchmarks/results/amazon.json")
    stages = sorted(whole["stages"].items(), key=lambda item: -item[1]["seconds"])
    shown, rest = stages[:SLOWEST], stages[SLOWEST:]
    others = {"seconds": sum(took["seconds"] for _, took in rest), "peak_gb": max(took["peak_gb"] for _, took in rest)}
    rows = [*((f"`{stage}`", took) for stage, took in shown), (f"{len(rest)} others", others)]
    rows.append((f"all, {whole['sentences']:,} sentences", whole))
    cells = ([name, f"{took['seconds'] / 60:.1f}", f"{took['peak_gb']:.2f} GB"] for name, took in rows)
    return make_table(["stage", "minutes", "peak memory"], cells)


def units_table(read: Reader) -> str:
    """Sets of units beside each other, with standard deviations over splits, and their chance levels."""
    found = read("benchmarks/results/units.json")

    def show_value(row: Mapping[str, float]) -> str:
        return f"{row['value']:.3f} ± {row['std']:.3f}"

    def show_chances(name: str) -> str:
        levels = {f"{found[units][name]['chance']:.3f}" for units in UNITS if found[units][name]["chance"] is not None}
        return " to ".join(sorted({min(levels), max(levels)})) if levels else "–"

    rows = [
        [title, f"{100 * found[units]['rate']:.0f} %", *(show_value(found[units][name]) for name in UNIT_MEASURES)]
        for units, title in UNITS.items()
    ]
    rows.append(["chance", "–", *map(show_chances, UNIT_MEASURES)])
    return make_table(["units", "fire on", *(f"`{name}`" for name in UNIT_MEASURES)], rows)


def llm_table(read: Reader) -> str:
    """Calls and tokens of each way to label, and of proposing candidates."""
    found = read("benchmarks/results/llm.json")
    rows = []
    for name, text in LLM.items():
        figures = (found[f"{what}_per_1000"][name] for what in ("calls", "tokens", "answer_tokens"))
        sentences = found["sentences"].get(name, 0)
        rows.append([text.format(sentences), *(f"{figure:,.0f}" for figure in figures)])
    return make_table(["per 1,000 sentences", "calls", "tokens", "of these, answers"], rows)


def preset_table(read: Reader) -> str:
    """The default beside the presets that were run: value, chance level and random directions of each measure."""
    figures = read_details(read) | flatten(read("metrics/detail/beyond.json"))
    default = {
        name: {
            "value": figures[name],
            "chance": find_chance(figures, name),
            "random_directions": figures.get(f"null.random_directions.{name}"),
        }
        for name in PRESETS
        if name in figures
    }
    found = read("benchmarks/results/presets.json")
    names = sorted(found, reverse=True)
    minutes = [read("benchmarks/results/repro.json")["seconds"] / 60, *(found[name]["minutes"] for name in names)]
    runs = [default, *(found[name]["measures"] for name in names)]

    def fill_cell(run: Mapping[str, Any], name: str) -> str:
        levels = [show(run.get(name, {}).get(level), name) or "–" for level in ("value", "chance", "random_directions")]
        return " / ".join(levels) if name in run else "–"

    rows = [[TITLES.get(name) or find_measure(name).title, *(fill_cell(run, name) for run in runs)] for name in PRESETS]
    shown = [f"{minute:.0f}" for minute in minutes]
    rows.append(["Minutes on two cores (presets: after the default, beside other work)", *shown])
    return make_table(["value / chance / random directions", "default", *(f"`{name}`" for name in names)], rows)


def fault_table(read: Reader) -> str:
    """What is lost when things break."""
    found = read("benchmarks/results/faults.json")
    rows = [
        ("a run is killed, interrupted or out of space", "kills", "kills_lost", "results lost"),
        ("a file is damaged", "damages", "damages_unnoticed", "unnoticed"),
        ("an input is bad", "bad_inputs", "bad_inputs_with_traceback", "ended in a traceback"),
    ]
    return make_table(
        ["what goes wrong", "times", "outcome"],
        ([text, f"{found[times]:,}", f"{found[bad]:,} {outcome}"] for text, times, bad, outcome in rows),
    )


TABLES: dict[str, Callable[[Reader], str | None]] = {
    "metrics": metrics_table,
    "columns": column_table,
    "headlines": headline_table,
    "beyond": beyond_table,
    "paper": paper_table,
    "choice": choice_table,
    "planted": planted_table,
    "transfer": transfer_table,
    "stages": stage_table,
    "speed": speed_table,
    "memory": memory_table,
    "amazon": amazon_table,
    "units": units_table,
    "llm": llm_table,
    "presets": preset_table,
    "faults": fault_table,
}
PLACE = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def fill(text: str, read: Reader = read_file) -> str:
    """A document with each of its tables made anew; one whose figures are not at hand stays as it is."""

    def replace(place: re.Match[str]) -> str:
        table = TABLES[place[1]](read)
        return place[0] if table is None else f"<!-- table: {place[1]} -->\n\n{table}\n\n<!-- end -->"

    return PLACE.sub(replace, text)


def main() -> None:
    for path in (Path("README.md"), *sorted(Path("docs").glob("*.md"))):
        before = path.read_text()
        after = fill(before)
        if after != before:
            path.write_text(after)
            print(f"{path}: tables brought up to date")


if __name__ == "__main__":
    main()
