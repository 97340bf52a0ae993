"""Sections about text: reviews, candidate descriptors, the vocabulary, labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from descry.settings.base import NAME, Part, Section, Share, Switched

Labeller = Literal["embedding", "lexical", "list", "each", "distil", "likelihood"]
PROMPTED = ("list", "each", "distil", "likelihood")
"""The labellers that ask a language model."""


class Reviews(Part):
    """Where reviews come from."""

    source: str = Field(min_length=1)
    "File of reviews: .jsonl, .csv, .tsv, .parquet or .txt (one review a line)."
    hub: str = Field(pattern=r"^(hf://[^/]+/.+)?$")
    "Hugging Face Hub data set to read instead of the file, `hf://owner/name[@revision][/split]`; empty for none."
    text_field: str = Field(min_length=1)
    "Field or column with the review's text."
    id_field: str = Field(min_length=1)
    "Field or column with the review's id; a review without one gets a hash of its text."
    product_field: str = Field(min_length=1)
    "Field or column with the product's name, which is only shown; it may be absent."
    quotes: Literal["auto", "double", "escaped", "single", "none"]
    """How a csv or tsv file uses quotes: `double` around texts, those in them doubled; `escaped`, those in them with a
    backslash; `single` around texts; `none`, they are plain characters; `auto` tells from the file."""
    limit: int | None = Field(ge=2)
    "Most reviews to read, from the first on; null for all."
    language: str = Field(min_length=2, max_length=8)
    "ISO 639 code of the reviews' language, by which they are cut into sentences."


class Split(Reviews, Section):
    """Which reviews are read, and how they are divided into calibration and validation."""

    section = "split"

    validation: Share
    "Share of the reviews that goes to validation; descriptors are found on the others, calibration, alone."
    key: str = Field(min_length=1, max_length=64)
    "Key of the hash that puts a review into calibration or validation. Another key draws another split."

    @field_validator("key")
    @classmethod
    def _check_length(cls, key: str) -> str:
        if len(key.encode(errors="replace")) > 64:
            raise PydanticCustomError("too_long", "in UTF-8 it should take at most 64 bytes")
        return key


class RetrievalCandidates(Part):
    """Options of the generator `retrieval`."""

    share: float = Field(ge=0.0, le=1.0)
    "How much of the review's mean embedding is subtracted from a sentence's. More leaves less product and more aspect."
    words: int = Field(ge=1)
    "Most words to choose candidates from."
    pairs: int = Field(ge=0)
    "Most recurring word pairs to choose candidates from, besides the words."
    min_reviews: int = Field(ge=1)
    "Least number of reviews that must use a word or pair for it to be a candidate."
    template: str = Field(pattern=r"^[^{}]*\{\}[^{}]*$")
    "Phrase in which a word or pair is embedded; {} marks its place."


class PromptedCandidates(Part):
    """Options of the generators that ask a language model."""

    how: Literal["write", "rank"]
    """How a language model proposes: it writes phrases; or it ranks the candidates of `retrieval` by how likely it
    finds each as an aspect of the sentence, which needs a model on this machine."""
    sample: int = Field(ge=2)
    "Most calibration sentences that a language model is asked about, of those that `generate.sample` draws."
    sentence: str
    "Sentence of the prompt's one example; empty draws one from calibration, answered by `retrieval`."
    answer: str
    "Answer of that example: phrases separated by commas; empty if the sentence is."
    words: int = Field(ge=1, le=20)
    "Most words of a candidate; longer phrases of an answer are dropped."
    max_tokens: int = Field(ge=1)
    "Most tokens of an answer."

    @model_validator(mode="after")
    def _check_example(self) -> PromptedCandidates:
        if bool(self.sentence.strip()) != bool(self.answer.strip()):
            raise ValueError("the example has a sentence or an answer but not both; give both, or neither")
        return self


class Generate(Section):
    """How candidate descriptors are proposed for calibration sentences."""

    section = "generate"

    generators: list[Annotated[str, Field(pattern=NAME)]] = Field(min_length=1)
    "Who proposes: `retrieval`, which needs no language model, and names from `llms`. All their candidates are taken."
    per_sentence: int = Field(ge=1, le=100)
    "Most candidates that each generator proposes for a sentence."
    sample: int = Field(ge=2)
    "Most calibration sentences that candidates are proposed for, a fixed random sample."
    proper_names: bool
    "Whether names of people, brands and places may become candidates."
    retrieval: RetrievalCandidates
    "Options of the generator `retrieval`."
    prompted: PromptedCandidates
    "Options of the generators that ask a language model."

    @model_validator(mode="after")
    def _check_distinct(self) -> Generate:
        if len(set(self.generators)) < len(self.generators):
            raise ValueError(f"generators is {self.generators!r}: name each once")
        return self


class Cluster(Section):
    """How candidates become a short vocabulary of descriptors."""

    section = "cluster"

    threshold: Share
    """Least cosine similarity of a candidate to the centre of its group, and of the centres of two groups that are
    merged. Higher gives more, narrower descriptors."""
    min_sentences: int = Field(ge=1)
    "Least number of sentences for which a descriptor, under any of its names, was proposed."
    stability: float = Field(ge=0.0, le=1.0)
    """Least share of ten random halves of the sentences in which a descriptor must be found again. Lower gives more
    descriptors; 0 keeps all."""
    max_descriptors: int = Field(ge=1, le=5000)
    "Most descriptors of the vocabulary, however many are stable; those proposed for most sentences stay."
    company: float = Field(ge=0.0)
    "Weight of the candidates proposed for the same sentences, relative to a candidate's own embedding; 0 ignores them."
    points: int = Field(ge=100)
    "About how many points stand for the candidates when they are grouped. More is finer; time grows with its square."
    template: str = Field(pattern=r"^[^{}]*\{\}[^{}]*$")
    "Phrase in which a candidate is embedded; {} marks its place."


class EmbeddingLabels(Part):
    """Options of the labeller `embedding`."""

    share: float = Field(ge=0.0, le=1.0)
    "As `generate.retrieval.share`."
    neighbours: int = Field(ge=0, le=1000)
    "How many calibration sentences nearest in meaning are averaged into a sentence before it is scored; 0 for none."
    rounds: int = Field(ge=0, le=1000)
    "How often each descriptor's prototype is moved towards the sentences nearest to it; 0 leaves it in place."
    pull: float = Field(ge=0.0)
    "How strongly those sentences pull the prototype, relative to the sentences that the descriptor was proposed for."
    sharpness: float = Field(gt=0.0)
    "How strongly descriptors compete for a sentence. Larger favours the nearest one more."
    literal: float = Field(ge=0.0)
    """How much a descriptor's words count where they stand in a sentence, in proportion to how many of the descriptor's
    sentences hold them; 0 for meaning alone."""
    breadth: float = Field(gt=0.0)
    "Labels per sentence, about: a descriptor gets this many times the sentences that it is the nearest to."
    reference: int = Field(ge=2)
    "Most calibration sentences to search for neighbours, a fixed random sample."


class LexicalLabels(Part):
    """Options of the labeller `lexical`."""

    letters: int = Field(ge=2)
    "First letters of a word that count: 5 makes one word of delivery and delivered. Large for whole words."
    min_sentences: int = Field(ge=1)
    "Least number of sentences that must use a word; rarer words are ignored."
    spread: float = Field(ge=0.0, le=1.0)
    "How much of a descriptor's words comes from words that occur beside its own in any sentence; 0 for its own alone."
    breadth: float = Field(gt=0.0)
    "As `label.embedding.breadth`."
    reference: int = Field(ge=2)
    "Most calibration sentences to learn from, a fixed random sample."


class PromptedLabels(Part):
    """Options of the labellers `list`, `each`, `likelihood` and `distil`, which ask a language model."""

    llm: str = Field(pattern=r"^([a-z][a-z0-9_-]*)?$")
    "Name of the language model in `llms`; empty if none of these labellers is used."
    max_tokens: int = Field(ge=1)
    "`list`: most tokens of an answer."
    threshold: Share
    "`each`: a descriptor applies if the model gives yes at least this probability, against no."


class LikelihoodLabels(Part):
    """Options of the labeller `likelihood`, whose model `label.prompted.llm` names; it must run on this machine."""

    breadth: float = Field(gt=0.0)
    "As `label.embedding.breadth`."


class DistilledLabels(Part):
    """Options of the labeller `distil`."""

    teacher: Literal["list", "each", "likelihood"]
    "How the language model labels the sample: as the labeller of that name does."
    sample: int = Field(ge=20)
    "Most calibration sentences that the language model labels, whatever the size of the corpus."
    seed: int = Field(ge=0)
    "Seed of the sample."


class Label(Section):
    """How sentences are labelled with the vocabulary."""

    section = "label"

    labeller: Labeller
    """Whose labels describe the neurons: `embedding`; `lexical`, which sees words only; or a language model's: `list`
    (one prompt per sentence), `each` (one per sentence and descriptor), `likelihood` (of the names, without an answer),
    `distil` (a sample; a linear model learns)."""
    second: Labeller
    "Another labeller for a second opinion; `evaluate` measures which findings it confirms."
    max_missing: float = Field(ge=0.0, le=1.0)
    "Largest share of labels that may be missing because an answer could not be read; with more the stage fails."
    embedding: EmbeddingLabels
    "Options of the labeller `embedding`."
    lexical: LexicalLabels
    "Options of the labeller `lexical`."
    prompted: PromptedLabels
    "Options of the labellers `list`, `each`, `likelihood` and `distil`."
    likelihood: LikelihoodLabels
    "Options of the labeller `likelihood`."
    distil: DistilledLabels
    "Options of the labeller `distil`."

    @model_validator(mode="after")
    def _check_labellers(self) -> Label:
        if self.second == self.labeller:
            raise ValueError(f"second is {self.second!r}, as labeller; name another for a second opinion")
        asking = [name for name in (self.labeller, self.second) if name in PROMPTED]
        if asking and not self.prompted.llm:
            raise ValueError(f"{asking[0]!r} asks a language model: name it in label.prompted.llm")
        return self


class Transfer(Reviews, Switched, Section):
    """Another corpus, on which the findings are tested."""

    section = "transfer"

    repeats: int = Field(ge=1)
    "Random draws behind every chance level. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those draws."


Name = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]


class Edits(Part):
    """Hand edits of the vocabulary (data/edits.yaml): first merges, then renames, then drops."""

    rename: dict[str, Name]
    "Old name: new name."
    merge: dict[Name, list[str]]
    "Name that stays: names that are merged into it."
    drop: list[str]
    "Names to remove."
