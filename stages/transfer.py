"""transfer: label another corpus with the same vocabulary, and read it with the same target."""

from itertools import chain

from descry.activations.record import write_activations
from descry.corpus.sentences import build_undivided_table
from descry.results import layout
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.settings.llms import Llms
from descry.settings.neurons import Extract
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.settings.text import Label, Transfer
from descry.splits import SPLITS
from descry.storage.arrays import write_arrays
from descry.storage.tables import read_pieces, read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.labelling import Labelling, read_vocabulary
from stages.shared.passes import Passes, sentences_path
from stages.shared.reviews import find_source, read_chosen_reviews

SENTENCES = layout.TRANSFER / "sentences.parquet"


def _write_corpus(settings: Transfer) -> None:
    """Write the other corpus's sentences that neither split has, and their gold aspects."""
    pieces = (read_pieces(sentences_path(split), SENTENCE_TABLE, "text") for split in SPLITS)
    known = set(chain.from_iterable(chain.from_iterable(pieces)))
    sentences, gold, counts = build_undivided_table(
        read_chosen_reviews(settings), language=settings.language, known=known, source=find_source(settings)
    )
    write_table(SENTENCES, sentences, SENTENCE_TABLE)
    write_table(layout.TRANSFER / "gold.parquet", gold, GOLD_TABLE)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))


def main() -> None:
    settings, label, extract = read_settings(Transfer), read_settings(Label), read_settings(Extract)
    runtime, sharding = read_settings(Runtime), read_settings(Sharding)
    labelling = Labelling(label, read_settings(Llms), read_settings(Asking), sharding, runtime)
    passes = Passes(extract, runtime, sharding)
    if not settings.enabled:
        for name, schema in (("sentences", SENTENCE_TABLE), ("gold", GOLD_TABLE)):
            write_table(layout.TRANSFER / f"{name}.parquet", None, schema)
        return
    _write_corpus(settings)
    descriptors = read_vocabulary()
    tables = [read_table(path, SENTENCE_TABLE) for path in (sentences_path("calibration"), SENTENCES)]
    with passes.keep("transfer", [SENTENCES]) as folder:  # until the labels are there too
        checkpoint = folder / "kept.safetensors"
        [activations] = passes.over(SENTENCES, passes.target(), [extract.pooling], checkpoint, "transfer")
        meta = {"descriptors": [descriptor.name for descriptor in descriptors], "labeller": label.labeller}
        with labelling.label(label.labeller, "transfer-labels", tables, descriptors) as labelled:
            write_arrays(layout.TRANSFER / "labels.safetensors", vars(labelled.tables[1]), LABEL_ARRAYS, meta)
            write_activations(layout.TRANSFER / "activations.safetensors", activations)


if __name__ == "__main__":
    run_stage(main)
