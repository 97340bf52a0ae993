"""The sentence encoder: texts into unit vectors, and the words that it knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

from descry.embedding.vectors import scale_to_unit
from descry.errors import InputError
from descry.models.loading import explain_loading, find_device

CHARACTERS_A_TOKEN = 4
"""Of English text, about."""
_WORD_STARTS = ("▁", "Ġ")
_CONTINUES = "##"
_WORD_END = "</w>"
_SHORTEST_WORD = 3


def select_whole_words(vocabulary: dict[str, int]) -> list[str]:
    """Lower-case alphabetic words of at least 3 letters among a tokenizer's pieces, in order of their ids.

    Pieces are told apart by their markers: `##` (WordPiece) continues a word, `▁` or `Ġ` starts one, `</w>`
    ends one. Without any marker every alphabetic piece is a word.
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
    """Positions, longest first, cut so that (count x longest) is at most `budget`, or one text alone."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


class SentenceEncoder:
    """A local sentence encoder: unit vectors of texts, and its own word list.

    A folder without modules.json is read as a plain transformer with mean pooling. Weights come from
    safetensors alone, nothing is fetched and no code of the folder is run. Errors: InputError.
    """

    def __init__(self, folder: Path, device: str = "cpu", batch_tokens: int = 1024) -> None:
        """batch_tokens: tokens of a batch, padding included, about."""
        self._characters = CHARACTERS_A_TOKEN * batch_tokens
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder}: no model there (no config.json); check `models.embedder`")
        if not any(folder.rglob("*.safetensors")):
            raise InputError(f"{folder}: no .safetensors file, and no other format is read; convert the model")
        where = str(find_device(device))
        with explain_loading(f"{folder}: not a sentence encoder"):
            self._model = SentenceTransformer(
                str(folder),
                device=where,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        self._model.eval()

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        """Unit vectors of the texts, float32 [texts, width], in their order; behind a progress bar if it has a name."""
        width = self._model.get_embedding_dimension() or 0
        vectors = np.zeros((len(texts), width), dtype=np.float32)
        with tqdm(total=len(texts), desc=description, unit="text", disable=not description) as bar:
            for rows in batch_by_characters([len(text) + 8 for text in texts], self._characters):
                vectors[rows] = self._model.encode(
                    [texts[row] for row in rows], batch_size=len(rows), show_progress_bar=False
                )
                bar.update(len(rows))
        if not np.isfinite(vectors).all():
            raise InputError("the sentence encoder (models.embedder) gives vectors that are not finite; choose another")
        return scale_to_unit(vectors).astype(np.float32)

    def words(self) -> list[str]:
        """Whole words of the encoder's tokenizer, in the order of their ids (frequency, for WordPiece)."""
        vocabulary: dict[str, int] = self._model.tokenizer.get_vocab()
        return select_whole_words(vocabulary)
