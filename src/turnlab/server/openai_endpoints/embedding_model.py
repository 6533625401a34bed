"""The embedding model of this process: loaded at the first need, asked by one request at a time."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence

import numpy as np

from turnlab.errors import Saturated
from turnlab.retrieval import embedding
from turnlab.retrieval.embedding import MAX_TOKENS, Embedder
from turnlab.retrieval.stores import Vectors
from turnlab.server.openai_endpoints.failures import BadField

MOST_WAITING = 16
"""Requests that may wait for the model."""

TEXT_TOKENS = MAX_TOKENS - 2
"""Of one text: two more are the model's own."""


def name() -> str:
    """The name of the model, empty if it is not installed here."""
    if embedding.missing(None):
        return ""
    return embedding.model_files(None).name


class EmbeddingModel:
    """Makes vectors of texts."""

    def __init__(self) -> None:
        self._model: Embedder | None = None
        self._turn = asyncio.Lock()
        self._asked = 0

    async def embed(self, texts: Sequence[str], dimensions: int | None) -> tuple[Vectors, int]:
        """A vector of length 1 for each text, and how many tokens they have together.

        Stops soon after the caller was cancelled. Raises MissingModel, Saturated, and BadField for
        a text of which the model would not look at all, or dimensions that are not its own.
        """
        if self._asked > MOST_WAITING:
            raise Saturated(f"{self._asked} requests ask the embedding model; try again soon.")
        stop = threading.Event()
        self._asked += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self._embed, texts, dimensions, stop)
        finally:
            stop.set()
            self._asked -= 1

    def _embed(
        self, texts: Sequence[str], dimensions: int | None, stop: threading.Event
    ) -> tuple[Vectors, int]:
        # Half of the cores: the others are for turns, which somebody waits for.
        self._model = self._model or Embedder(threads=max(1, (os.cpu_count() or 2) // 2))
        own = self._model.dimensions
        if dimensions not in (None, own):
            raise BadField("dimensions", f"dimensions: the model's are {own}; leave it out.")
        counts = self._model.count(texts)
        for index, tokens in enumerate(counts):
            if tokens > TEXT_TOKENS:
                raise BadField(
                    f"input.{index}",
                    f"input.{index}: has {tokens} tokens, of which the model would look at "
                    f"{TEXT_TOKENS}; cut it into pieces.",
                )
        parts = []
        for part in self._model.batches(texts):
            parts.append(part)
            if stop.is_set():  # nobody waits for it any more
                break
        return np.concatenate(parts), sum(counts)
