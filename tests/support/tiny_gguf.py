"""GGUF files of tiny Llama models, with random weights and a tokenizer of bytes."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

LAYERS, WIDTH, INNER, HEADS = 2, 64, 96, 2
TYPES = gguf.GGMLQuantizationType


def written(
    file: Path, kind: Any = TYPES.F32, architecture: str = "llama", scale: float = 0.1
) -> dict[str, np.ndarray]:
    """Write a model; returns its weights as they are in the file, turned back into float32, by their names there."""
    tokens = [*sorted(ByteLevel.alphabet()), "th", "the", "<unk>", "<s>", "</s>"]
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - 3) + [gguf.TokenType.CONTROL] * 3)
    writer.add_token_merges(["t h", "th e"])
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    shapes = {"token_embd.weight": (len(tokens), WIDTH), "output_norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH, WIDTH)
        shapes[f"blk.{layer}.ffn_gate.weight"] = shapes[f"blk.{layer}.ffn_up.weight"] = (INNER, WIDTH)
        shapes[f"blk.{layer}.ffn_down.weight"] = (WIDTH, INNER)
        shapes[f"blk.{layer}.attn_norm.weight"] = shapes[f"blk.{layer}.ffn_norm.weight"] = (WIDTH,)
    generator = np.random.default_rng(0)
    weights = {}
    for name, shape in shapes.items():
        values = (generator.standard_normal(shape) * scale).astype(np.float32)
        used = kind if len(shape) > 1 else TYPES.F32
        stored = gguf.quants.quantize(values, used)
        writer.add_tensor(name, stored, raw_dtype=used)
        weights[name] = gguf.quants.dequantize(stored, used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights
