from pathlib import Path

import pytest
from transformers import BertConfig, LlamaConfig, PreTrainedConfig

from benchmarks.operations import META, TOP_K, count, imagine
from descry.activations.kept import Kept
from descry.models.target import Target

LAYERS = 2
SMALL = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
SHAPES: dict[str, PreTrainedConfig] = {"bert": BertConfig(**SMALL), "llama": LlamaConfig(**SMALL)}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_batch_costs_few_operations_and_the_cpu_waits_for_none(tiny_bert: Path, shape: str) -> None:
    target = imagine(Target(tiny_bert), SHAPES[shape], {})
    model, one, waits = count(target, ("mean",), 65536, TOP_K, 500)
    _, two, _ = count(target, ("mean", "max"), 65536, TOP_K, 500)
    assert waits == 0
    bound = 60 + 10 * LAYERS
    assert 0 < one - model <= bound
    assert two - one <= bound


def test_a_value_that_is_waited_for_is_noticed(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Kept._take

    def look(kept: Kept) -> None:
        assert kept.device == META
        float(kept._buffers[0].sum())
        take(kept)

    monkeypatch.setattr(Kept, "_take", look)
    with pytest.raises(RuntimeError, match="meta"):
        count(imagine(Target(tiny_bert), SHAPES["bert"], {}), ("mean",), 65536, TOP_K, 500)
