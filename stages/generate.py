"""generate: candidate descriptors for calibration's sentences."""

from descry import artifacts
from descry.embedding import Embedder
from descry.generation.retrieval import Retrieval
from descry.settings import Generate, Runtime
from stages import _stage


def main() -> None:
    settings, runtime = _stage.settings(Generate), _stage.settings(Runtime)
    sentences = artifacts.read_table(_stage.SENTENCES / "calibration.parquet", "sentences")
    embedder = Embedder(_stage.MODELS / "embedder", runtime.device)
    candidates = Retrieval(embedder, **settings.model_dump()).candidates(sentences)
    artifacts.write_table(_stage.CANDIDATES, candidates, "candidates")
    print(f"{len(candidates)} candidates, {candidates['candidate'].nunique()} different")


if __name__ == "__main__":
    _stage.run(main)
