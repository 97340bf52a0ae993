"""cluster: candidates into a short vocabulary of descriptors, then the edits made by hand."""

from descry import artifacts
from descry.clustering import descriptors
from descry.descriptors import edited
from descry.embedder import Embedder
from descry.settings import Cluster, Runtime, parse_edits
from stages import _stage


def main() -> None:
    settings, runtime = _stage.settings(Cluster), _stage.settings(Runtime)
    edits = parse_edits(_stage.read_text(_stage.EDITS), str(_stage.EDITS))
    candidates = artifacts.read_table(_stage.CANDIDATES, "candidates")
    embedder = Embedder(_stage.MODELS / "embedder", runtime.device, runtime.batch_tokens)
    found = edited(descriptors(candidates, embedder, **settings.model_dump()), **edits.model_dump())
    artifacts.write_json(_stage.DESCRIPTORS, {"descriptors": [vars(descriptor) for descriptor in found]})
    print(f"{len(found)} descriptors: {', '.join(descriptor.name for descriptor in found)}")


if __name__ == "__main__":
    _stage.run(main)
