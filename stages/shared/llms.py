"""The language models that params.yaml names, the answer cache and the prompts, for the stages that ask one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from descry.errors import InputError
from descry.llm.cache import AnswerCache
from descry.llm.client import Client
from descry.llm.options import LocalOptions, ServerOptions
from descry.llm.prompts import Prompt
from descry.results import layout
from descry.settings.llms import Llm, Llms, LocalLlm
from descry.settings.runtime import Asking, Sharding
from descry.storage.files import read_json
from stages.harness.stage import read_text
from stages.shared.shards import start_ray

PROMPTS = Path("prompts")


def open_client(name: str, llms: Llms, asking: Asking, sharding: Sharding) -> Client:
    """Open the client of the language model `name`. Errors: InputError if there is none or it has no weights."""
    chosen = _find(name, llms)
    if isinstance(chosen, LocalLlm):
        return _open_local(name, chosen, sharding, likelihood=False)
    from descry.llm.server import Server

    return Server(
        name,
        ServerOptions(**chosen.model_dump(exclude={"client"})),
        parallel=asking.concurrency,
        timeout=asking.timeout,
        retries=asking.retries,
    )


def open_likelihood(name: str, llms: Llms, sharding: Sharding) -> Client:
    """Open the client that gives the likelihood of texts under the language model `name` (see `asking.score`). Errors:
    InputError as `open_client`, or if the model is behind a server."""
    chosen = _find(name, llms)
    if not isinstance(chosen, LocalLlm):
        raise InputError(
            f"params.yaml: llms.{name} is a server, which gives no likelihood of a text; name a model with the client "
            "transformers"
        )
    return _open_local(name, chosen, sharding, likelihood=True)


def _find(name: str, llms: Llms) -> Llm:
    if (chosen := llms.entries.get(name)) is None:
        known = ", ".join(sorted(llms.entries)) or "none"
        raise InputError(f"params.yaml: no language model {name!r} in llms (there: {known})")
    return chosen


def _open_local(name: str, chosen: LocalLlm, sharding: Sharding, *, likelihood: bool) -> Client:
    from descry.llm.remote import LlmLoader, RemoteModel

    folder = (layout.MODELS / "llms" / name).absolute()
    if not folder.is_dir():
        raise InputError(f"params.yaml: llms.{name} runs on this machine: name its weights in models.llms.{name}")
    files = read_json(folder / "manifest.json")["files"]
    weights = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    loader = LlmLoader(folder, name, weights, LocalOptions(**chosen.model_dump(exclude={"client"})), likelihood)
    return RemoteModel(start_ray(sharding), loader) if sharding.engine == "ray" else loader.load()


def open_answers(asking: Asking) -> AnswerCache:
    """Open the answer cache. Errors: InputError if its folder cannot be used."""
    try:
        folder = Path(asking.answers).expanduser()
    except RuntimeError as error:
        raise InputError(f"params.yaml: runtime.answers is {asking.answers!r}: {error} Give another folder") from None
    return AnswerCache(folder)


def read_prompt(name: str, fields: tuple[str, ...]) -> Prompt:
    """Read `prompts/<name>.txt`. Errors: InputError if it cannot be read or its fields are not `fields`."""
    path = PROMPTS / f"{name}.txt"
    return Prompt.parse(read_text(path), fields, str(path))
