"""cluster: group candidates into a short vocabulary of descriptors, then apply the hand edits."""

from descry.embedding.encoder import SentenceEncoder
from descry.results import layout
from descry.schemas.generate import CANDIDATE_TABLE
from descry.settings.parsing import parse_edits
from descry.settings.runtime import Runtime
from descry.settings.text import Cluster
from descry.storage.files import write_json
from descry.storage.tables import read_table
from descry.vocabulary.clustering import ClusterOptions, cluster_candidates
from descry.vocabulary.descriptors import apply_edits
from stages.harness.stage import read_settings, read_text, run_stage


def main() -> None:
    settings, runtime = read_settings(Cluster), read_settings(Runtime)
    edits = parse_edits(read_text(layout.EDITS), str(layout.EDITS))
    candidates = read_table(layout.CANDIDATES, CANDIDATE_TABLE)
    embedder = SentenceEncoder(layout.MODELS / "embedder", runtime.device, runtime.batch_tokens)
    clusters = cluster_candidates(candidates, embedder, ClusterOptions(**settings.model_dump()))
    descriptors = apply_edits(clusters, **edits.model_dump())
    write_json(layout.DESCRIPTORS, {"descriptors": [vars(descriptor) for descriptor in descriptors]})
    print(f"{len(descriptors)} descriptors: {', '.join(descriptor.name for descriptor in descriptors)}")


if __name__ == "__main__":
    run_stage(main)
