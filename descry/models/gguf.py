"""Models in GGUF, the format of llama.cpp, Ollama and LM Studio, turned into folders in safetensors.

A GGUF file holds arrays and metadata, no code. Its quantised weights are turned into ordinary numbers.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from descry.errors import InputError
from descry.models.loading import SAFE, check_tokenizer, explain_loading

DTYPES = (torch.float16, torch.bfloat16)
"""Of the converted weights: float16, which rounds far less than any quantisation did, or bfloat16 where a weight is too
large for it."""

_MAGIC = b"GGUF"
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


def convert(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file to a new folder, in safetensors, with its tokenizer and chat template.

    The same file gives the same bytes. Errors: InputError if the file is damaged, is a part of a model, or holds a
    type of model that transformers does not read from GGUF.
    """
    if importlib.util.find_spec("gguf") is None:
        raise InputError(
            f"{file.name}: reading GGUF needs the package gguf, which is not installed; install requirements.lock again"
        )
    part = _PART.search(file.name)
    if part and int(part[1]) > 1:
        raise InputError(f"{file.name}: is one of {int(part[1])} parts of a model; join them first (llama-gguf-split)")
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f"{file.name}: is not a GGUF file, or is damaged; fetch it again")
    with explain_loading(f"{file.name} does not load as a language model"):
        options: dict[str, Any] = {**SAFE, "gguf_file": file.name}
        config = AutoConfig.from_pretrained(file.parent, **options)
        kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, **options)
        model = _load_weights(kind, file, options)
    tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
    state = {name: value.contiguous() for name, value in model.state_dict().items() if name not in tied}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    del model.config.quantization_config
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with explain_loading(f"{file.name} does not load as a language model"):
        _drop_foreign_tokens(folder / "tokenizer.json", model.get_input_embeddings().num_embeddings)
        check_tokenizer(AutoTokenizer.from_pretrained(folder, **SAFE), model)


def _drop_foreign_tokens(file: Path, embeddings: int) -> None:
    """Drop the special tokens that transformers adds to a tokenizer from GGUF, and for which the model has no row."""
    content = json.loads(file.read_text(encoding="utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < embeddings]
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")


def _load_weights(kind: Any, file: Path, options: dict[str, Any]) -> Any:
    """Load all weights in the first of DTYPES in which they are finite. Errors: InputError if there is none, or if
    weights are missing."""
    for dtype in DTYPES:
        model, info = kind.from_pretrained(file.parent, dtype=dtype, output_loading_info=True, **options)
        if missing := sorted(info["missing_keys"]):
            raise InputError(f"{len(missing)} of its weights are missing ({missing[0]} ...); fetch it again")
        if all(bool(torch.isfinite(weights).all()) for weights in model.parameters()):
            return model
    raise InputError("some of its weights are not finite numbers; fetch it again")
