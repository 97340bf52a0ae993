"""describe: sentences that a language model writes of the strongest neurons and of descriptors, if one is named."""

from descry.activations.record import read_activations
from descry.judging.descriptions import index_units
from descry.judging.writing import COMPLETED_FIELDS, FIELDS, Writer, rank_by_activation, rank_by_score
from descry.results import layout
from descry.schemas.describe import GLOSS_TABLE, UNIT, WRITTEN_TABLE
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.llms import Llms, LocalLlm
from descry.settings.measuring import Describe
from descry.settings.neurons import Assign
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.storage.arrays import read_arrays
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
        write_table(layout.GLOSSES, None, GLOSS_TABLE)
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
    labels, meta = read_arrays(layout.LABELS / "first" / "calibration.safetensors", LABEL_ARRAYS)
    rankings = [*rank_by_activation(active, units, writer.most), *rank_by_score(**labels, probe_rows=active.probe_rows)]
    with open_encoder("describe", runtime, sharding) as encoder:
        table = writer.describe(rankings, texts, [*first["descriptor"], *meta["descriptors"]], encoder)
    written, glosses = table[table.index < len(units)], table[table.index >= len(units)]
    write_table(layout.WRITTEN, first[[*UNIT]].reset_index(drop=True).join(written, how="inner"), WRITTEN_TABLE)
    write_table(layout.GLOSSES, glosses, GLOSS_TABLE)
    print(f"{settings.llm} describes {len(written):,} of {len(units):,} neurons, {len(glosses):,} descriptors")


if __name__ == "__main__":
    run_stage(main)
