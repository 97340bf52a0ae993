"""tokens: every neuron on each token of its strongest sentences, and of a few sentences drawn at random."""

from itertools import chain

import numpy as np

from descry import artifacts
from descry.activations import probe_sample
from descry.settings import Extract, Runtime, Tokens
from descry.target import Target
from descry.tokens import everywhere, on_exemplars, pooled, spans
from stages import _passes, _stage


def _texts(split: str, rows: np.ndarray) -> list[str]:
    """The sentences in these rows, ascending."""
    wanted = set(rows.tolist())
    texts = chain.from_iterable(artifacts.read_pieces(_passes.sentences(split), "sentences", "text"))
    return [text for row, text in enumerate(texts) if row in wanted]


def _exemplars(split: str, target: Target, shown: int, batch_tokens: int) -> None:
    active = artifacts.read_activations(_stage.ACTIVATIONS / f"{split}.safetensors", probe=False)
    exemplars = active.exemplars(shown)
    rows = np.unique(exemplars[exemplars >= 0])
    texts = _texts(split, rows)
    places = np.where(exemplars >= 0, np.searchsorted(rows, exemplars), -1)
    values = on_exemplars(target, texts, places, batch_tokens=batch_tokens, progress=f"tokens {split}")
    arrays = {"rows": rows, "exemplars": exemplars, "values": values} | vars(spans(target, texts))
    artifacts.write_arrays(_stage.TOKENS / f"{split}.safetensors", arrays, "tokens", {})


def _examples(target: Target, count: int, pooling: str) -> None:
    ids = chain.from_iterable(artifacts.read_pieces(_passes.sentences("validation"), "sentences", "sentence_id"))
    rows = probe_sample(ids, count, key="examples")
    texts = _texts("validation", rows)
    values = [everywhere(target, text) for text in texts]
    nothing = np.zeros((0, sum(target.widths)), np.float32)
    arrays = vars(spans(target, texts)) | {
        "rows": rows,
        "pooled": np.stack([pooled(one, pooling) for one in values]) if values else nothing,
        "values": np.concatenate([nothing, *values]),
    }
    artifacts.write_arrays(_stage.TOKENS / "examples.safetensors", arrays, "examples", {})


def main() -> None:
    chosen, extract, runtime = _stage.settings(Tokens), _stage.settings(Extract), _stage.settings(Runtime)
    target = _passes.target_source(extract, runtime).load()
    for split in _stage.SPLITS:
        _exemplars(split, target, chosen.exemplars, runtime.batch_tokens)
    _examples(target, chosen.examples, extract.pooling)


if __name__ == "__main__":
    _stage.run(main)
