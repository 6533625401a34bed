"""What an index holds, and what any place that keeps one can do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from turnlab.chunks import Passage
from turnlab.errors import InvalidIndex, UnknownIndex

Vectors = NDArray[np.float32]

FORMAT = 1
"""Of what is kept; an index of another format is refused."""

NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"

SCORE_DIGITS = 6
"""Scores are rounded to so many decimals: beyond them sums of float32 products are noise, which
would order equal passages by chance and differently in each kind of store."""


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """What is fixed when an index is made: its passages can be searched only by the same model."""

    model: str
    """Name of the embedding model, for people."""
    fingerprint: str
    """Digest of the model's files, for telling whether it is the same one."""
    dimensions: int
    passage_tokens: int
    overlap_tokens: int


FACTS = tuple(each.name for each in fields(IndexFacts))
"""The columns that facts are kept in."""


@dataclass(frozen=True, kw_only=True)
class IndexSummary:
    """One line of the list of indexes."""

    name: str
    facts: IndexFacts
    documents: int
    passages: int
    bytes: int
    """What it takes on disk."""
    backend: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document as an index knows it."""

    path: str
    """Absolute path, by which it is known."""
    root: str
    """The folder that was added, or the one that holds the file that was."""
    source: str
    """Path relative to the root, as a reply would cite it."""
    digest: str
    """SHA-256 of its bytes."""
    size: int
    passages: int = 0


@dataclass(frozen=True, kw_only=True)
class TextPassage:
    """A passage without its vector: what it says and where that stands."""

    text: str
    source: str


class Store(Protocol):
    """One index, kept somewhere. Any thread may call; errors are TurnlabErrors."""

    facts: IndexFacts

    def summary(self) -> IndexSummary:
        """How much it holds."""
        ...

    def documents(self) -> list[Document]:
        """What it holds, ordered by source."""
        ...

    def put(self, document: Document, passages: Sequence[TextPassage], vectors: Vectors) -> None:
        """Add a document or replace the one of its path, all of it at once."""
        ...

    def drop(self, paths: Iterable[str]) -> None:
        """Remove documents by their paths."""
        ...

    def search(self, vector: Vectors, top_k: int, min_score: float) -> list[Passage]:
        """The `top_k` nearest passages of at least `min_score`, best first.

        `vector` has length 1 and shape (dimensions,); the score is the cosine. Equal scores are
        ordered by document, then by place in it.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Backend(Protocol):
    """A place that keeps indexes."""

    name: str

    def names(self) -> list[str]:
        """The indexes that it keeps, sorted."""
        ...

    def exists(self, name: str) -> bool:
        """Whether it keeps an index of this name."""
        ...

    def open(self, name: str) -> Store:
        """The index. Raises UnknownIndex, InvalidIndex."""
        ...

    def make(self, name: str, facts: IndexFacts) -> Store:
        """The index, made with `facts` if there is none yet. Raises InvalidIndex."""
        ...

    def remove(self, name: str) -> None:
        """Delete an index, damaged or not. Raises UnknownIndex."""
        ...

    def writing(self, name: str) -> AbstractContextManager[None]:
        """Keep other writers out; searching goes on. Raises InvalidIndex if one is at it."""
        ...


def check_name(name: str) -> str:
    """The name, if it is one. Raises InvalidIndex: a name must not be a way out of the folder."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidIndex(
            f"{name[:80]!r} is no name for an index; use 1 to 64 letters, digits, - and _."
        )
    return name


def unknown(name: str) -> UnknownIndex:
    """The error of an index that is not there."""
    return UnknownIndex(
        f"There is no index {name!r}; make it with `turnlab rag add {name} FOLDER`, or see "
        "`turnlab rag list`."
    )


def damaged(name: str, reason: object) -> InvalidIndex:
    """The error of an index that cannot be read."""
    return InvalidIndex(
        f"The index {name!r} is damaged ({reason}); remove it with `turnlab rag remove {name}` "
        "and add its documents again."
    )


def being_written(name: str) -> InvalidIndex:
    """The error of a second writer."""
    return InvalidIndex(
        f"Another process is writing the index {name!r}; try again when it has ended."
    )


def check_same_model(name: str, ours: IndexFacts, now: IndexFacts) -> None:
    """Raise InvalidIndex if an index that was made anew is one of another model."""
    if ours.fingerprint != now.fingerprint:
        raise InvalidIndex(
            f"The index {name!r} was made anew with another model ({now.model}); "
            "start this process again."
        )


def check_vector(vector: Vectors, facts: IndexFacts) -> Vectors:
    """The vector, if it is one of the index's model. Raises InvalidIndex."""
    if vector.shape != (facts.dimensions,):
        raise InvalidIndex(
            f"The index holds vectors of {facts.dimensions} values, the question's has "
            f"{vector.size}; use the model that made the index ({facts.model})."
        )
    return vector
