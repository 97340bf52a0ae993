"""models: the weights of every role as versioned data."""

from descry import artifacts, models
from descry.settings import Models
from stages import _stage


def main() -> None:
    chosen = _stage.settings(Models)
    for role, source in (("target", chosen.target), ("embedder", chosen.embedder)):
        sums = models.fetch(models.Source(**source.model_dump()), _stage.MODELS / role)
        artifacts.write_json(_stage.MODELS / role / "manifest.json", {"files": sums, **source.model_dump()})
        print(f"{role}: {source.source}, {len(sums)} files")


if __name__ == "__main__":
    _stage.run(main)
