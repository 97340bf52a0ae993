"""What the stage `judge` scores, and by what descriptions fit sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from descry.activations.record import read_activations
from descry.judging.descriptions import Description, Descriptions
from descry.judging.fit import FitterOpener, SimilarityFitter
from descry.judging.judge import HeldOut, gather_held_out
from descry.judging.likelihood import LikelihoodFitter
from descry.labelling.likelihood import LIKELIHOOD_FIELDS
from descry.results import layout
from descry.schemas.describe import WRITTEN_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.llms import Llms
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.splits import SPLITS
from descry.storage.tables import read_table
from stages.shared.described import read_first
from stages.shared.encoder import open_encoder
from stages.shared.llms import open_answers, open_likelihood, read_prompt


def read_written() -> Descriptions:
    """Read the descriptions that the stage `describe` kept."""
    table = read_table(layout.WRITTEN, WRITTEN_TABLE)[["layer", "index", "description"]]
    rows = (Description(f"{layout.WRITTEN}, {row[0]}:{row[1]}", *row) for row in table.itertuples(index=False))
    return Descriptions(str(layout.WRITTEN), tuple(rows))


def read_held_out(rule: str) -> HeldOut:
    """Read what descriptions are judged on, with the descriptors that `rule` assigned."""
    texts = {split: read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)["text"] for split in SPLITS}
    active = read_activations(layout.ACTIVATIONS / "validation.safetensors")
    return gather_held_out(active, texts["validation"].to_numpy(), texts["calibration"].to_numpy(), read_first(rule))


@contextmanager
def open_fitter(llm: str, llms: Llms, asking: Asking, runtime: Runtime, sharding: Sharding) -> Iterator[FitterOpener]:
    """By the likelihood of the language model `llm`, or, if that is empty, by the sentence encoder's similarity."""
    if llm:
        client, prompt = open_likelihood(llm, llms, sharding), read_prompt("label_likelihood", LIKELIHOOD_FIELDS)
        yield partial(LikelihoodFitter, client, open_answers(asking), prompt)
    else:
        with open_encoder("judge", runtime, sharding) as encoder:
            yield partial(SimilarityFitter, encoder)
