"""One frozen, validated model per section of params.yaml, with a sentence under each field."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from descry.errors import InputError

Labeller = Literal["embedding", "lexical", "list", "each", "distil"]
PROMPTED = ("list", "each", "distil")
"""The labellers that ask a language model."""
T = TypeVar("T")


def _once(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "name each once")
    return values


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise PydanticCustomError("json", "it should hold nothing but what JSON can") from None
    return value


Json = Annotated[dict[str, Any], AfterValidator(_plain)]
Different = Annotated[list[T], AfterValidator(_once)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
_DEVICE = r"^(cpu|cuda(:\d+)?|mps)$"
_NAME = r"^[a-z][a-z0-9_-]*$"
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2
_VARIABLE = r"[A-Z][A-Z0-9_]*"
LARGEST = 2**31 - 1
"""No number may be larger: what counts, seeds or weighs more overflows somewhere."""


class Part(BaseModel):
    """Some keys: unknown ones and values of another type are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and number > LARGEST:
                raise PydanticCustomError("too_large", "input should be at most {largest}", {"largest": LARGEST})
        return value


class Section(Part):
    """A section of params.yaml."""

    section: ClassVar[str]


class Switched(Part):
    """Keys of a stage that may be left out."""

    enabled: bool
    "Whether the stage does anything; false: it leaves empty results, and its figures are left out everywhere."


class ModelSource(Part):
    """Where one model comes from."""

    source: str = Field(min_length=1)
    "`package:NAME` (an installed package), a local folder, or a Hub id `owner/name`."
    revision: str = ""
    "For a Hub id: the 40 hexadecimal digits of the commit."
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    "What model.safetensors must hash to; empty for no check."


class TargetModel(ModelSource, Section):
    """The model whose neurons are described."""

    section = "models.target"


class EmbedderModel(ModelSource, Section):
    """The sentence encoder behind the embedded generator, clustering and labeller."""

    section = "models.embedder"


class LlmWeights(Section):
    """Weights of the language models that `llms` runs on this machine, by the same names; {} for none."""

    section = "models.llms"
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, Field(pattern=_NAME)], ModelSource] = Field(init=False)

    @property
    def entries(self) -> dict[str, ModelSource]:
        """The sources by name."""
        return dict(self.__pydantic_extra__)


class LocalLlm(Part):
    """A language model that runs on this machine; its weights stand in `models.llms` under the same name."""

    client: Literal["transformers"]
    "This kind."
    device: str = Field(default="cpu", pattern=_DEVICE)
    "`cpu`, `cuda`, `cuda:N` or `mps`."
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    "Its arithmetic."
    batch_tokens: int = Field(default=4096, ge=1)
    "A batch holds at most this many tokens, padding and the longest answers included."
    temperature: float = Field(default=0.0, ge=0.0)
    "0 for the most probable answer (greedy); above, answers are drawn."
    seed: int = Field(default=0, ge=0)
    "Seed of the drawing."
    wrap: str = Field(default="{prompt}", pattern=r"\{prompt\}")
    "What a prompt is put into where the model has no chat template; {prompt} stands for it."
    chat: Json = Field(default_factory=dict)
    "What the model's chat template is given besides, for example enable_thinking: false."


class ServerLlm(Part):
    """A language model behind an OpenAI-compatible server, hosted or on one's own machine."""

    client: Literal["openai"]
    "This kind."
    base_url: str
    "The server's address, such as http://localhost:8000/v1."
    model: str = Field(min_length=1)
    "What the server calls the model."
    revision: str = ""
    "Any text that tells one build of the model from another; part of every answer's key in the cache."
    key: str = ""
    "The environment variable that holds the server's key; empty for a server that asks for none."
    temperature: float | None = Field(default=0.0, ge=0.0)
    "0 for the most probable answer (greedy); null leaves it to the server."
    seed: int | None = None
    "Sent to the server where it is not null."
    extra: Json = Field(default_factory=dict)
    "Further fields of every request, for example max_completion_tokens or chat_template_kwargs."

    @field_validator("key")
    @classmethod
    def _no_key_itself(cls, key: str) -> str:
        if key and not re.fullmatch(_VARIABLE, key):
            raise ValueError(
                "not the name of an environment variable, which is what belongs here, never the key itself"
            )
        return key

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s@?#]+", url):
            raise ValueError("not an address such as http://localhost:8000/v1; a name and password never belong here")
        return url


Llm = Annotated[LocalLlm | ServerLlm, Field(discriminator="client")]


class Llms(Section):
    """Language models that propose descriptors or label sentences, by name; the default needs none."""

    section = "llms"
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, Field(pattern=_NAME)], Llm] = Field(init=False)

    @property
    def entries(self) -> dict[str, LocalLlm | ServerLlm]:
        """The models by name."""
        return dict(self.__pydantic_extra__)


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

    def given(self) -> dict[str, Any]:
        """The arguments of `corpus.read_reviews`."""
        fields = ("text_field", "id_field", "product_field", "limit")
        return {"source": self.hub or self.source} | {name: getattr(self, name) for name in fields}


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


class Runtime(Section):
    """How models are run; shared by every stage that runs one."""

    section = "runtime"

    device: str = Field(pattern=_DEVICE)
    "`cpu`, `cuda`, `cuda:N` or `mps`."
    dtype: Literal["float32", "bfloat16"]
    "Arithmetic of the target model."
    batch_tokens: int = Field(ge=1)
    "A batch holds at most this many tokens, padding included; 1,024 suits a CPU, more a GPU."


class RayCluster(Part):
    """Options of the engine `ray`."""

    address: str
    "Of a running cluster, such as head:6379; empty: a cluster is started on this machine."
    workers: int = Field(ge=1)
    "Shards that are worked on at the same time, at most; each loads the model once."
    cpus: float = Field(gt=0.0)
    "CPU cores of a worker, and its threads."
    gpus: float = Field(ge=0.0)
    "GPUs of a worker; a fraction lets several share one."


class Sharding(Section):
    """How a corpus is cut up and who works on it; shared by generate, label, extract and controls."""

    section = "runtime"

    shard: int = Field(ge=1)
    "Sentences of a shard: what is worked on in one go, and what a run that is broken off may lose."
    engine: Literal["local", "ray"]
    "`local`: this process, or `ray`: the workers of a Ray cluster (pip install .[ray]). The results are the same."
    ray: RayCluster
    "Options of that engine."


class Asking(Section):
    """How language models are asked; shared by every stage that asks one."""

    section = "runtime"

    concurrency: int = Field(ge=1, le=1024)
    "Requests that a server answers at the same time."
    timeout: float = Field(gt=0.0)
    "Seconds that one answer of a server may take."
    retries: int = Field(ge=0, le=100)
    "Further tries of a request that was throttled, cut off, timed out or answered with nonsense."
    answers: str = Field(min_length=1)
    "Folder of the answer cache: nothing in it is ever asked again. One folder may serve many projects."


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

    generators: list[Annotated[str, Field(pattern=_NAME)]] = Field(min_length=1)
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


class Extract(Section):
    """Which neurons of the target are read, and what is kept of their activations."""

    section = "extract"

    site: Literal["ffn", "hidden", "attention"]
    """Which neurons: the inputs of each feed-forward block's down projection, the outputs of each layer, or the inputs
    of each attention's output projection."""
    stack: Literal["encoder", "decoder", "both"]
    """Of an encoder-decoder: whose layers; the decoder's count on from the encoder's. Other models have one stack, and
    this says nothing."""
    layers: list[Annotated[int, Field(ge=1)]] | None
    "Numbers of the layers that are read, from 1; null for all."
    modules: str = Field(pattern=r"^([^\s.]+(\.[^\s.]+)*)?$")
    """For an architecture whose neurons are not found: a dotted pattern of module names, `*` for one part or some of
    it. Their inputs are the neurons (with `hidden` their outputs). Empty where the structure decides."""
    pooling: Literal["max", "mean", "first", "last"]
    "How a neuron's values over a sentence's own tokens become one."
    also: list[Literal["max", "mean", "first", "last"]]
    "Further poolings, extracted in the same pass and compared with the first in the sweeps."
    top_k: int = Field(ge=1, le=10_000)
    "Sentences kept for every neuron, strongest first; `assign.exemplars` may be at most this."
    probe: int = Field(ge=1)
    "Sentences for which every activation is kept: a fixed sample, for sentence-level measures."

    @model_validator(mode="after")
    def _different(self) -> Extract:
        if len({self.pooling, *self.also}) <= len(self.also):
            raise ValueError(f"also is {self.also!r}: name each pooling once, and not {self.pooling!r} again")
        if self.layers is not None and not 0 < len(self.layers) == len(set(self.layers)):
            raise ValueError(f"layers is {self.layers!r}: name each layer once, or give null for all")
        return self


class Controls(Section):
    """Models that should know less than the target, put through the same path."""

    section = "controls"

    kinds: Different[Literal["untrained_target", "random_directions"]]
    "Which: random weights; random directions in place of neurons. An empty list for none."
    sample: int = Field(ge=2)
    "Sentences of calibration from which the directions take their mean and spread, at most."
    seed: int = Field(ge=0)
    "Seed of the weights and of the directions."


class Assign(Section):
    """When a descriptor is a neuron's."""

    section = "assign"

    rule: Literal["enrichment", "composition"]
    "Which rule decides; the figures of both stand in the table."
    exemplars: int = Field(ge=1, le=10_000)
    "Size of a neuron's exemplar set."
    alpha: Share
    "enrichment: the false discovery rate over all neurons and descriptors."
    min_lift: float = Field(ge=0.0)
    "enrichment: least ratio of composition to prevalence."
    min_count: int = Field(ge=1)
    "enrichment: least number of exemplars that bear the descriptor."
    tau: float = Field(gt=0.0, le=1.0)
    "composition: least share of the exemplars that bear the descriptor."

    @model_validator(mode="after")
    def _reachable(self) -> Assign:
        if self.min_count > self.exemplars:
            raise ValueError(f"min_count ({self.min_count}) is above exemplars ({self.exemplars})")
        return self


class Consistency(Section):
    """How the two splits' findings are compared."""

    section = "consistency"

    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Associate(Section):
    """How strongly the assigned pairs go together on validation's sentences."""

    section = "associate"

    repeats: int = Field(ge=2)
    "Bootstrap samples of reviews behind each interval."
    seed: int = Field(ge=0)
    "Seed of those samples."


class Sweep(Section):
    """Settings that are varied, one at a time, on the same activations."""

    section = "sweep"

    thresholds: Different[Annotated[float, Field(gt=0.0, le=1.0)]] = Field(min_length=1)
    "Shares of the exemplars that must bear a descriptor, under either rule."
    exemplars: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Sizes of the exemplar set; those above extract.top_k are left out."
    ks: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Ranks at which precision and recall are taken."
    seed: int = Field(ge=0)
    "Seed of the random exemplars that are drawn in as chance."

    @field_validator("ks")
    @classmethod
    def _drawn(cls, ks: list[int]) -> list[int]:
        if not {1, 2} <= set(ks):
            raise PydanticCustomError("drawn", "name 1 and 2 at least, which the page draws")
        return ks


class Evaluate(Section):
    """How findings are measured."""

    section = "evaluate"

    ks: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Ranks at which precision and recall are taken."
    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Tokens(Section):
    """On which tokens neurons fire."""

    section = "tokens"

    exemplars: int = Field(ge=1, le=100)
    "Sentences of each neuron and split that are read token by token, strongest first."
    examples: int = Field(ge=0, le=100)
    "Sentences of validation, drawn at random, that are explained as `descry explain` explains any other."


class Triggers(Switched, Section):
    """Which words drive neurons."""

    section = "triggers"

    words: int = Field(ge=1, le=100)
    "Word forms that a neuron may be told to be driven by, at most."
    share: Share
    """What they carry of it beyond their part: where one word form carries as much, the neuron is token-bound; where
    `words` of them do together, lexical; else contextual."""
    strongest: int = Field(ge=1)
    "Neurons by the p of their first descriptor, the lowest first, whose classes on both splits are compared."
    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Relations(Switched, Section):
    """Which descriptors go together."""

    section = "relations"

    alpha: Share
    "False discovery rate over all ordered pairs of descriptors."
    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Depth(Switched, Section):
    """Where in depth descriptors live."""

    section = "depth"

    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Transfer(Reviews, Switched, Section):
    """Another corpus, on which what was found is tried."""

    section = "transfer"

    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Ablate(Switched, Section):
    """Neurons switched off."""

    section = "ablate"

    neurons: int = Field(ge=1)
    "Of a descriptor, those with the lowest p, at most; beside them as many random ones of the same layers."
    value: Literal["mean", "zero"]
    "What a neuron that is switched off gives: its mean over tokens of calibration, or nothing."
    sentences: int = Field(ge=2)
    "Of validation, drawn at random, on which all descriptors are looked at."
    positives: int = Field(ge=1)
    "Sentences that bear a descriptor, at most, which join them for that descriptor alone."
    draws: int = Field(ge=1, le=100)
    "Random sets of neurons for each descriptor."
    words: int = Field(ge=1)
    "Where the target predicts words: places of each descriptor's words in sentences of validation, at most."
    seed: int = Field(ge=0)
    "Seed of the random sets."


class Neighbours(Section):
    """Which neurons fire on the same sentences."""

    section = "neighbours"

    nearest: int = Field(ge=1, le=100)
    "Neighbours of each neuron."
    exemplars: int = Field(ge=1, le=1000)
    "Sentences of each neuron that are compared, strongest first."


class Report(Section):
    """What the page shows."""

    section = "report"

    exemplars: int = Field(ge=1, le=100)
    "Sentences of each neuron and split, at most `tokens.exemplars`."


Name = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]


class Edits(Part):
    """Hand edits of the vocabulary (data/edits.yaml): merged first, then renamed, then dropped."""

    rename: dict[str, Name]
    "New names by old ones."
    merge: dict[Name, list[str]]
    "Names that join, by the name that stays."
    drop: list[str]
    "Names that go."


S = TypeVar("S", bound=Section)


def parse_edits(text: str, file: str) -> Edits:
    """Validated hand edits out of a YAML text. Errors: InputError, one line that begins with `file`."""
    try:
        return Edits.model_validate(YAML(typ="safe", pure=True).load(text) or {})
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place, why = f", line {mark.line + 1}" if mark else "", f" ({problem.splitlines()[0]})" if problem else ""
        raise InputError(f"{file}{place}: not YAML that can be read{why}; correct it") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the file'} {_said(fault)}" for fault in error.errors()]
        raise InputError(f"{file}: {'; '.join(faults)}") from None
    except (ValueError, RecursionError) as error:  # a date that is none, lists within lists without end
        raise InputError(f"{file}: not YAML that can be read ({str(error).splitlines()[0]}); correct it") from None


def parse(section: type[S], values: Mapping[str, Any]) -> S:
    """A validated section out of all of params.yaml. Errors: InputError, one line a fault.

    Several models may share a section; each takes its own keys, and any refuses a key that none of them knows.
    """
    name = section.section
    given: Any = values
    for key in name.split("."):
        given = given.get(key) if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping):
        raise InputError(f"params.yaml: section `{name}` is not there or not a mapping")
    others = {key for other in Section.__subclasses__() if other.section == name for key in other.model_fields}
    own = {key: value for key, value in given.items() if key in section.model_fields or key not in others}
    try:
        return section.model_validate(own)
    except ValidationError as error:
        faults = [f"{_key(name, fault['loc'])} {_said(fault)}" for fault in error.errors()]
        raise InputError("params.yaml: " + "; ".join(faults)) from None


def _key(section: str, location: tuple[int | str, ...]) -> str:
    if section == Llms.section:  # pydantic puts the client between a model and its key
        location = location[:1] + location[2:]
    return ".".join([section, *map(str, location)])


def _said(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "is not a known key"
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"].startswith("union_tag"):
        return "needs a client, transformers or openai"
    message = fault["msg"].removeprefix("Value error, ")
    return (
        f"is {_SHORT.repr(fault['input'])}: {message[0].lower() + message[1:]}"
        if fault["type"] != "value_error"
        else f": {message}"
    )
