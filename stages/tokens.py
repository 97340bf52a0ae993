"""tokens: every neuron on each token of its strongest sentences, and of a few sentences drawn at random."""

from itertools import chain

import numpy as np

from descry.activations.record import read_activations
from descry.activations.tokens import locate_tokens, pool_tokens, read_exemplar_tokens, read_tokens
from descry.corpus.sampling import sample_probe
from descry.models.target import Target
from descry.results import layout
from descry.schemas.split import SENTENCE_TABLE
from descry.schemas.tokens import EXAMPLE_ARRAYS, TOKEN_ARRAYS
from descry.settings.neurons import Extract, Tokens
from descry.settings.runtime import Runtime
from descry.splits import SPLITS
from descry.storage.arrays import write_arrays
from descry.storage.tables import read_pieces
from stages.harness.stage import read_settings, run_stage
from stages.shared.passes import read_texts, sentences_path, target_loader


def _write_exemplars(split: str, target: Target, shown: int, batch_tokens: int) -> None:
    active = read_activations(layout.ACTIVATIONS / f"{split}.safetensors", probe=False)
    exemplars = active.exemplars(shown)
    rows = np.unique(exemplars[exemplars >= 0])
    texts = read_texts(split, rows)
    places = np.where(exemplars >= 0, np.searchsorted(rows, exemplars), -1)
    values = read_exemplar_tokens(target, texts, places, batch_tokens=batch_tokens, progress=f"tokens {split}")
    arrays = {"rows": rows, "exemplars": exemplars, "values": values} | vars(locate_tokens(target, texts))
    write_arrays(layout.TOKENS / f"{split}.safetensors", arrays, TOKEN_ARRAYS, {})


def _write_examples(target: Target, count: int, pooling: str) -> None:
    ids = chain.from_iterable(read_pieces(sentences_path("validation"), SENTENCE_TABLE, "sentence_id"))
    rows = sample_probe(ids, count, key="examples")
    texts = read_texts("validation", rows)
    values = [read_tokens(target, text) for text in texts]
    nothing = np.zeros((0, sum(target.widths)), np.float32)
    arrays = vars(locate_tokens(target, texts)) | {
        "rows": rows,
        "pooled": np.stack([pool_tokens(tokens, pooling) for tokens in values]) if values else nothing,
        "values": np.concatenate([nothing, *values]),
    }
    write_arrays(layout.TOKENS / "examples.safetensors", arrays, EXAMPLE_ARRAYS, {})


def main() -> None:
    settings, extract, runtime = read_settings(Tokens), read_settings(Extract), read_settings(Runtime)
    target = target_loader(extract, runtime).load()
    for split in SPLITS:
        _write_exemplars(split, target, settings.exemplars, runtime.batch_tokens)
    _write_examples(target, settings.examples, extract.pooling)


if __name__ == "__main__":
    run_stage(main)
