"""A tiny model with random weights for every family of architectures, and its layers written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn.functional import gelu, relu, silu
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    DebertaConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
)

from tests.conftest import TEXT

HEADS, GROUPS, WIDTH, FFN, LONGEST = 4, 2, 24, 40, 32
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
START, PAD, END, UNKNOWN = range(4)
WORDS = [*SPECIAL, *sorted(set(TEXT.split())), *(f"word{n}" for n in range(20))]

Layer = tuple[Tensor, Tensor, Tensor]
"""What goes into a layer's attention output and into its down projection, and what comes out: [tokens, ...] each."""


def gelu_tanh(values: Tensor) -> Tensor:
    return gelu(values, approximate="tanh")


def attended(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    heads: int = HEADS,
    scale: float | None = None,
    causal: bool = False,
    window: int = 1000,
    bias: Tensor | float = 0.0,
    turn: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Attention over [tokens, ...]; keys and values may have fewer heads; turn: of each head's queries and keys."""
    size = q.shape[1] // heads
    split = [x.view(len(x), -1, size).transpose(0, 1) for x in (q, k, v)]
    q, k, v = (x.repeat_interleave(heads // len(x), 0) for x in (turn(split[0]), turn(split[1]), split[2]))
    scores = q @ k.transpose(1, 2) * (size**-0.5 if scale is None else scale) + bias
    distance = torch.arange(q.shape[1])[:, None] - torch.arange(k.shape[1])
    hidden = (distance.abs() > window) | (causal & (distance < 0))
    mixed = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
    return mixed.transpose(0, 1).flatten(1)


def rotary(theta: float, share: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Rotary positions over the first share of [heads, tokens, size]."""

    def turn(x: Tensor) -> Tensor:
        size = int(x.shape[-1] * share)
        angle = torch.outer(torch.arange(x.shape[1]), theta ** (-torch.arange(0, size, 2) / size))
        a, b = x[..., :size].chunk(2, -1)
        turned = a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()
        return torch.cat([*turned, x[..., size:]], -1)

    return turn


def bert(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    own, out = layer.attention.self, layer.attention.output
    mixed = attended(own.query(x), own.key(x), own.value(x))
    return _post(layer, x, mixed, out)


def deberta(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    mask = torch.ones(1, 1, len(x), len(x))
    relative = {"relative_pos": model.encoder.get_rel_pos(x[None]), "rel_embeddings": model.encoder.get_rel_embedding()}
    mixed = layer.attention.self(x[None], mask, **relative)[0][0]
    return _post(layer, x, mixed, layer.attention.output)


def _post(layer: Any, x: Tensor, mixed: Tensor, out: Any) -> Layer:
    middle = out.LayerNorm(out.dense(mixed) + x)
    neurons = gelu(layer.intermediate.dense(middle))
    return mixed, neurons, layer.output.LayerNorm(layer.output.dense(neurons) + middle)


def distilbert(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    own = layer.attention
    mixed = attended(own.q_lin(x), own.k_lin(x), own.v_lin(x))
    middle = layer.sa_layer_norm(own.out_lin(mixed) + x)
    neurons = gelu(layer.ffn.lin1(middle))
    return mixed, neurons, layer.output_layer_norm(layer.ffn.lin2(neurons) + middle)


def albert(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    (inner,) = layer.albert_layers
    own = inner.attention
    mixed = attended(own.query(x), own.key(x), own.value(x))
    middle = own.LayerNorm(own.dense(mixed) + x)
    neurons = gelu_tanh(inner.ffn(middle))
    return mixed, neurons, inner.full_layer_layer_norm(inner.ffn_output(neurons) + middle)


def modernbert(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    whole = number % 2 == 0
    turn, window = rotary(160000.0 if whole else 10000.0), 1000 if whole else model.config.local_attention // 2
    mixed = attended(*layer.attn.Wqkv(layer.attn_norm(x)).chunk(3, -1), turn=turn, window=window)
    x = x + layer.attn.Wo(mixed)
    value, gate = layer.mlp.Wi(layer.mlp_norm(x)).chunk(2, -1)
    neurons = gelu(value) * gate
    return mixed, neurons, x + layer.mlp.Wo(neurons)


def gpt2(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    mixed = attended(*layer.attn.c_attn(layer.ln_1(x)).chunk(3, -1), causal=True)
    x = x + layer.attn.c_proj(mixed)
    neurons = gelu_tanh(layer.mlp.c_fc(layer.ln_2(x)))
    return mixed, neurons, x + layer.mlp.c_proj(neurons)


def neox(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    own = layer.attention.query_key_value(layer.input_layernorm(x)).view(len(x), HEADS, 3, -1)
    q, k, v = (own[:, :, part].flatten(1) for part in range(3))
    mixed = attended(q, k, v, causal=True, turn=rotary(10000.0, share=0.7))
    neurons = gelu(layer.mlp.dense_h_to_4h(layer.post_attention_layernorm(x)))
    return mixed, neurons, x + layer.attention.dense(mixed) + layer.mlp.dense_4h_to_h(neurons)


def llama(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    own, read = layer.self_attn, layer.input_layernorm(x)
    q, k, v = own.q_proj(read), own.k_proj(read), own.v_proj(read)
    if hasattr(own, "q_norm"):  # Qwen3: of every head
        q, k = (
            norm(part.view(len(x), -1, own.head_dim)).flatten(1) for norm, part in ((own.q_norm, q), (own.k_norm, k))
        )
    window = (getattr(model.config, "sliding_window", None) or 1000) - 1
    return _gated(model, layer, x, attended(q, k, v, causal=True, window=window, turn=rotary(10000.0)))


def phi3(model: Any, layer: Any, x: Tensor, number: int) -> Layer:
    size = WIDTH // HEADS
    parts = layer.self_attn.qkv_proj(layer.input_layernorm(x)).split([WIDTH, GROUPS * size, GROUPS * size], -1)
    return _gated(model, layer, x, attended(*parts, causal=True, turn=rotary(10000.0)))


def _gated(model: Any, layer: Any, x: Tensor, mixed: Tensor) -> Layer:
    act = gelu_tanh if model.config.model_type == "gemma" else silu
    x = x + layer.self_attn.o_proj(mixed)
    read, block = layer.post_attention_layernorm(x), layer.mlp
    if hasattr(block, "gate_up_proj"):
        gate, up = block.gate_up_proj(read).chunk(2, -1)
    else:
        gate, up = block.gate_proj(read), block.up_proj(read)
    neurons = act(gate) * up
    return mixed, neurons, x + block.down_proj(neurons)


def t5(model: Any, layer: Any, x: Tensor, number: int, read: Tensor | None = None) -> Layer:
    """read: what the encoder gave, for a layer of the decoder."""
    first, *cross, last = layer.layer
    stack = model.encoder if read is None else model.decoder
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(len(x), len(x))[0]
    own, normed = first.SelfAttention, first.layer_norm(x)
    mixed = attended(own.q(normed), own.k(normed), own.v(normed), scale=1.0, bias=bias, causal=read is not None)
    x = x + own.o(mixed)
    for block in cross:
        own = block.EncDecAttention
        x = x + own.o(attended(own.q(block.layer_norm(x)), own.k(read), own.v(read), scale=1.0))
    normed, block = last.layer_norm(x), last.DenseReluDense
    neurons = gelu_tanh(block.wi_0(normed)) * block.wi_1(normed) if hasattr(block, "wi_0") else relu(block.wi(normed))
    return mixed, neurons, x + block.wo(neurons)


@dataclass(frozen=True)
class Family:
    """config: builds one; layer: a layer by hand; layers: where they are, in order of execution; prefix, suffix: what
    the model reads before and after a sentence; adds: what its tokenizer adds of that; bos: what it calls its BOS."""

    config: Callable[[], Any]
    layer: Callable[..., Layer]
    layers: Callable[[Any], Sequence[Any]]
    prefix: tuple[int, ...] = (START,)
    suffix: tuple[int, ...] = (END,)
    template: str = "<s> $A </s>"
    bos: str | None = "<s>"

    def build(self, seed: int = 5) -> Any:
        torch.manual_seed(seed)
        return AutoModel.from_config(self.config()).eval()

    def save(self, folder: Path) -> Path:
        """A model folder."""
        self.build().save_pretrained(folder)
        word = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
        word.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        specials = [("<s>", START), ("</s>", END)]
        word.post_processor = processors.TemplateProcessing(single=self.template, special_tokens=specials)
        names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
        PreTrainedTokenizerFast(tokenizer_object=word, bos_token=self.bos, **names).save_pretrained(folder)
        return folder

    def ids(self, text: str) -> list[int]:
        """What the model is to read."""
        own = [WORDS.index(word) if word in WORDS else UNKNOWN for word in text.split()]
        return [*self.prefix, *own, *self.suffix]

    @torch.no_grad()
    def slow(self, model: Any, text: str, decoder: bool = False) -> list[dict[str, Tensor]]:
        """Of every layer the values [own tokens, ...] by site, one sentence at a time."""
        tokens = torch.tensor([self.ids(text)])
        options: dict[str, Any] = {"output_hidden_states": True}
        if model.config.is_encoder_decoder:
            options["decoder_input_ids"] = torch.cat([tokens.new_full((1, 1), PAD), tokens], 1)
        out = model(input_ids=tokens, **options)
        extra, states = {}, out.decoder_hidden_states if decoder else None
        if decoder:
            extra = {"read": out.encoder_last_hidden_state[0]}
        elif model.config.is_encoder_decoder:
            states = out.encoder_hidden_states
        else:
            states = out.hidden_states
        layers = self.layers(model.decoder if decoder else model)
        start = len(self.prefix) + decoder
        own = slice(start, start + len(text.split()))
        x, found = states[0][0], []
        for number, layer in enumerate(layers):
            attention, ffn, x = self.layer(model, layer, x, number, **extra)
            if number + 2 < len(states):  # the last state may have gone through a norm
                torch.testing.assert_close(x, states[number + 1][0], atol=1e-4, rtol=1e-4)
            found.append({"attention": attention[own], "ffn": ffn[own], "hidden": x[own]})
        assert len(found) == len(states) - 1
        return found


SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": WIDTH,
    "intermediate_size": FFN,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
    "max_position_embeddings": LONGEST,
    "initializer_range": 0.3,
}
IDS = {"pad_token_id": PAD, "bos_token_id": START, "eos_token_id": END}
GROUPED = SIZES | IDS | {"num_key_value_heads": GROUPS}
T5 = IDS | {
    "vocab_size": len(WORDS),
    "d_model": WIDTH,
    "d_kv": 5,
    "d_ff": FFN,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": HEADS,
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}


def _distilbert() -> Any:
    names = {"dim": WIDTH, "n_layers": 3, "n_heads": HEADS, "hidden_dim": FFN}
    rest = {name: SIZES[name] for name in ("vocab_size", "max_position_embeddings", "initializer_range")}
    return DistilBertConfig(**names, **rest)


def _modernbert() -> Any:
    near = {"global_attn_every_n_layers": 2, "local_attention": 4}
    return ModernBertConfig(**SIZES, **IDS, **near, cls_token_id=START, sep_token_id=END)


BERT = {"layers": lambda model: model.encoder.layer}
DECODER = {"layers": lambda model: model.layers, "suffix": ()}
ADDED, NOT_ADDED, ABSENT = (
    {"template": "<s> $A"},
    {"template": "$A"},
    {"template": "$A", "bos": None, "prefix": ()},
)
SEQUENCE = {"layers": lambda model: getattr(model, "encoder", model).block, "prefix": (), "template": "$A </s>"}

FAMILIES: dict[str, Family] = {
    "bert": Family(lambda: BertConfig(**SIZES), bert, **BERT),
    "square": Family(lambda: BertConfig(**SIZES | {"intermediate_size": WIDTH}), bert, **BERT),
    "roberta": Family(lambda: RobertaConfig(**SIZES | IDS), bert, **BERT),
    "electra": Family(lambda: ElectraConfig(**SIZES, embedding_size=16), bert, **BERT),
    "distilbert": Family(_distilbert, distilbert, lambda model: model.transformer.layer),
    "albert": Family(
        lambda: AlbertConfig(**SIZES, embedding_size=16),
        albert,
        lambda model: [model.encoder.albert_layer_groups[0]] * 3,
    ),
    "albert_groups": Family(
        lambda: AlbertConfig(**SIZES | {"num_hidden_layers": 4}, embedding_size=16, num_hidden_groups=2),
        albert,
        lambda model: [model.encoder.albert_layer_groups[group] for group in (0, 0, 1, 1)],
    ),
    "deberta": Family(lambda: DebertaConfig(**SIZES, **RELATIVE), deberta, **BERT),
    "deberta_v2": Family(lambda: DebertaV2Config(**SIZES, **RELATIVE, position_buckets=8), deberta, **BERT),
    "modernbert": Family(_modernbert, modernbert, lambda model: model.layers),
    "gpt2": Family(
        lambda: GPT2Config(**{n: v for n, v in SIZES.items() if n != "intermediate_size"}, **IDS),
        gpt2,
        lambda model: model.h,
        suffix=(),
        **NOT_ADDED,
    ),
    "neox": Family(
        lambda: GPTNeoXConfig(
            **SIZES, **IDS, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.7}
        ),
        neox,
        **DECODER,
        **NOT_ADDED,
    ),
    "llama": Family(lambda: LlamaConfig(**GROUPED), llama, **DECODER, **ADDED),
    "mistral": Family(lambda: MistralConfig(**GROUPED, sliding_window=4), llama, **DECODER, **ADDED),
    "qwen2": Family(lambda: Qwen2Config(**GROUPED), llama, **DECODER, **ABSENT),
    "qwen3": Family(lambda: Qwen3Config(**GROUPED, head_dim=10), llama, **DECODER, **ABSENT),
    "gemma": Family(lambda: GemmaConfig(**GROUPED, head_dim=10), llama, **DECODER, **ADDED),
    "phi3": Family(lambda: Phi3Config(**GROUPED), phi3, **DECODER, **NOT_ADDED),
    "t5": Family(lambda: T5Config(**T5), t5, **SEQUENCE),
    "t5_gated": Family(lambda: T5Config(**T5, feed_forward_proj="gated-gelu"), t5, **SEQUENCE),
}
