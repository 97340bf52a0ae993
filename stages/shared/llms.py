"""The language models that params.yaml names, ready to be asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from descry.errors import InputError
from descry.llm.cache import AnswerCache
from descry.llm.client import Client
from descry.llm.prompts import Prompt
from descry.results import layout
from descry.settings.llms import Llms, LocalLlm
from descry.settings.runtime import Asking, Sharding
from descry.storage.files import read_json
from stages.harness.stage import read_text
from stages.shared.shards import start_ray

PROMPTS = Path("prompts")


def open_client(name: str, llms: Llms, asking: Asking, sharding: Sharding) -> Client:
    """The language model of that name. Errors: InputError where there is none, or its weights are not there."""
    chosen = llms.entries.get(name)
    if chosen is None:
        known = ", ".join(sorted(llms.entries)) or "none"
        raise InputError(f"params.yaml: no language model {name!r} in llms (there: {known})")
    options = chosen.model_dump(exclude={"client"})
    if isinstance(chosen, LocalLlm):
        folder = (layout.MODELS / "llms" / name).absolute()
        if not folder.is_dir():
            raise InputError(f"params.yaml: llms.{name} runs on this machine: name its weights in models.llms.{name}")
        files = read_json(folder / "manifest.json")["files"]
        weights = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        options |= {"name": name, "revision": weights}
        if sharding.engine == "ray":
            from descry.llm.remote import LlmLoader, RemoteModel

            return RemoteModel(start_ray(sharding), LlmLoader(folder, options))
        from descry.llm.local import LocalModel

        return LocalModel(folder, **options)
    from descry.llm.server import Server

    return Server(name=name, parallel=asking.concurrency, timeout=asking.timeout, retries=asking.retries, **options)


def open_answers(asking: Asking) -> AnswerCache:
    """The answer cache."""
    try:
        folder = Path(asking.answers).expanduser()
    except RuntimeError as error:
        raise InputError(f"params.yaml: runtime.answers is {asking.answers!r}: {error} Give another folder") from None
    return AnswerCache(folder)


def read_prompt(name: str, fields: tuple[str, ...]) -> Prompt:
    """The prompt `prompts/<name>.txt`. Errors: InputError where it cannot be read or lacks a field."""
    path = PROMPTS / f"{name}.txt"
    return Prompt.parse(read_text(path), fields, str(path))
