"""split: cut reviews into sentences and divide them by review into calibration and validation; gold kept apart."""

from descry.corpus.sentences import build_sentence_table
from descry.results import layout
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.settings.text import Split
from descry.splits import SPLITS
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.reviews import find_source, read_chosen_reviews


def main() -> None:
    settings = read_settings(Split)
    reviews = read_chosen_reviews(settings)
    table = build_sentence_table(
        reviews,
        key=settings.key,
        validation=settings.validation,
        language=settings.language,
        source=find_source(settings),
    )
    for split in SPLITS:
        write_table(layout.SENTENCES / f"{split}.parquet", table.sentences[split], SENTENCE_TABLE)
        write_table(layout.GOLD / f"{split}.parquet", table.gold[split], GOLD_TABLE)
    print(", ".join(f"{name} {count}" for name, count in table.counts.items()))


if __name__ == "__main__":
    run_stage(main)
