"""describe: sentences that a language model writes of the strongest neurons, if one is named."""

from descry.activations.record import read_activations
from descry.judging.descriptions import index_units
from descry.judging.writing import COMPLETED_FIELDS, FIELDS, Writer
from descry.results import layout
from descry.schemas.describe import WRITTEN_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.llms import Llms, LocalLlm
from descry.settings.measuring import Describe
from descry.settings.neurons import Assign
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.described import read_first
from stages.shared.encoder import open_encoder
from stages.shared.llms import open_answers, open_client, read_prompt


def main() -> None:
    settings, llms, asking = read_settings(Describe), read_settings(Llms), read_settings(Asking)
    runtime, sharding, rule = read_settings(Runtime), read_settings(Sharding), read_settings(Assign).rule
    if not settings.llm:
        write_table(layout.WRITTEN, None, WRITTEN_TABLE)
        return
    llm = llms.entries.get(settings.llm)
    completes = isinstance(llm, LocalLlm) and llm.complete
    writer = Writer(
        open_client(settings.llm, llms, asking, sharding),
        open_answers(asking),
        read_prompt("describe_complete", COMPLETED_FIELDS) if completes else read_prompt("describe", FIELDS),
        settings.candidates,
        settings.exemplars,
        settings.max_tokens,
    )
    active = read_activations(layout.ACTIVATIONS / "calibration.safetensors")
    texts = read_table(layout.SENTENCES / "calibration.parquet", SENTENCE_TABLE)["text"].tolist()
    first = read_first(rule).head(settings.neurons)
    places = index_units(active.layer, active.index)
    units = [places[unit] for unit in zip(first["layer"].tolist(), first["index"].tolist(), strict=True)]
    with open_encoder("describe", runtime, sharding) as encoder:
        table = writer.describe(active, texts, units, first["descriptor"].tolist(), encoder)
        write_table(layout.WRITTEN, table, WRITTEN_TABLE)
    print(f"{len(table):,} of {len(units):,} neurons have a description that {settings.llm} wrote")


if __name__ == "__main__":
    run_stage(main)
