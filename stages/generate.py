"""generate: candidate descriptors for calibration's sentences, by each generator in turn."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from descry import artifacts
from descry.generation import RETRIEVAL, Generator, union
from descry.generation.prompted import FIELDS, Example, Prompted, drawn_example
from descry.settings import Asking, Generate, Llms, Runtime
from stages import _llms, _stage

if TYPE_CHECKING:
    from descry.generation.retrieval import Retrieval


def main() -> None:
    settings, runtime = _stage.settings(Generate), _stage.settings(Runtime)
    llms, asking = _stage.settings(Llms), _stage.settings(Asking)
    sentences = artifacts.read_table(_stage.SENTENCES / "calibration.parquet", "sentences")

    @cache
    def retrieval() -> Retrieval:
        from descry.embedder import Embedder
        from descry.generation.retrieval import Retrieval

        embedder = Embedder(_stage.MODELS / "embedder", runtime.device)
        return Retrieval(
            embedder, per_sentence=settings.per_sentence, sample=settings.sample, **settings.retrieval.model_dump()
        )

    @cache
    def example() -> Example:
        written = settings.prompted
        if written.sentence:
            if written.sentence not in set(sentences["text"]):
                print("generate.prompted.sentence is none of calibration's; an example of your own data teaches more")
            return Example(written.sentence, written.answer)
        drawn = drawn_example(sentences, retrieval())
        print(f"the prompt's example is drawn: {drawn.sentence} -> {drawn.answer}")
        return drawn

    def generator(name: str) -> Generator:
        if name == RETRIEVAL:
            return retrieval()
        return Prompted(
            _llms.client(name, llms, asking),
            _llms.answers(asking),
            _llms.prompt("generate", FIELDS),
            example(),
            per_sentence=settings.per_sentence,
            sample=settings.sample,
            words=settings.prompted.words,
            max_tokens=settings.prompted.max_tokens,
        )

    found = union([generator(name).propose(sentences) for name in settings.generators])
    artifacts.write_table(_stage.CANDIDATES, found.candidates, "candidates")
    artifacts.write_table(_stage.ANSWERS, found.answers, "answers")
    for name, part in found.candidates.groupby("generator"):
        print(f"{name}: {len(part)} candidates, {part['candidate'].nunique()} different")


if __name__ == "__main__":
    _stage.run(main)
