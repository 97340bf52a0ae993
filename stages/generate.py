"""generate: propose candidate descriptors for calibration sentences, by each generator in turn."""

from descry.results import layout
from descry.schemas.generate import ANSWER_TABLE, CANDIDATE_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.llms import Llms
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.settings.text import Generate
from descry.storage.tables import read_table, write_table
from descry.vocabulary.candidates import count_unspaced
from stages.harness.stage import read_settings, run_stage
from stages.shared.encoder import open_encoder
from stages.shared.generators import Generators


def main() -> None:
    settings, llms, asking = read_settings(Generate), read_settings(Llms), read_settings(Asking)
    runtime, sharding = read_settings(Runtime), read_settings(Sharding)
    sentences = read_table(layout.SENTENCES / "calibration.parquet", SENTENCE_TABLE)
    if unspaced := count_unspaced(sentences["text"]):
        print(
            f"{unspaced:,} of {len(sentences):,} sentences have no blanks between words, as in Chinese: whole clauses "
            "become candidates; put blanks between the words first"
        )
    with open_encoder("generate", runtime, sharding) as encoder:
        proposals = Generators(settings, llms, asking, sharding, sentences, encoder).propose()
        write_table(layout.CANDIDATES, proposals.candidates, CANDIDATE_TABLE)
        write_table(layout.ANSWERS, proposals.answers, ANSWER_TABLE)
    for name, part in proposals.candidates.groupby("generator"):
        print(f"{name}: {len(part)} candidates, {part['candidate'].nunique()} different")


if __name__ == "__main__":
    run_stage(main)
