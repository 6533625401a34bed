"""Brings an index up to date with its documents, touching only what has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from turnlab.errors import DocumentTooLarge, InvalidDocument, InvalidIndex, UnreadableFile
from turnlab.retrieval.documents import Found, find_documents, read_document, resolve
from turnlab.retrieval.embedding import Embedder
from turnlab.retrieval.indexes import check_model, find_backend
from turnlab.retrieval.limits import Limits
from turnlab.retrieval.readers import read_sections
from turnlab.retrieval.splitting import passages
from turnlab.retrieval.stores import Document, IndexFacts, Store

PASSAGE_TOKENS = 96
"""About 70 words, three to five sentences: few enough for a small model to read while a user
waits (some 5 ms a token on two cores), enough to say one thing."""

OVERLAP_TOKENS = 24
"""One sentence or two."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A document that could not be added, and why."""

    source: str
    code: str
    message: str


@dataclass(kw_only=True)
class Report:
    """What became of each document, by its source."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    embedded: int = 0
    """Passages that were embedded for it."""


Progress = Callable[[str, int, int], None]
"""Told of a document's source, how many of its passages are embedded, and of how many."""


def add(
    name: str,
    paths: Iterable[Path],
    embedder: Embedder,
    *,
    passage_tokens: int | None = None,
    overlap_tokens: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Report:
    """Add folders and files to an index, which is made if there is none of this name.

    A document whose bytes are unchanged is not looked at again; one that is gone from a folder
    that is added again is removed; one that cannot be read is reported and keeps the place that
    it had. Each document is replaced as a whole, so a search meanwhile finds the old or the new.
    Raises UnreadableFile for a path that is not there, InvalidIndex if the index cannot be
    written, is full, or was made with another model or other sizes; what was added until then
    stays.
    """
    resolved = [resolve(path) for path in paths]
    backend = find_backend()
    with backend.writing(name):
        store = _made(name, embedder, passage_tokens, overlap_tokens)
        try:
            adding = _Adding(store, embedder, limits or Limits(), progress)
            for path in resolved:
                adding.take(path)
            return adding.report
        finally:
            store.close()


def _made(
    name: str, embedder: Embedder, passage_tokens: int | None, overlap_tokens: int | None
) -> Store:
    """The index, checked to be what the caller asks for."""
    wanted = IndexFacts(
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        dimensions=embedder.dimensions,
        passage_tokens=passage_tokens or PASSAGE_TOKENS,
        overlap_tokens=OVERLAP_TOKENS if overlap_tokens is None else overlap_tokens,
    )
    if wanted.overlap_tokens >= wanted.passage_tokens:
        raise InvalidIndex("The overlap must be smaller than the passages.")
    store = find_backend().make(name, wanted)
    try:
        check_model(name, store, embedder)
        given = (("passage_tokens", passage_tokens), ("overlap_tokens", overlap_tokens))
        for what, value in given:
            if value not in (None, getattr(store.facts, what)):
                raise InvalidIndex(
                    f"The index {name!r} has {what} {getattr(store.facts, what)}, not {value}; "
                    "leave the option out, or remove the index first."
                )
    except InvalidIndex:
        store.close()
        raise
    return store


class _Adding:
    """One run of `add`, document by document."""

    def __init__(
        self, store: Store, embedder: Embedder, limits: Limits, progress: Progress | None
    ) -> None:
        self.report = Report()
        self._store, self._embedder, self._limits = store, embedder, limits
        self._progress = progress or (lambda source, done, of: None)
        self._known = {each.path: each for each in store.documents()}
        self._held = sum(each.passages for each in self._known.values())

    def take(self, path: Path) -> None:
        """Add a resolved folder or file, and drop what is gone from the folder."""
        seen = []
        for found in find_documents(path, self._limits):
            seen.append(found)
            try:
                self._one(found)
            except (InvalidDocument, UnreadableFile, DocumentTooLarge) as error:
                refusal = Refusal(source=found.source, code=error.code, message=error.message)
                self.report.refused.append(refusal)
        self._drop_gone(path, seen)

    def _one(self, found: Found) -> None:
        if found.error is not None:
            raise found.error
        data, digest = read_document(found.path, self._limits)
        known = self._known.get(_text(found.path))
        if known is not None and known.digest == digest:
            self.report.unchanged.append(known.source)
            return
        document = Document(
            path=_text(found.path),
            root=_text(found.root),
            source=found.source,
            digest=digest,
            size=len(data),
        )
        self._put(document, found.path.suffix.lower(), data, known)

    def _put(self, document: Document, suffix: str, data: bytes, known: Document | None) -> None:
        sections = read_sections(suffix, data, self._limits)
        facts = self._store.facts
        sizes = (facts.passage_tokens, facts.overlap_tokens)
        cut = passages(sections, document.source, self._embedder, *sizes)
        self._check_room(document, len(cut), known)
        vectors = []
        for batch in self._embedder.batches([passage.text for passage in cut]):
            vectors.append(batch)
            self.report.embedded += len(batch)
            done = sum(len(each) for each in vectors)
            self._progress(document.source, done, len(cut))
        self._store.put(document, cut, np.concatenate(vectors))
        self._known[document.path] = replace(document, passages=len(cut))
        self._held += len(cut) - (known.passages if known else 0)
        (self.report.changed if known else self.report.added).append(document.source)

    def _check_room(self, document: Document, more: int, known: Document | None) -> None:
        documents = len(self._known) + (known is None)
        passages = self._held + more - (known.passages if known else 0)
        if documents > self._limits.documents or passages > self._limits.passages:
            raise InvalidIndex(
                f"The index is full: it takes {self._limits.documents:,} documents and "
                f"{self._limits.passages:,} passages. {document.source} and what follows it "
                "must go into another index."
            )

    def _drop_gone(self, path: Path, seen: list[Found]) -> None:
        """Only of a folder: a file that was added alone says nothing of its neighbours.

        What lies in a folder that could not be read is not known to be gone.
        """
        if not path.is_dir():
            return
        there = {_text(found.path) for found in seen}
        closed = [found.path for found in seen if found.error]
        gone = [
            each
            for each in self._known.values()
            if each.path not in there
            and Path(each.path).is_relative_to(path)
            and not any(Path(each.path).is_relative_to(folder) for folder in closed)
        ]
        if gone:
            self._store.drop([each.path for each in gone])
        self.report.removed += [each.source for each in gone]
        for each in gone:
            del self._known[each.path]
            self._held -= each.passages


def _text(path: Path) -> str:
    """The path as every database takes it."""
    return str(path).encode("utf-8", "replace").decode()
