"""models: the weights of one role as versioned data: the target, the embedder, or all language models."""

import sys

from descry import artifacts, models
from descry.settings import EmbedderModel, LlmWeights, ModelSource, TargetModel
from stages import _stage


def _fetch(role: str, source: ModelSource) -> None:
    folder = _stage.MODELS / role
    sums = models.fetch(models.Source(source.source, source.revision, source.sha256), folder)
    manifest = {"files": sums, "source": source.source, "revision": source.revision, "sha256": source.sha256}
    artifacts.write_json(folder / "manifest.json", manifest)
    print(f"{role}: {source.source}, {len(sums)} files")


def main() -> None:
    role = sys.argv[1]
    if role == "llms":
        found = _stage.settings(LlmWeights).entries
        for name, source in found.items():
            _fetch(f"llms/{name}", source)
        artifacts.write_json(_stage.MODELS / "llms" / "names.json", sorted(found))
    else:
        _fetch(role, _stage.settings(TargetModel) if role == "target" else _stage.settings(EmbedderModel))


if __name__ == "__main__":
    _stage.run(main)
