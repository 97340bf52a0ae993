"""The sentence encoder: unit vectors of texts, and the words of its vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

from descry.compute.batching import batch_by_tokens
from descry.compute.engine import ignore
from descry.embedding.vectors import scale_to_unit
from descry.errors import InputError
from descry.models.fetch import find_transformer
from descry.models.loading import agree, explain_loading, find_device, load_weights

CHARACTERS_A_TOKEN = 4
"""About the mean in English text."""
_WORD_STARTS = ("▁", "Ġ")
_CONTINUES = "##"
_WORD_END = "</w>"
_SHORTEST_WORD = 3
_UNEQUAL = ("It broke.", "The box was torn on one side, and the speaker inside it was so loud that we sent it back.")
_EQUAL = ("good", "nice")  # one token each in most vocabularies


def select_whole_words(vocabulary: dict[str, int]) -> list[str]:
    """Select whole words among a tokenizer's pieces: alphabetic, at least 3 letters, in lower case, in order of ids.

    Markers tell words from parts of words: `##` (WordPiece) continues a word, `▁` or `Ġ` starts one, `</w>` ends one.
    Without any marker, every alphabetic piece is a word.
    """
    pieces = sorted(vocabulary, key=lambda piece: (vocabulary[piece], piece))
    whole: Iterable[str]
    if any(piece.startswith(_CONTINUES) for piece in pieces):
        whole = (piece for piece in pieces if not piece.startswith(_CONTINUES))
    elif any(piece.startswith(_WORD_STARTS) for piece in pieces):
        whole = (piece[1:] for piece in pieces if piece.startswith(_WORD_STARTS))
    elif any(piece.endswith(_WORD_END) for piece in pieces):
        whole = (piece.removesuffix(_WORD_END) for piece in pieces if piece.endswith(_WORD_END))
    else:
        whole = pieces
    words = (word.lower() for word in whole if word.isalpha() and len(word) >= _SHORTEST_WORD)
    return list(dict.fromkeys(words))


def batch_by_characters(lengths: Sequence[int], budget: int) -> Iterator[np.ndarray]:
    """Batch texts, as positions, longest first: count x longest is at most `budget`, or the batch is one text."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


class SentenceEncoder:
    """A local sentence encoder: unit vectors of texts, and the words of its vocabulary.

    A folder without modules.json is read as a plain transformer with mean pooling. Only safetensors weights are
    loaded; nothing is downloaded and no code of the folder is run.
    """

    def __init__(self, folder: Path, device: str = "cpu", batch_tokens: int = 1024) -> None:
        """batch_tokens: about so many tokens a batch, padding included. Errors: InputError if it cannot be loaded."""
        self._characters = CHARACTERS_A_TOKEN * batch_tokens
        if not any((folder / name).is_file() for name in ("config.json", "modules.json")):
            raise InputError(f"{folder}: not a model folder (no config.json); check models.embedder in params.yaml")
        if not any(folder.rglob("*.safetensors")):
            raise InputError(f"{folder}: no .safetensors file, the only format that is loaded; convert the model first")
        device = str(find_device(device))
        with explain_loading(f"{folder}: not a sentence encoder"):
            self._model = SentenceTransformer(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
            if type(self._model[0]).__name__ == "Transformer":
                load_weights(type(self._model[0].auto_model), find_transformer(folder), "float32")  # which checks them
        self._model.eval()
        self._batch_tokens = batch_tokens
        self._equal_lengths = self._lets_padding_in()

    def _lets_padding_in(self) -> bool:
        """Whether only texts of equal length may share a batch, since padding changes what the encoder makes of a
        text. Errors: InputError if even those change each other."""

        def share(*texts: str) -> bool:
            alone = np.concatenate([self._encode_batch([text]) for text in texts])
            dtype = next(self._model.parameters()).dtype
            return agree(torch.from_numpy(self._encode_batch(texts)), torch.from_numpy(alone), dtype)

        if share(*_UNEQUAL):
            return False
        if len({*self._count_tokens(_EQUAL)}) > 1 or share(*_EQUAL):
            print("the embedder: padding changes its vectors; only texts of equal length share a batch")
            return True
        raise InputError(
            "params.yaml: models.embedder gives a text other vectors beside other texts, even of equal length; choose "
            "another encoder"
        )

    def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._model.tokenizer(list(texts), verbose=False)["input_ids"]]

    def _make_batches(self, texts: Sequence[str]) -> Iterable[np.ndarray]:
        if self._equal_lengths:
            return batch_by_tokens(self._count_tokens(texts), self._batch_tokens, equal=True)
        return batch_by_characters([len(text) + 8 for text in texts], self._characters)

    def _encode_batch(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self._model.encode(list(texts), batch_size=len(texts), show_progress_bar=False), np.float32)

    def encode(
        self, texts: Sequence[str], description: str = "", advance: Callable[[int], object] = ignore
    ) -> np.ndarray:
        """Unit vectors of the texts, float32 [texts, width]. description: label of the progress bar, "" for none;
        advance: is told the number of texts of every batch, once it is encoded."""
        width = self._model.get_embedding_dimension() or 0
        vectors = np.zeros((len(texts), width), dtype=np.float32)
        with tqdm(total=len(texts), desc=description, unit="text", disable=not description) as bar:
            for rows in self._make_batches(texts):
                vectors[rows] = self._encode_batch([texts[row] for row in rows])
                bar.update(len(rows))
                advance(len(rows))
        if not np.isfinite(vectors).all():
            raise InputError("params.yaml: models.embedder gives vectors that are not finite; choose another encoder")
        return scale_to_unit(vectors).astype(np.float32)

    def words(self) -> list[str]:
        """Whole words of the encoder's tokenizer, in the order of their ids (frequency, for WordPiece)."""
        vocabulary: dict[str, int] = self._model.tokenizer.get_vocab()
        return select_whole_words(vocabulary)
