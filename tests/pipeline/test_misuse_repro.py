"""Misused: whatever a user gives, a stage ends in one line that says where, what and how to mend it, and writes
nothing; or it works and says what it did."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from descry.schemas.generate import CANDIDATE_TABLE
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import SENTENCE_TABLE
from descry.storage.arrays import read_arrays, write_arrays
from descry.storage.files import write_json
from descry.storage.tables import read_table, write_table
from descry.vocabulary.candidates import build_candidate_table
from tests.support.fake_server import NO_JSON, FakeServer, said
from tests.support.forks import Forks
from tests.support.projects import SMALL, change, clone, shell, with_model

LONGEST = 60.0
"""Seconds: a stage that takes longer than that on so little hangs."""
FOLLOWING = [
    "assign calibration", "assign validation", "associate", "ends", "writes", "triggers", "relations", "depth",
    "replicate", "ablate", "describe", "judge",
    "consistency", "evaluate", "resplit", "sweep", "metrics", "report",
]  # fmt: skip
STAGES = [
    "models target", "models dictionaries", "models embedder", "models llms", "split", "generate", "cluster",
    "label first", "label second", "extract calibration", "extract validation", "controls", "tokens", "neighbours",
    "transfer",
    *FOLLOWING,
]  # fmt: skip

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A project misused, the stages then run until one fails, and what that one says. works: whether none fails, and
    any says it."""

    change: Change
    stages: Sequence[str]
    said: str
    works: bool = False


def all_of(*changes: Change) -> Change:
    def made(folder: Path) -> None:
        for one in changes:
            one(folder)

    return made


def setting(path: str, value: str) -> Change:
    return lambda folder: change(folder, path, value)


def written(name: str, content: str | bytes) -> Change:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def parameters(*changed: tuple[str, str]) -> Change:
    """params.yaml with one text in place of another, in turn."""

    def made(folder: Path) -> None:
        path = folder / "params.yaml"
        text = path.read_text()
        for old, new in changed:
            assert old in text
            text = text.replace(old, new, 1)
        path.write_text(text)

    return made


def reviews(content: str | bytes, name: str = "own.jsonl") -> Change:
    """Reviews of one's own."""
    return all_of(setting("split.source", name), setting("split.limit", "null"), written(name, content))


def another(name: str) -> Change:
    """A second corpus of one's own."""
    return all_of(setting("transfer.source", name), setting("transfer.limit", "null"))


def jsonl(*texts: object) -> str:
    return "".join(json.dumps({"review_id": f"r{row}", "text": text}) + "\n" for row, text in enumerate(texts))


def own_model(role: str, **broken: str | bytes | None) -> Change:
    """A copy of the tiny model as that role's source, with some of its files (`__` stands for a dot) replaced; None:
    taken away."""

    def made(folder: Path) -> None:
        source = Path(yaml.safe_load((folder / "params.yaml").read_text())["models"][role]["source"])
        shutil.copytree(source, folder / "own")
        for name, content in broken.items():
            path = folder / "own" / name.replace("__", ".")
            path.unlink(missing_ok=True)
            if content is not None:
                written(f"own/{path.name}", content)(folder)
        change(folder, f"models.{role}.source", "own")

    return made


def weights(role: str, value: float, only: str = "") -> Change:
    """The model of that role with every number of its weights (only: of those so called) the same."""

    def made(folder: Path) -> None:
        own_model(role)(folder)
        path = folder / "own/model.safetensors"
        tensors = {n: np.full_like(a, value) if only in n else a for n, a in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})

    return made


def config(role: str, **values: Any) -> Change:
    """The model of that role with other values in its config.json."""

    def made(folder: Path) -> None:
        own_model(role)(folder)
        path = folder / "own/config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return made


def vocabulary(count: int) -> Change:
    """So many descriptors, each proposed by one sentence or more."""

    def made(folder: Path) -> None:
        rows = len(read_table(folder / "data/sentences/calibration.parquet", SENTENCE_TABLE))
        names = [f"descriptor {number}" for number in range(count)]
        size = max(rows, count)
        candidates = build_candidate_table(
            np.arange(size) % rows, [names[row % count] for row in range(size)], np.ones(size), np.zeros(size), "test"
        )
        write_table(folder / "data/candidates.parquet", candidates, CANDIDATE_TABLE)
        found = [{"name": name, "members": [name], "sentences": 1} for name in names]
        write_json(folder / "data/descriptors.json", {"descriptors": found})

    return made


def labels(value: int) -> Change:
    """Every descriptor is borne by every sentence, or by none."""

    def made(folder: Path) -> None:
        for path in (folder / "data/labels").rglob("*.safetensors"):
            arrays, meta = read_arrays(path, LABEL_ARRAYS)
            arrays["labels"][:] = value
            write_arrays(path, arrays, LABEL_ARRAYS, meta)

    return made


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def asking(url: str, **more: str) -> Change:
    """A server's model as the one generator."""
    options = {"client": "openai", "base_url": f"'{url}'", "model": "m"} | more
    return all_of(
        setting("llms", f"{{q: {{{', '.join(f'{key}: {value}' for key, value in options.items())}}}}}"),
        setting("generate.generators", "[q]"),
        setting("runtime.retries", "0"),
        setting("runtime.concurrency", "2"),
        setting("runtime.timeout", "5.0"),
    )


FEW = [f"The battery of box {letter} died after a week." for letter in "abcdefghijklmnopqrst"]
NOWHERE = "http://127.0.0.1:1/v1"
HUGE = "9" * 30
EXTRACT = ["models target", "extract calibration"]
GENERATE = ["models embedder", "generate"]
LABEL = ["label first", "label second"]
EDITED = "rename: {}\nmerge: {}\ndrop: []\n"


def csv(*texts: str, end: str = "\n") -> str:
    return "".join(line + end for line in ("review_id,text", *(f"{row},{text}" for row, text in enumerate(texts))))


def linked(folder: Path) -> None:
    (folder / "loop.jsonl").symlink_to("loop.jsonl")


REVIEWS = {
    "utf-16": Case(reviews(csv(*FEW).encode("utf-16"), "own.csv"), ["split"], "own.csv, line 1: not valid UTF-8"),
    "latin-1": Case(reviews(csv("ok", "caf\xe9").encode("latin-1"), "own.csv"), ["split"], "own.csv, line 3: not"),
    "broken utf-8": Case(reviews(b"ok\n\xe2\x82\n", "own.txt"), ["split"], "own.txt, line 2: not valid UTF-8"),
    "byte order mark": Case(reviews("\ufeff" + csv(*FEW), "own.csv"), ["split"], "sentences 20", works=True),
    "windows line ends": Case(reviews(csv(*FEW, end="\r\n"), "own.csv"), ["split"], "sentences 20", works=True),
    "lines that end in CR": Case(reviews(csv(*FEW, end="\r"), "own.csv"), ["split"], "end lines with LF"),
    "nul bytes": Case(reviews(jsonl(*(f"\0{text}" for text in FEW))), ["split"], "sentences 20", works=True),
    "right to left": Case(
        reviews(jsonl(*(f"\u202eالبطارية {letter} ممتازة\u202c" for letter in "abcdefgh"))),
        ["split"], "sentences 8", works=True,
    ),
    "emoji only": Case(reviews(jsonl("😀", "👍🏽", "🎉")), ["split"], "not one of its 3 reviews has a sentence with a"),
    "zero width only": Case(reviews(jsonl("\u200b", "\u2060\ufeff")), ["split"], "has a sentence with a letter"),
    "numbers only": Case(reviews(csv(*"123456"), "own.csv"), ["split"], "check that the text field is the right one"),
    "marks without end": Case(reviews(jsonl("e" + "\u0301\u0316" * 10**5, *FEW)), ["split"], "sentences 21", True),
    "a line of 10 MB": Case(
        reviews(jsonl("battery " * 1_250_000, *FEW)), ["split", "extract calibration"], "sentences", works=True
    ),
    "100,000 equal reviews": Case(reviews(jsonl(*["It died."] * 10**5)), ["split"], "100000 reviews, 1 different sent"),
    "100,000 equal reviews and some": Case(
        reviews("It died.\n" * 10**5 + "\n".join(FEW), "own.txt"), ["split"], "duplicates 99999", works=True
    ),
    "one review": Case(reviews(jsonl("It died.")), ["split"], "holds one review; at least two are needed"),
    "two reviews": Case(reviews(jsonl("It died.", "It lives.")), ["split"], "reviews 2, ", works=True),
    "all on one side": Case(
        all_of(reviews(jsonl(*FEW)), setting("split.validation", "0.001")), ["split"], "no sentence falls into the val"
    ),
    "few reviews": Case(reviews(jsonl(*FEW)), ["split", "extract calibration", "assign calibration"],
                        "params.yaml: assign.exemplars is 40, but"),
    "ids that repeat": Case(reviews('{"review_id": 1, "text": "A."}\n' * 2), ["split"], "the review_id '1' was used"),
    "ids of two lines": Case(reviews('{"review_id": "a\\nb", "text": "A."}\n' * 2), ["split"], "'a\\nb' was used"),
    "no ids": Case(reviews("\n".join(FEW), "own.txt"), ["split"], "reviews 20", works=True),
    "nested json": Case(reviews('{"text": {"en": "A."}}'), ["split"], "line 1: 'text' is an object; make it a string"),
    "broken json": Case(reviews(jsonl("A.") + '{"text": "B'), ["split"], "own.jsonl, line 2: broken JSON at column"),
    "an unclosed quote": Case(reviews('text,n\n"A,1\nB,2\n', "own.csv"), ["split"], "line 2: the row that begins here"),
    "another separator": Case(reviews("review_id;text\n1;A.\n", "own.csv"), ["split"], "line 1: no field 'text'"),
    "a column that is not there": Case(
        all_of(reviews(csv(*FEW), "own.csv"), setting("split.text_field", "body")), ["split"], "line 1: no field 'body'"
    ),
    "an empty file": Case(reviews("", "own.csv"), ["split"], "own.csv: is empty; give a file with reviews"),
    "a header alone": Case(reviews(csv(), "own.csv"), ["split"], "own.csv: holds no review"),
    "a folder": Case(setting("split.source", "data"), ["split"], "data: is a folder; name one file in it"),
    "a pipe": Case(
        all_of(setting("split.source", "own.csv"), lambda folder: os.mkfifo(folder / "own.csv")),
        ["split"], "own.csv: is a pipe or a device; give a file",
    ),
    "a link to itself": Case(all_of(setting("split.source", "loop.jsonl"), linked), ["split"], "loop.jsonl: no such"),
    "a name too long": Case(setting("split.source", "x" * 5000), ["split"], "cannot be opened (File name too long)"),
    "a name of two lines": Case(setting("split.source", '"a\\nb.csv"'), ["split"], r"a\nb.csv: no such file"),
    "another format": Case(setting("split.source", "params.yaml"), ["split"], "params.yaml: .yaml is not a format"),
    "a data set without its library": Case(setting("split.hub", "hf://a/b"), ["split"], "hf://a/b: "),
}  # fmt: skip


def number(path: str, value: str, stage: str) -> tuple[str, Case]:
    """A number that cannot be."""
    name = "params.yaml: " + path
    return f"{path} is {value}", Case(setting(path, value), [stage], name)


SETTINGS = dict(
    [
        number("assign.alpha", ".nan", "assign calibration"),
        number("assign.min_lift", ".inf", "assign calibration"),
        number("assign.exemplars", "many", "assign calibration"),
        number("assign.exemplars", "10000", "assign calibration"),
        number("assign.tau", "-0.1", "assign calibration"),
        number("split.limit", HUGE, "split"),
        number("split.key", "é" * 40, "split"),
        number("controls.seed", HUGE, "controls"),
        number("runtime.shard", HUGE, "extract calibration"),
        number("runtime.batch_tokens", "0", "generate"),
        number("runtime.device", "cuda:7", "generate"),
        number("extract.layers", "[9]", "extract calibration"),
        number("label.embedding.sharpness", "1.0e+300", "label first"),
        number("label.lexical.letters", HUGE, "label second"),
        number("sweep.thresholds", "[0.1, 0.1]", "sweep"),
        number("sweep.ks", "[3]", "sweep"),
        number("evaluate.ks", "[1, 1]", "evaluate"),
        number("report.exemplars", "true", "report"),
        number("triggers.enabled", "1", "triggers"),
        number("triggers.share", "1.0", "triggers"),
        number("relations.alpha", "0", "relations"),
        number("depth.repeats", HUGE, "depth"),
        number("transfer.language", "x", "transfer"),
        number("transfer.repeats", "0", "replicate"),
        number("ablate.value", "off", "ablate"),
        number("ablate.neurons", "[1]", "ablate"),
    ]
) | {
    "an unknown key": Case(
        parameters(("\n  alpha:", "\n  aplha:")), ["assign calibration"], "assign.aplha is not a known key"
    ),
    "a section that is a list": Case(
        parameters(("\nreport:", "\nreport: [1]\nrest:")), ["report"], "section `report` is not there or not a mapping"
    ),
    "a labeller that nobody answers for": Case(
        setting("label.labeller", "list"), ["label first"], "'list' asks a language model: name it in"
    ),
    "a pattern that matches nothing": Case(
        setting("extract.modules", "nothing.*"), ["extract calibration"], "extract.modules 'nothing.*' matches no"
    ),
    "candidates beyond the terms": Case(setting("generate.per_sentence", "100"), GENERATE, "candidates", works=True),
    "top_k and probe beyond the corpus": Case(
        all_of(setting("extract.top_k", "10000"), setting("extract.probe", "100000")),
        ["extract calibration"], "144 units of 3 layers over", works=True,
    ),
    "no exemplars left to sweep": Case(
        setting("sweep.exemplars", "[9999]"), ["sweep", "report"], "sweep.exemplars: [9999] left out", works=True
    ),
    "ks beyond the descriptors": Case(
        all_of(setting("evaluate.ks", "[1, 2, 999]"), setting("sweep.ks", "[1, 2, 999]")), FOLLOWING, "", works=True
    ),
    "more sentences read than kept": Case(
        all_of(
            setting("tokens.exemplars", "100"),
            setting("neighbours.exemplars", "1000"),
            setting("neighbours.nearest", "100"),
        ),
        ["tokens", "neighbours", "report"], "", works=True,
    ),
    "more sentences shown than read": Case(setting("report.exemplars", "100"), ["report"], "", works=True),
    "no sentence explained": Case(setting("tokens.examples", "0"), ["tokens", "report"], "", works=True),
    "nothing found": Case(setting("assign.min_lift", "1.0e+9"), FOLLOWING[:3], "0 pairs", works=True),
}  # fmt: skip

BEYOND = {
    "the same corpus again": Case(
        all_of(another("data/reviews.jsonl"), setting("transfer.limit", "120")), ["transfer"],
        "reviews has a sentence with a letter in it that is not in the first corpus too",
    ),
    "of another format": Case(another("params.yaml"), ["transfer"], ".yaml is not a format"),
    "without its field": Case(
        all_of(written("own.csv", csv(*FEW)), another("own.csv"), setting("transfer.text_field", "body")),
        ["transfer"], "own.csv, line 1: no field 'body'",
    ),
    "with fewer sentences than a set has": Case(
        all_of(written("own.csv", csv(*FEW)), another("own.csv")), ["transfer", "replicate"],
        "params.yaml: assign.exemplars is 40, but",
    ),
    "of one review": Case(
        all_of(written("own.txt", "\n".join(FEW)), another("own.txt"), setting("assign.exemplars", "10")),
        ["transfer", "replicate"], "sentences 20", works=True,
    ),
    "of a language that nobody cuts": Case(setting("transfer.language", "xx"), ["transfer"], "sentences", works=True),
    "none": Case(setting("transfer.enabled", "false"), ["transfer", "replicate", "metrics", "report"], "", works=True),
    "no neuron switched off": Case(setting("ablate.enabled", "false"), ["ablate", "metrics", "report"], "", works=True),
    "no word": Case(setting("triggers.enabled", "false"), ["triggers", "metrics", "report"], "", works=True),
    "no relation": Case(setting("relations.enabled", "false"), ["relations", "metrics", "report"], "", works=True),
    "no depth": Case(setting("depth.enabled", "false"), ["depth", "metrics", "report"], "", works=True),
    "more than there is": Case(
        all_of(
            setting("ablate.neurons", "100000"), setting("ablate.sentences", "100000"), setting("ablate.draws", "2"),
            setting("triggers.words", "100"), setting("triggers.strongest", "100000"),
        ),
        ["triggers", "ablate"], "", works=True,
    ),
    "one layer": Case(
        setting("extract.layers", "[2]"), ["extract calibration", "extract validation", "depth"], "", works=True
    ),
}  # fmt: skip

MODELS = {
    "an empty folder": Case(
        all_of(lambda folder: (folder / "own").mkdir(), setting("models.target.source", "own")),
        ["models target"], "model own: the folder has no config.json",
    ),
    "a pickle only": Case(
        own_model("target", model__safetensors=None, pytorch_model__bin=b"x"), ["models target"], "has no *.safetensors"
    ),
    "no such package": Case(setting("models.target.source", "package:__main__"), ["models target"], "no package of"),
    "a path too long": Case(setting("models.target.source", "x" * 5000), ["models target"], "cannot be copied"),
    "no such llm": Case(setting("models.llms", "{q: {source: nowhere}}"), ["models llms"], "model nowhere: no such"),
    "cut weights": Case(own_model("target", model__safetensors=b"\x20\0\0\0\0\0\0\0{"), ["models target"], "damaged"),
    "broken config": Case(own_model("target", config__json="{"), EXTRACT, "config.json"),
    "a config that is a list": Case(own_model("target", config__json="[1]"), EXTRACT, "the target model does not load"),
    "no heads": Case(config("target", num_attention_heads=0), EXTRACT, "the target model does not load"),
    "a size in words": Case(config("target", hidden_size="large"), EXTRACT, "the target model does not load"),
    "an unknown kind": Case(config("target", model_type="nonsense"), EXTRACT, "the target model does not load"),
    "more layers than weights": Case(config("target", num_hidden_layers=7), EXTRACT, "of the weights that config.json"),
    "fewer layers than weights": Case(config("target", num_hidden_layers=2), EXTRACT, "have no place in the model of"),
    "wider than its weights": Case(config("target", hidden_size=48), EXTRACT, "but config.json asks for"),
    "no tokenizer": Case(
        own_model("target", tokenizer__json=None, tokenizer_config__json=None), EXTRACT, "its tokenizer knows no words"
    ),
    "a broken tokenizer": Case(own_model("target", tokenizer__json="{"), EXTRACT, "the target model does not load"),
    "a model that yields NaN": Case(weights("target", float("nan")), EXTRACT, "are not finite numbers"),
    "an encoder without heads": Case(config("embedder", num_attention_heads=0), GENERATE, "not a sentence encoder"),
    "an encoder of another size": Case(config("embedder", hidden_size=48), GENERATE, "not a sentence encoder"),
    "an encoder that yields NaN": Case(weights("embedder", float("nan")), GENERATE, "are not finite numbers"),
}  # fmt: skip

VOCABULARY = {
    "edits cut off": Case(written("data/edits.yaml", "rename: {a: b\n"), ["cluster"], "edits.yaml, line 2: not YAML"),
    "edits in latin-1": Case(written("data/edits.yaml", b"drop: [\xe9]"), ["cluster"], "edits.yaml: not valid UTF-8"),
    "edits with a date": Case(written("data/edits.yaml", "drop: [2024-13-45]"), ["cluster"], "edits.yaml: not YAML"),
    "edits that say a key twice": Case(written("data/edits.yaml", EDITED + "drop: [x]"), ["cluster"], "duplicate key"),
    "edits with an object": Case(written("data/edits.yaml", "!!python/name:os.system"), ["cluster"], "edits.yaml, l"),
    "edits that hold themselves": Case(written("data/edits.yaml", "drop: &a [*a]"), ["cluster"], "drop.0 is [[[...]]]"),
    "edits of a list": Case(written("data/edits.yaml", "[1]"), ["cluster"], "edits.yaml: the file is [1]"),
    "edits of an unknown name": Case(
        written("data/edits.yaml", EDITED.replace("[]", "[nobody]")), ["cluster"], "no descriptor 'nobody'"
    ),
    "edits to an empty name": Case(
        written("data/edits.yaml", EDITED.replace("{}", "{days: ''}", 1)), ["cluster"], "edits.yaml: rename.days is ''"
    ),
    "no descriptor found": Case(setting("cluster.min_sentences", "99999"), ["cluster"], "lower `cluster.threshold` or"),
    "one descriptor": Case(vocabulary(1), [*LABEL, "transfer", *FOLLOWING], "", works=True),
    "2,000 descriptors": Case(vocabulary(2000), LABEL, "labels a sentence", works=True),
    "a descriptor on every sentence": Case(labels(1), FOLLOWING, "0 pairs", works=True),
    "a descriptor on no sentence": Case(labels(0), FOLLOWING, "0 pairs", works=True),
    "no label known": Case(labels(-1), FOLLOWING, "0 pairs", works=True),
}  # fmt: skip

LLMS = {
    "an endpoint that refuses": Case(asking(NOWHERE), ["generate"], "127.0.0.1:1/v1 cannot be reached"),
    "no such port": Case(asking("http://127.0.0.1:99999/v1"), ["generate"], "llms.q"),
    "no host": Case(asking("http:///v1"), ["generate"], "llms.q"),
    "a key in place of its variable": Case(asking(NOWHERE, key="sk-123"), ["generate"], "llms.q.key: not the name of"),
    "a key that is not set": Case(asking(NOWHERE, key="NOT_SET_HERE"), ["generate"], "NOT_SET_HERE is not set"),
    "nobody of that name": Case(setting("generate.generators", "[nobody]"), ["generate"], "no language model 'nobody'"),
    "a prompt without its fields": Case(
        all_of(asking(NOWHERE), written("prompts/generate.txt", "Name it.")), ["generate"], "the prompt has no {example"
    ),
    "a prompt in latin-1": Case(
        all_of(asking(NOWHERE), written("prompts/generate.txt", b"\xe9")), ["generate"], "generate.txt: not valid UTF-8"
    ),
    "answers in a file": Case(
        all_of(asking(NOWHERE), setting("runtime.answers", "params.yaml")), ["generate"], "cannot hold the answer cache"
    ),
    "answers with a NUL": Case(
        all_of(asking(NOWHERE), setting("runtime.answers", '"a\\0b"')), ["generate"], "cannot hold the answer cache"
    ),
    "answers of nobody": Case(
        all_of(asking(NOWHERE), setting("runtime.answers", "~nobody-at-all/x")), ["generate"], "runtime.answers"
    ),
    "extra that is not a number": Case(asking(NOWHERE, extra="{a: .nan}"), ["generate"], "llms.q"),
    "extra with a date": Case(asking(NOWHERE, extra="{a: 2024-01-01}"), ["generate"], "llms.q"),
}  # fmt: skip

CASES = {
    f"{kind}: {name}": case
    for kind, cases in {
        "reviews": REVIEWS, "settings": SETTINGS, "beyond": BEYOND, "models": MODELS, "vocabulary": VOCABULARY,
        "llms": LLMS,
    }.items()
    for name, case in cases.items()
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with tiny models."""
    folder, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    clone(folder, site, SMALL | with_model(tiny_bert))
    return folder


@pytest.fixture(scope="module")
def forks(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """What forks has run the whole pipeline in the project."""
    found = Forks(project, tmp_path_factory.mktemp("site"), STAGES)
    yield found
    found.close()


def outs(folder: Path, stage: str) -> list[Path]:
    """What a stage writes."""
    name, _, item = stage.partition(" ")
    said = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"][name]
    named = [
        next(iter(one)) if isinstance(one, dict) else one for one in said.get("outs", []) + said.get("metrics", [])
    ]
    return [folder / re.sub(r"\$\{item\.\w+\}", item, one) for one in named]


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file but what is kept for another run, with size and time of writing."""
    found = (path for path in folder.rglob("*") if not {".shards", ".answers"} & {*path.relative_to(folder).parts})
    stats = {path: path.lstat() for path in found if path.is_symlink() or path.is_file()}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def spoken(output: str) -> list[str]:
    """The lines of an output, without progress bars."""
    return [line for line in re.split(r"[\r\n]+", output) if line.strip() and "%|" not in line]


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_misuse_ends_in_one_line_or_works_and_says_what_it_did(
    project: Path, forks: Forks, tmp_path: Path, record_property: Callable[[str, int], None], name: str
) -> None:
    case, folder, told = CASES[name], tmp_path / "project", ""
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".git"))
    case.change(folder)
    for stage in case.stages:
        for out in outs(folder, stage):  # as DVC does
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        before = files(folder)
        code, output = forks.heard(stage, folder, tmp_path / "output", LONGEST)
        told += output
        if code:
            break
    record_property("bad_inputs", 1)
    record_property("bad_inputs_with_traceback", int("Traceback" in told))
    assert "Traceback" not in told
    assert case.said in told
    if case.works:
        assert code == 0
        assert all(out.exists() for out in outs(folder, stage))
        assert "descry: " not in told
        return
    assert code == 1
    assert spoken(output)[-1].startswith("descry: ")
    assert case.said in spoken(output)[-1]
    assert len([line for line in spoken(output) if "descry: " in line]) == 1
    assert files(folder) == before


READ_BY_DVC = {
    "params.yaml that is empty": (written("params.yaml", ""), "split.source"),
    "params.yaml that is broken": (parameters(("\nassign:", "\nassign: [")), "params.yaml"),
    "a section twice": (parameters(("\nassign:", "\nsplit:")), "params.yaml"),
    "a section that is not there": (parameters(("\nsplit:", "\nsplat:")), "split.source"),
    "a file that is not there": (setting("split.source", "nowhere.csv"), "nowhere.csv"),
    "an edits.yaml that is not there": (lambda folder: (folder / "data/edits.yaml").unlink(), "edits.yaml"),
}


@pytest.mark.long
@pytest.mark.parametrize("name", READ_BY_DVC)
def test_what_dvc_reads_first_is_told_in_one_line(
    project: Path, tmp_path: Path, record_property: Callable[[str, int], None], name: str
) -> None:
    made, said_by_dvc = READ_BY_DVC[name]
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    made(folder)
    before = files(folder / "data")
    done = shell(folder, tmp_path / "site")("dvc", "repro", "-s", "split", "cluster", check=False)
    said_all = done.stdout + done.stderr
    record_property("bad_inputs", 1)
    record_property("bad_inputs_with_traceback", int("Traceback" in said_all))
    assert done.returncode != 0
    assert "Traceback" not in said_all
    (line,) = [line for line in spoken(done.stderr) if line.startswith("ERROR: ")]
    assert said_by_dvc in line
    assert files(folder / "data").keys() <= before.keys()


@pytest.mark.parametrize("reply", [NO_JSON, said("")], ids=["no JSON", "nothing"])
def test_an_endpoint_that_answers_nonsense_is_told_in_one_line(
    project: Path, forks: Forks, tmp_path: Path, record_property: Callable[[str, int], None], reply: Any
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".git"))
    with FakeServer(lambda _: reply) as server:
        asking(server.url)(folder)
        code, output = forks.heard("generate", folder, tmp_path / "output", LONGEST)
        if not code:
            code, output = forks.heard("cluster", folder, tmp_path / "output", LONGEST)
    record_property("bad_inputs", 1)
    record_property("bad_inputs_with_traceback", int("Traceback" in output))
    assert code == 1
    assert "Traceback" not in output
    assert spoken(output)[-1].startswith("descry: ")


DROPPED = """
import os, pandas, pyarrow.parquet
from stages import split
from stages.harness import environment, parameters, recorded, stage
os.environ["DVC_STAGE"] = "split"
os.setgid(65534), os.setuid(65534)
stage.run_stage(split.main)
"""


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize(("path", "mode"), [("own.csv", 0o000), ("data", 0o555)])
def test_without_permission_a_stage_says_so_in_one_line(
    project: Path, record_property: Callable[[str, int], None], path: str, mode: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".git", "sentences", "gold"))
        reviews(csv(*FEW), "own.csv")(folder)
        for reached in (Path(place), folder):
            reached.chmod(0o755)
        (folder / path).chmod(mode)
        done = shell(folder, Path(place), PYTHONPATH=str(folder))("python", "-c", DROPPED, check=False)
    record_property("bad_inputs", 1)
    record_property("bad_inputs_with_traceback", int("Traceback" in done.stderr))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"descry: {path}")
    assert done.stderr.count("\n") == 1
