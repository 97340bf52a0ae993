"""The language models that params.yaml names, ready to be asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from descry import artifacts
from descry.errors import InputError
from descry.llm.cache import AnswerCache
from descry.llm.client import Client
from descry.llm.prompts import Prompt
from descry.settings import Asking, Llms, LocalLlm, Sharding
from stages import _shards, _stage

PROMPTS = Path("prompts")


def client(name: str, llms: Llms, asking: Asking, sharding: Sharding) -> Client:
    """The language model of that name. Errors: InputError where there is none, or its weights are not there."""
    chosen = llms.entries.get(name)
    if chosen is None:
        known = ", ".join(sorted(llms.entries)) or "none"
        raise InputError(f"params.yaml: no language model {name!r} in llms (there: {known})")
    options = chosen.model_dump(exclude={"client"})
    if isinstance(chosen, LocalLlm):
        folder = (_stage.MODELS / "llms" / name).absolute()
        if not folder.is_dir():
            raise InputError(f"params.yaml: llms.{name} runs on this machine: name its weights in models.llms.{name}")
        files = artifacts.read_json(folder / "manifest.json")["files"]
        weights = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        options |= {"name": name, "revision": weights}
        if sharding.engine == "ray":
            from descry.llm.remote import ModelSource, RemoteModel

            return RemoteModel(_shards.cluster(sharding), ModelSource(folder, options))
        from descry.llm.local import LocalModel

        return LocalModel(folder, **options)
    from descry.llm.server import Server

    return Server(name=name, parallel=asking.concurrency, timeout=asking.timeout, retries=asking.retries, **options)


def answers(asking: Asking) -> AnswerCache:
    """The answer cache."""
    try:
        folder = Path(asking.answers).expanduser()
    except RuntimeError as error:
        raise InputError(f"params.yaml: runtime.answers is {asking.answers!r}: {error} Give another folder") from None
    return AnswerCache(folder)


def prompt(name: str, fields: tuple[str, ...]) -> Prompt:
    """The prompt `prompts/<name>.txt`. Errors: InputError where it cannot be read or lacks a field."""
    path = PROMPTS / f"{name}.txt"
    return Prompt.parse(_stage.read_text(path), fields, str(path))
