"""split: reviews into sentences, divided by review into calibration and validation; gold kept apart."""

from descry import artifacts
from descry.corpus import SIDES, read_reviews, sentence_table
from descry.settings import Split
from stages import _stage


def main() -> None:
    settings = _stage.settings(Split)
    reviews = read_reviews(**settings.given())
    table = sentence_table(
        reviews,
        key=settings.key,
        validation=settings.validation,
        language=settings.language,
        source=settings.hub or settings.source,
    )
    for side in SIDES:
        artifacts.write_table(_stage.SENTENCES / f"{side}.parquet", table.sentences[side], "sentences")
        artifacts.write_table(_stage.GOLD / f"{side}.parquet", table.gold[side], "gold")
    print(", ".join(f"{name} {count}" for name, count in table.counts.items()))


if __name__ == "__main__":
    _stage.run(main)
