"""models: fetch the weights of one role: the target, its dictionaries, the embedder, or all language models."""

import sys

from descry.models import fetch as models
from descry.results import layout
from descry.settings.models import Dictionaries, EmbedderModel, LlmWeights, ModelSource, TargetModel
from descry.storage.files import write_json
from stages.harness.stage import read_settings, run_stage


def _fetch(role: str, source: ModelSource) -> None:
    folder = layout.MODELS / role
    fetch = models.fetch
    if role == "dictionaries":
        from descry.models.dictionary_fetch import fetch_dictionaries as fetch
    sums = fetch(models.Origin(source.source, source.revision, source.sha256), folder)
    manifest = {"files": sums, "source": source.source, "revision": source.revision, "sha256": source.sha256}
    write_json(folder / "manifest.json", manifest)
    print(f"{role}: {source.source or 'none'}, {len(sums)} files, sha256 {models.hash_files(sums)}")


def main() -> None:
    role = sys.argv[1]
    if role == "llms":
        sources = read_settings(LlmWeights).entries
        for name, source in sources.items():
            _fetch(f"llms/{name}", source)
        write_json(layout.MODELS / "llms" / "names.json", sorted(sources))
    elif role == "dictionaries":
        _fetch(role, read_settings(Dictionaries))
    else:
        _fetch(role, read_settings(TargetModel) if role == "target" else read_settings(EmbedderModel))


if __name__ == "__main__":
    run_stage(main)
