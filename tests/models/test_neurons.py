from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModel, PreTrainedTokenizerFast, ViTConfig

from descry.activations.extraction import extract
from descry.errors import InputError
from descry.models.neurons import find_sites, is_causal, list_linear_maps
from descry.models.pooling import POOLINGS
from descry.models.target import Target
from tests.support.families import FAMILIES, FFN, LONGEST, SIZES, WIDTH, WORDS

TEXTS = [
    "the battery died after a week",
    "love the sound of this small speaker and it is very very loud",
    "box was torn",
    "loud",
    "a nonsensical battery",
]
SITES = ("ffn", "hidden", "attention")
SEQUENCES = ("t5", "t5_gated")
REDUCE = {"max": lambda v: v.amax(0), "mean": lambda v: v.mean(0), "first": lambda v: v[0], "last": lambda v: v[-1]}
REDUCE |= {
    "negative_max": lambda v: -v.amin(0),
    "negative_mean": lambda v: -v.mean(0),
    "negative_first": lambda v: -v[0],
    "negative_last": lambda v: -v[-1],
}


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A family's model as a target, by name and which neurons are read."""
    folder = cache(lambda name: FAMILIES[name].save(tmp_path_factory.mktemp(name)))

    def loaded(name: str, **where: Any) -> Target:
        target = Target(folder(name), **where)
        if name == "qwen2":  # AutoTokenizer makes of every tokenizer of Qwen2 one that reads bytes
            target.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder(name))
        return target

    return loaded


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", list(FAMILIES))
def test_texts_are_encoded_as_transformers_encodes_them(
    load: Any, name: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load(name)
    texts = [*TEXTS, "box " * 3000, "  a [SEP] box </s> <pad> ", "nothing of this is known"]
    longest = target._find_longest_input()
    target.tokenizer(texts)  # which leaves the tokenizer inside without truncation
    if not fast:
        monkeypatch.setattr(type(target.tokenizer), "is_fast", False)
    ids, special = target.encode(texts)
    slow = target.tokenizer(texts, truncation=True, max_length=longest, return_special_tokens_mask=True)
    fillers = {getattr(target.tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "cls", "sep", "pad", "mask")}
    fillers.discard(target.tokenizer.unk_token_id)
    for row, marks, one, added in zip(ids, special, slow["input_ids"], slow["special_tokens_mask"], strict=True):
        before = len(row) - len(one)
        assert row[before:] == one
        assert before in (0, 1)
        assert marks == [1] * before + [int(a or i in fillers) for a, i in zip(added, one, strict=True)]


def expected(target: Target, name: str, site: str, stack: str = "encoder") -> list[list[torch.Tensor]]:
    """Values [own tokens, width] of every text and layer, by hand."""
    rows = []
    for text in TEXTS:
        layers = FAMILIES[name].slow(target.model, text) if stack != "decoder" else []
        if name in SEQUENCES and stack != "encoder":
            layers += FAMILIES[name].slow(target.model, text, decoder=True)
        rows.append([layer[site] for layer in layers])
    return rows


def read(target: Target, texts: list[str]) -> list[torch.Tensor]:
    return target.pool(*target.encode(texts), sorted(POOLINGS))


CASES = [(name, "encoder") for name in FAMILIES] + [
    (name, stack) for name in SEQUENCES for stack in ("decoder", "both")
]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(("name", "stack"), CASES)
def test_every_neuron_equals_an_independent_computation(load: Any, name: str, stack: Any, site: Any) -> None:
    target = load(name, site=site, stack=stack)
    wanted = expected(target, name, site, stack)
    assert target.widths == [values.shape[1] for values in wanted[0]]
    assert [one.layer for one in target.sites] == list(range(1, len(wanted[0]) + 1))
    for pooling, found in zip(sorted(POOLINGS), read(target, TEXTS), strict=True):
        slow = torch.stack([torch.cat([REDUCE[pooling](values) for values in row]) for row in wanted])
        assert slow.std(0).median() > 0
        torch.testing.assert_close(found, slow, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "stack"), CASES)
def test_a_batch_of_one_equals_a_batch_of_n_and_padding_never_enters(load: Any, name: str, stack: Any) -> None:
    target = load(name, site="hidden", stack=stack)
    together = read(target, TEXTS)
    for row, text in enumerate(TEXTS):
        for alone, batch in zip(read(target, [text]), together, strict=True):
            torch.testing.assert_close(alone[0], batch[row], atol=1e-4, rtol=1e-4)
    target.tokenizer.padding_side = "left"
    for one, other in zip(read(target, TEXTS), together, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sentence_is_read_with_its_bos_and_only_its_own_tokens_count(load: Any, name: str) -> None:
    target, family = load(name), FAMILIES[name]
    ids, special = target.encode([*TEXTS, "<pad> loud <mask> </s> box"])
    for text, tokens, marks in zip(TEXTS, ids, special, strict=False):
        assert tokens == family.ids(text)
        assert [token for token, mark in zip(tokens, marks, strict=True) if not mark] == [
            WORDS.index(word) if word in WORDS else WORDS.index("<unk>") for word in text.split()
        ]
    assert [WORDS[t] for t, mark in zip(ids[-1], special[-1], strict=True) if not mark] == ["loud", "box"]
    tokens, attention, own = target.batch(ids, special)
    assert tokens[attention == 0].unique().tolist() == [WORDS.index("<pad>")]
    assert not own[attention == 0].any()


@pytest.mark.parametrize("name", FAMILIES)
def test_only_models_that_stand_alone_and_look_back_are_causal(name: str) -> None:
    assert is_causal(FAMILIES[name].build()) == (FAMILIES[name].suffix == ())


@pytest.mark.parametrize("name", FAMILIES)
def test_too_long_a_sentence_is_cut_to_what_the_model_holds(load: Any, name: str) -> None:
    stack: Any = "both"
    target = load(name, stack=stack)
    ids, _ = target.encode(["battery " * 2000])
    limit = {"roberta": LONGEST - 2, "t5": 511, "t5_gated": 511}.get(name, LONGEST)
    assert len(ids[0]) == limit
    assert read(target, ["battery " * 2000])[0].isfinite().all()


def test_the_tokenizers_own_limit_holds_too(load: Any) -> None:
    target = load("neox")
    target.tokenizer.model_max_length = 9
    assert len(target.encode(["battery " * 20])[0][0]) == 9


@pytest.mark.parametrize("name", ["bert", "albert", "llama", "t5"])
def test_chosen_layers_are_those_of_all(load: Any, name: str) -> None:
    for stack in ("encoder", "both"):
        whole, some = load(name, stack=stack), load(name, stack=stack, layers=[3, 1])
        assert [site.layer for site in some.sites] == [1, 3]
        wanted = read(whole, TEXTS)[0].split(whole.widths, dim=1)
        torch.testing.assert_close(read(some, TEXTS)[0], torch.cat([wanted[0], wanted[2]], dim=1), atol=0, rtol=0)
        found = extract(some, TEXTS, np.arange(2), top_k=2)
        assert found.layer.tolist() == [1] * FFN + [3] * FFN


def test_a_layer_that_is_not_there_is_named_with_the_range() -> None:
    with pytest.raises(InputError, match=r"extract\.layers names 4, 9; the layers are 1 to 3"):
        find_sites(FAMILIES["bert"].build(), layers=[9, 1, 4])
    assert len(find_sites(FAMILIES["t5"].build(), stack="both", layers=[5])) == 1


def test_reading_ends_after_the_last_site_and_leaves_no_hook(load: Any) -> None:
    target = load("bert", layers=[1])
    run: list[int] = []
    for number, layer in enumerate(target.model.encoder.layer):
        layer.output.dense.register_forward_hook(lambda *_, number=number: run.append(number))
    hooks = {module: len(module._forward_hooks) for module in target.model.modules()}
    read(target, TEXTS)
    assert run == []
    assert {module: len(module._forward_hooks) for module in target.model.modules()} == hooks
    assert not any(module._forward_pre_hooks for module in target.model.modules())
    target.model.encoder.layer[0].intermediate.dense.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read(target, TEXTS)
    assert not any(module._forward_pre_hooks for module in target.model.modules())


def test_the_encoder_is_run_alone(load: Any) -> None:
    target = load("t5")
    target.model.decoder.register_forward_hook(lambda *_: 1 / 0)
    read(target, TEXTS)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("bert", "encoder.layer.*.output.dense"),
        ("albert_groups", "encoder.albert_layer_groups.*.albert_layers.0.ffn_output"),
        ("modernbert", "layers.*.mlp.W[o]"),
        ("t5", "encoder.block.*.layer.1.*.wo"),
    ],
)
def test_a_pattern_finds_what_the_structure_does(load: Any, name: str, pattern: str) -> None:
    one, other = load(name), load(name, modules=pattern)
    assert [site.name for site in one.sites] == [site.name for site in other.sites]
    torch.testing.assert_close(read(one, TEXTS)[0], read(other, TEXTS)[0], atol=0, rtol=0)


def test_a_pattern_reads_outputs_where_hidden_is_asked_for(load: Any) -> None:
    found = load("bert", site="hidden", modules="encoder.layer.[02].intermediate.dense")
    assert found.widths == [FFN, FFN]
    model = found.model
    before = [layer["ffn"] for layer in FAMILIES["bert"].slow(model, TEXTS[0])]
    values = read(found, TEXTS[:1])[sorted(POOLINGS).index("first")][0].split(FFN)
    for got, neurons in zip(values, (before[0], before[2]), strict=True):
        torch.testing.assert_close(nn.functional.gelu(got), neurons[0], atol=1e-4, rtol=1e-4)


def test_a_decoders_modules_may_be_named(load: Any) -> None:
    named = load("t5", stack="decoder", modules="decoder.block.*.layer.2.DenseReluDense.wo")
    torch.testing.assert_close(read(named, TEXTS), read(load("t5", stack="decoder"), TEXTS), atol=0, rtol=0)
    with pytest.raises(InputError, match="modules that are not run"):
        load("t5", modules="decoder.block.*.layer.2.DenseReluDense.wo")


def test_a_pattern_without_a_match_lists_the_candidates() -> None:
    with pytest.raises(InputError, match=r"matches no module.*encoder\.layer\.\*\.output\.dense 40->24") as caught:
        find_sites(FAMILIES["bert"].build(), modules="encoder.*.dense")
    assert "\n" not in str(caught.value)
    assert len(list_linear_maps(FAMILIES["bert"].build())) == 7  # query, key, value, two outputs, intermediate, pooler


GROUPED = SIZES | {"num_key_value_heads": 2}
XLM = {"vocab_size": 64, "emb_dim": WIDTH, "n_layers": 3, "n_heads": 4}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
SHARED = EXPERTS | {"shared_expert_intermediate_size": 32}
BOTTLENECK = {"embedding_size": 12, "true_hidden_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 2}
LANGUAGES = {"languages": ["en_XX"], "default_language": "en_XX"}
SEQUENCE = {"vocab_size": 64, "d_model": WIDTH, "d_ff": FFN, "d_kv": 6, "num_heads": 4, "num_layers": 2}
BLOCKS = {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "use_mamba_kernels": False}
LINEAR = {"mamba_n_heads": 4, "mamba_d_head": 12, "mamba_d_ssm": 48, "mamba_d_state": 8, "head_dim": 6}
ALTERNATING = {"laurel_rank": 4, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 64, "head_dim": 6}
EVERY = {"num_kv_shared_layers": 0, "layer_types": ["full_attention"] * 3, "activation_sparsity_pattern": [0.0] * 3}


def build(name: str, **options: Any) -> Any:
    """A model of an architecture, with random weights."""
    torch.manual_seed(0)
    return AutoModel.from_config(getattr(transformers, f"{name}Config")(**options)).eval()


UNKNOWN: dict[str, tuple[Callable[[], Any], str, str]] = {
    "experts": (
        lambda: build("Mixtral", **GROUPED, num_local_experts=4),
        "ffn",
        r"layers\.0\.mlp\.experts belongs to a",
    ),
    "mixed": (
        lambda: build("Qwen3Moe", **GROUPED, **EXPERTS, mlp_only_layers=[0]),
        "ffn",
        r"layers\.1\.mlp\.experts be",
    ),
    "shared": (lambda: build("Qwen2Moe", **GROUPED, **SHARED), "ffn", r"layers\.0\.mlp\.experts belongs to a mixture"),
    "listed": (
        lambda: build("SwitchTransformers", **SEQUENCE, num_experts=4, num_sparse_encoder_layers=2),
        "ffn",
        r"layer\.1\.mlp\.experts\.expert_0\.wo belongs to a mixture",
    ),
    "bottleneck": (
        lambda: build("MobileBert", **SIZES, **BOTTLENECK),
        "ffn",
        r"which are the neurons of encoder\.layer\.0\? output\.bottleneck\.dense leads back to its width 24, but",
    ),
    "adapters": (
        lambda: build("Xmod", **SIZES, **LANGUAGES),
        "ffn",
        r"encoder\.layer\.\*\.output\.dense \(40 neurons\), .*en_XX\.dense2 \(12 neurons\) all lead back to its width",
    ),
    "two mixers": (
        lambda: build("FalconH1", **GROUPED, **LINEAR),
        "attention",
        r"layers\.\*\.mamba\.out_proj \(48 neurons\), layers\.\*\.self_attn\.o_proj \(24 neurons\)",
    ),
    "several vectors": (
        lambda: build("Gemma3nText", **GROUPED, **ALTERNATING, **EVERY),
        "ffn",
        "the layers do not give one vector a token",
    ),
    "two lists": (lambda: build("XLM", **XLM), "hidden", "attentions and ffns are run equally often"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_architecture_that_is_not_understood_is_told_with_the_candidates(kind: str) -> None:
    make, site, said = UNKNOWN[kind]
    model = make()
    with pytest.raises(InputError, match=rf"{said}.*extract\.modules.*Linear maps: \w") as caught:
        find_sites(model, site)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_convolutions_over_tokens_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="SqueezeBertModel: its layers are convolutions") as caught:
        find_sites(build("SqueezeBert", **SIZES, embedding_size=WIDTH))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "pattern", "width"),
    [
        ("shared", "layers.*.mlp.shared_expert.down_proj", 32),
        ("bottleneck", "encoder.layer.*.output.dense", FFN),
        ("adapters", "encoder.layer.*.output.dense", FFN),
        ("several vectors", "layers.*.mlp.down_proj", FFN),
        ("two lists", "ffns.*.lin2", 4 * WIDTH),
    ],
)
def test_what_structure_does_not_find_a_pattern_does(kind: str, pattern: str, width: int) -> None:
    assert [site.width for site in find_sites(UNKNOWN[kind][0](), modules=pattern)] == [width] * 3


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda: build("Jamba", **GROUPED, **BLOCKS, num_experts=1), "layers.{}.feed_forward.down_proj"),
        (lambda: build("FalconH1", **GROUPED, **LINEAR), "layers.{}.feed_forward.down_proj"),
        (lambda: build("IBert", **SIZES), "encoder.layer.{}.output.dense"),
    ],
)
def test_layers_of_several_types_and_other_linear_maps_are_understood(model: Callable[[], Any], name: str) -> None:
    sites = find_sites(model())
    assert [site.name for site in sites] == [name.format(layer) for layer in range(3)]
    assert [site.width for site in sites] == [FFN] * 3


def test_frozen_and_low_precision_weights_are_understood() -> None:
    for name in ("bert", "gpt2", "modernbert"):
        model = FAMILIES[name].build().requires_grad_(False).to(torch.bfloat16)
        wanted = [site.name for site in find_sites(FAMILIES[name].build())]
        with torch.inference_mode():
            assert [site.name for site in find_sites(model)] == wanted
        assert not any(part.requires_grad for part in model.parameters())


def test_a_trace_leaves_no_gradient_and_changes_no_state() -> None:
    model = FAMILIES["llama"].build()
    state = torch.random.get_rng_state()
    find_sites(model)
    assert torch.is_grad_enabled()
    assert all(part.grad is None for part in model.parameters())
    torch.testing.assert_close(torch.random.get_rng_state(), state)


def test_a_model_that_reads_no_tokens_ends_in_one_line() -> None:
    model = AutoModel.from_config(ViTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(InputError, match="ViTModel: it does not run over 8 tokens"):
        find_sites(model)
