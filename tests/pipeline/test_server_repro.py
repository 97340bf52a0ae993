"""Stages that ask a language model behind a server; a script answers for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from descry.errors import InputError
from descry.schemas.generate import ANSWER_TABLE, CANDIDATE_TABLE
from descry.schemas.label import AGREEMENT_TABLE
from descry.settings.llms import Llms
from descry.settings.parsing import parse_section
from descry.settings.runtime import Asking, RayOptions, Sharding
from descry.storage.tables import read_table
from stages.shared.llms import open_client, read_prompt
from tests.support.fake_server import FakeServer, Reply, Seen, refused, said
from tests.support.projects import SMALL, Shell, change, clone, shell

KEY, VARIABLE = f"sk-{uuid4().hex}", "SHOP_KEY"
SIGNS = {
    "battery": "battery|charge|charging|charged",
    "sound": "sound|loud|noise|quiet|volume",
    "delivery": "arrived|delivery|box|courier",
    "price": "price|money|cost|paid",
    "size": "size|small|large|big",
    "smell": "smell|smells|scent",
    "colour": "colour|black|blue|white|red",
    "instructions": "instructions|manual|guide",
}


def reader(seen: Seen) -> Reply:
    """Answers the project's own prompts, by words of the sentence that it is asked about."""
    if seen.headers["authorization"] != f"Bearer {KEY}":
        return refused(401)
    sentence = seen.prompt.rpartition("Sentence: ")[2].splitlines()[0].lower()
    if "list of descriptors" in seen.prompt:
        found = [word for word in re.findall(r"\w+", sentence) if f"\n{word}\n" in seen.prompt]
    else:
        found = [name for name, words in SIGNS.items() if re.search(rf"\b({words})\b", sentence)]
    return said(", ".join(found) or "none")


CHANGES = SMALL | {
    "split.limit": "160",
    "generate.generators": "[retrieval, shop]",
    "cluster.threshold": "0.7",
    "cluster.min_sentences": "4",
    "label.labeller": "distil",
    "label.prompted.llm": "shop",
    "label.distil.sample": "200",
    "runtime.concurrency": "4",
    "runtime.retries": "1",
}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(reader) as serving:
        yield serving


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, server: FakeServer) -> tuple[Path, Shell, str]:
    folder, site = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("site")
    llm = f"{{shop: {{client: openai, base_url: '{server.url}', model: reader, key: {VARIABLE}}}}}"
    clone(folder, site, CHANGES | {"llms": llm})
    run = shell(folder, site, **{VARIABLE: KEY})
    done = run("dvc", "repro", "label@first")
    return folder, run, done.stdout + done.stderr


def test_what_is_asked_is_what_was_announced_and_all_is_kept(
    project: tuple[Path, Shell, str], server: FakeServer
) -> None:
    folder, _, output = project
    candidates = read_table(folder / "data/candidates.parquet", CANDIDATE_TABLE)
    assert set(candidates["generator"]) == {"retrieval", "shop"}
    answers = read_table(folder / "data/answers.parquet", ANSWER_TABLE)
    assert set(answers["generator"]) == {"shop"}
    descriptors = json.loads((folder / "data/descriptors.json").read_text())["descriptors"]
    members = {member for descriptor in descriptors for member in descriptor["members"]}
    assert len(members & set(SIGNS)) >= 6
    agreed = read_table(folder / "data/labels/first/agreement.parquet", AGREEMENT_TABLE)
    given = agreed[agreed["positives"] > 0]
    assert given["f1"].mean() > 1.5 * given["chance"].mean()
    generate, label = (output.index(f"{job}, shop: ") for job in ("generate", "label"))
    assert f"{len(answers):,} calls" in output[generate : generate + 80]
    assert "200 calls" in output[label : label + 80]
    assert len(server.seen) <= len(answers) + 200  # equal sentences are asked once


def test_the_key_is_in_no_file_and_no_output(project: tuple[Path, Shell, str]) -> None:
    folder, _, output = project
    assert KEY not in output
    held = [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert not held
    assert (folder / ".answers/answers.sqlite").is_file()


def test_a_prompt_is_part_of_the_stage(project: tuple[Path, Shell, str]) -> None:
    folder, run, _ = project
    for name, stages in {"generate": {"generate"}, "label_list": {"label@first"}}.items():
        path = folder / "prompts" / f"{name}.txt"
        text = path.read_text()
        path.write_text(text + "\n")
        try:
            assert set(json.loads(run("dvc", "status", "--json", "generate", "label@first").stdout)) == stages
        finally:
            path.write_text(text)
    assert yaml.safe_load((folder / "params.yaml").read_text())["llms"]["shop"]["key"] == VARIABLE


def test_an_experiment_asks_only_what_is_new(project: tuple[Path, Shell, str], server: FakeServer) -> None:
    folder, run, _ = project
    before = len(server.seen)
    change(folder, "label.distil.sample", "230")
    try:
        done = run("dvc", "repro", "-s", "label@first")
        assert ", 200 answered already, 30 to make" in done.stdout
        assert len(server.seen) - before <= 30
    finally:
        change(folder, "label.distil.sample", "200")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ("", f"descry: llms.shop: the environment variable {VARIABLE} is not set"),
        ("sk-wrong", f"the key in {VARIABLE}"),
    ],
)
def test_a_key_that_is_not_there_or_wrong_says_one_line(
    project: tuple[Path, Shell, str], server: FakeServer, environment: str, said: str
) -> None:
    folder, _, _ = project
    before = len(server.seen)
    change(folder, "label.distil.seed", "1")
    done = shell(folder, folder.parent / "site", **{VARIABLE: environment})(
        "dvc", "repro", "-s", "label@first", check=False
    )
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("descry: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in done.stderr
    assert "sk-" not in done.stdout + done.stderr
    assert len(server.seen) - before <= 1


def test_a_language_model_that_is_not_there_is_named() -> None:
    asking = Asking(concurrency=1, timeout=1.0, retries=0, answers="x")
    llms = parse_section(Llms, {"llms": {"shop": {"client": "transformers"}}})
    local = Sharding(shard=1, engine="local", ray=RayOptions(address="", workers=1, cpus=1.0, gpus=0.0))
    with pytest.raises(InputError, match=r"no language model 'shoppe' in llms \(there: shop\)$"):
        open_client("shoppe", llms, asking, local)
    with pytest.raises(InputError, match=r"llms.shop runs on this machine: name its weights in models.llms.shop$"):
        open_client("shop", llms, asking, local)
    with pytest.raises(InputError, match=r"^prompts/nowhere.txt: cannot be read"):
        read_prompt("nowhere", ())
