"""Sections about text: reviews, candidates, the vocabulary, labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from descry.settings.base import NAME, Part, Section, Share, Switched

Labeller = Literal["embedding", "lexical", "list", "each", "distil"]
PROMPTED = ("list", "each", "distil")
"""The labellers that ask a language model."""


class Reviews(Part):
    """Where reviews come from."""

    source: str = Field(min_length=1)
    "A .jsonl, .csv, .tsv, .parquet or .txt file (one review a line)."
    hub: str = Field(pattern=r"^(hf://[^/]+/.+)?$")
    "A data set of the Hub, `hf://owner/name[@revision][/split]`, read in place of the file; empty for none."
    text_field: str = Field(min_length=1)
    "Field or column that holds the text."
    id_field: str = Field(min_length=1)
    "Field or column that holds the review's id; where a review has none, a hash of its text serves."
    product_field: str = Field(min_length=1)
    "Field or column that names the product; it may be absent."
    limit: int | None = Field(ge=2)
    "Read at most this many reviews, first ones first; null for all."
    language: str = Field(min_length=2, max_length=8)
    "ISO 639 code of the language, for sentence segmentation."


class Split(Reviews, Section):
    """Which reviews, and how they are divided."""

    section = "split"

    validation: Share
    "Share of the reviews that goes to validation."
    key: str = Field(min_length=1, max_length=64)
    "Key of the hash that decides a review's side; another key, another split."

    @field_validator("key")
    @classmethod
    def _short(cls, key: str) -> str:
        if len(key.encode(errors="replace")) > 64:
            raise PydanticCustomError("too_long", "in UTF-8 it should take at most 64 bytes")
        return key


class RetrievalCandidates(Part):
    """Options of the generator `retrieval`."""

    share: float = Field(ge=0.0, le=1.0)
    "Share of its review's mean embedding that is taken off a sentence: less product, more aspect."
    words: int = Field(ge=1)
    "Words of the vocabulary that is searched, at most."
    pairs: int = Field(ge=0)
    "Recurring word pairs that join it, at most."
    min_reviews: int = Field(ge=1)
    "Reviews that must use a term for it to be searched."
    template: str = Field(pattern=r"^[^{}]*\{\}[^{}]*$")
    "The phrase that a term is embedded in, {} standing for the term."


class PromptedCandidates(Part):
    """Options of the generators that are language models."""

    sentence: str
    "The sentence of the prompt's one example; empty: drawn from calibration, its answer from `retrieval`."
    answer: str
    "The example's answer: phrases with commas between them."
    words: int = Field(ge=1, le=20)
    "A phrase of more words is rambling and no candidate."
    max_tokens: int = Field(ge=1)
    "Longest answer, in tokens."

    @model_validator(mode="after")
    def _whole(self) -> PromptedCandidates:
        if bool(self.sentence.strip()) != bool(self.answer.strip()):
            raise ValueError("the example has a sentence or an answer but not both; give both, or neither")
        return self


class Generate(Section):
    """How candidate descriptors are proposed for calibration's sentences."""

    section = "generate"

    generators: list[Annotated[str, Field(pattern=NAME)]] = Field(min_length=1)
    "Who proposes: `retrieval` (no language model) and names of `llms`; the union is taken."
    per_sentence: int = Field(ge=1, le=100)
    "Candidates of a sentence, at most, from each."
    sample: int = Field(ge=2)
    "Sentences that are read, at most: a fixed sample of calibration."
    retrieval: RetrievalCandidates
    "Options of that generator."
    prompted: PromptedCandidates
    "Options of the others."

    @model_validator(mode="after")
    def _different(self) -> Generate:
        if len(set(self.generators)) < len(self.generators):
            raise ValueError(f"generators is {self.generators!r}: name each once")
        return self


class Cluster(Section):
    """How candidates become a short vocabulary."""

    section = "cluster"

    threshold: Share
    "Cosine that a member of a community has to its centre."
    min_sentences: int = Field(ge=1)
    "Least number of sentences behind a descriptor."
    max_descriptors: int = Field(ge=1, le=5000)
    "Size of the vocabulary, at most; the heaviest stay."
    company: float = Field(ge=0.0)
    "Weight of the candidates that a candidate stands with, against its own embedding."
    points: int = Field(ge=100)
    "Copies of candidates laid down for community detection, about: cost grows with its square."
    template: str = Field(pattern=r"^[^{}]*\{\}[^{}]*$")
    "The phrase that a candidate is embedded in, {} standing for the candidate."


class EmbeddingLabels(Part):
    """Options of the labeller `embedding`."""

    share: float = Field(ge=0.0, le=1.0)
    "As generate.share."
    neighbours: int = Field(ge=0, le=1000)
    "Sentences of calibration, nearest in meaning, that join a sentence before it is scored."
    rounds: int = Field(ge=0, le=1000)
    "Rounds in which each descriptor's prototype moves towards the sentences nearest to it."
    pull: float = Field(ge=0.0)
    "How far it moves, against the sentences that proposed the descriptor."
    sharpness: float = Field(gt=0.0)
    "How strongly descriptors compete for a sentence."
    breadth: float = Field(gt=0.0)
    "A descriptor is given to as many sentences as it wins, times this."
    reference: int = Field(ge=2)
    "Sentences of calibration among which neighbours are sought, at most: a fixed sample."


class LexicalLabels(Part):
    """Options of the labeller `lexical`."""

    letters: int = Field(ge=2)
    "Of a word, its first so many count (`deliv` for delivery and delivered); large for whole words."
    min_sentences: int = Field(ge=1)
    "A word that fewer sentences use is unknown."
    spread: float = Field(ge=0.0, le=1.0)
    "Share of a descriptor's words that is taken from those standing beside its own in any sentence."
    breadth: float = Field(gt=0.0)
    "As label.embedding.breadth."
    reference: int = Field(ge=2)
    "Sentences of calibration that it learns from, at most: a fixed sample."


class PromptedLabels(Part):
    """Options of the labellers `list`, `each` and `distil`, which ask a language model."""

    llm: str = Field(pattern=r"^([a-z][a-z0-9_-]*)?$")
    "Its name in `llms`."
    max_tokens: int = Field(ge=1)
    "`list`: longest answer, in tokens."
    threshold: Share
    "`each`: a descriptor applies from this probability of yes, against no."


class DistilledLabels(Part):
    """Options of the labeller `distil`."""

    teacher: Literal["list", "each"]
    "How the language model labels the sample."
    sample: int = Field(ge=20)
    "Sentences of calibration that it labels, at most; the cost does not grow with the corpus."
    seed: int = Field(ge=0)
    "Seed of the sample."


class Label(Section):
    """How sentences are labelled with the vocabulary."""

    section = "label"

    labeller: Labeller
    """Whose labels describe the neurons: `embedding`, `lexical` (words only), or a language model: `list` (one
    prompt a sentence), `each` (one a sentence and descriptor), `distil` (a sample, and a linear model learns)."""
    second: Labeller
    "Another labeller, for a second opinion: which of the findings does it confirm?"
    max_missing: float = Field(ge=0.0, le=1.0)
    "Share of the labels that may be missing because an answer could not be read; above, the stage fails."
    embedding: EmbeddingLabels
    "Options of that labeller."
    lexical: LexicalLabels
    "Options of that labeller."
    prompted: PromptedLabels
    "Options of `list`, `each` and `distil`."
    distil: DistilledLabels
    "Options of that labeller."

    @model_validator(mode="after")
    def _two(self) -> Label:
        if self.second == self.labeller:
            raise ValueError(f"second is {self.second!r}, as labeller; name another for a second opinion")
        asking = [name for name in (self.labeller, self.second) if name in PROMPTED]
        if asking and not self.prompted.llm:
            raise ValueError(f"{asking[0]!r} asks a language model: name it in label.prompted.llm")
        return self


class Transfer(Reviews, Switched, Section):
    """Another corpus, on which what was found is tried."""

    section = "transfer"

    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


Name = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]


class Edits(Part):
    """Hand edits of the vocabulary (data/edits.yaml): merged first, then renamed, then dropped."""

    rename: dict[str, Name]
    "New names by old ones."
    merge: dict[Name, list[str]]
    "Names that join, by the name that stays."
    drop: list[str]
    "Names that go."
