"""An index in a SQLite file: searched exactly, its vectors kept in memory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from turnlab.chunks import Passage
from turnlab.errors import InvalidIndex, TurnlabError
from turnlab.retrieval.ranking import ranked
from turnlab.retrieval.stores import (
    FACTS,
    FORMAT,
    Document,
    IndexFacts,
    IndexSummary,
    TextPassage,
    Vectors,
    check_same_model,
    check_vector,
    damaged,
    unknown,
)

BACKEND = "sqlite"

_COLUMNS = ("path", "root", "source", "digest", "size", "passages")


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """The vectors of one generation of the index, in the order in which equal scores rank."""

    generation: int
    ids: tuple[int, ...]
    matrix: Vectors
    newest: int = 0
    """The highest id that was ever read."""


class SqliteStore:
    """One index in a file of its own, see `Store`."""

    def __init__(self, name: str, path: Path) -> None:
        """Open the file, which must be there. Raises UnknownIndex, InvalidIndex."""
        self._name, self._path = name, path
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._inode = self._file()
        with self._errors():
            self._connection = connect(path)
            try:
                self.facts = self._read_facts()
            except BaseException:
                self._connection.close()
                raise

    def summary(self) -> IndexSummary:
        with self._reading() as cursor:
            documents = cursor.execute("SELECT count(*) FROM document").fetchone()[0]
            passages = cursor.execute("SELECT count(*) FROM passage").fetchone()[0]
        return IndexSummary(
            name=self._name,
            facts=self.facts,
            documents=documents,
            passages=passages,
            bytes=sum(path.stat().st_size for path in index_files(self._path) if path.exists()),
            backend=BACKEND,
        )

    def documents(self) -> list[Document]:
        query = (
            "SELECT path, root, source, digest, size, "
            "(SELECT count(*) FROM passage WHERE document_id = document.id) "
            "FROM document ORDER BY source, path"
        )
        with self._reading() as cursor:
            rows = cursor.execute(query).fetchall()
        return [Document(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]

    def put(self, document: Document, passages: Sequence[TextPassage], vectors: Vectors) -> None:
        known = (document.path, document.root, document.source, document.digest, document.size)
        with self._writing() as cursor:
            cursor.execute("DELETE FROM document WHERE path = ?", (document.path,))
            cursor.execute(
                "INSERT INTO document (path, root, source, digest, size) VALUES (?, ?, ?, ?, ?)",
                known,
            )
            made = cursor.lastrowid
            cursor.executemany(
                "INSERT INTO passage (document_id, position, text, source, vector) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    (made, position, passage.text, passage.source, vector.tobytes())
                    for position, (passage, vector) in enumerate(
                        zip(passages, vectors.astype("<f4"), strict=True)
                    )
                ),
            )

    def drop(self, paths: Iterable[str]) -> None:
        with self._writing() as cursor:
            cursor.executemany("DELETE FROM document WHERE path = ?", ((path,) for path in paths))

    def search(self, vector: Vectors, top_k: int, min_score: float) -> list[Passage]:
        check_vector(vector, self.facts)
        with self._reading() as cursor:
            loaded = self._current(cursor)
            best = ranked(loaded.matrix, vector, top_k, min_score)
            return [
                Passage(text=text, source=source, score=score)
                for row, score in best
                for text, source in cursor.execute(
                    "SELECT text, source FROM passage WHERE id = ?", (loaded.ids[row],)
                )
            ]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _current(self, cursor: sqlite3.Cursor) -> _Loaded:
        """The vectors as they are in this transaction; read anew only if somebody wrote."""
        generation = int(cursor.execute("SELECT generation FROM facts").fetchone()[0])
        if self._loaded is None or self._loaded.generation != generation:
            known = self._loaded or _Loaded(
                generation=-1, ids=(), matrix=np.empty((0, self.facts.dimensions), np.float32)
            )
            self._loaded = self._load(cursor, generation, known)
        return self._loaded

    def _load(self, cursor: sqlite3.Cursor, generation: int, known: _Loaded) -> _Loaded:
        """The vectors, of which those that are not among the known ones are read."""
        ids = cursor.execute(
            "SELECT passage.id FROM passage JOIN document ON document.id = document_id "
            "ORDER BY path, position"
        ).fetchall()
        fresh = cursor.execute(
            "SELECT id, vector FROM passage WHERE id > ?", (known.newest,)
        ).fetchall()
        matrix = np.concatenate([known.matrix, self._matrix([blob for _, blob in fresh])])
        rows = {each: row for row, each in enumerate((*known.ids, *(row[0] for row in fresh)))}
        order = np.array([rows[row[0]] for row in ids], dtype=np.intp)
        return _Loaded(
            generation=generation,
            ids=tuple(row[0] for row in ids),
            matrix=matrix[order],
            newest=max(known.newest, *(row[0] for row in fresh), 0),
        )

    def _matrix(self, blobs: list[bytes]) -> Vectors:
        """Shape (blobs, dimensions). Raises InvalidIndex if they are of another length."""
        if any(len(blob) != 4 * self.facts.dimensions for blob in blobs):
            raise damaged(self._name, "a vector has another length than the others")
        values = np.frombuffer(b"".join(blobs), dtype="<f4")
        return values.astype(np.float32, copy=False).reshape(-1, self.facts.dimensions)

    def _read_facts(self) -> IndexFacts:
        cursor = self._connection.cursor()
        version = cursor.execute("PRAGMA user_version").fetchone()[0]
        tables = cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables:
            raise unknown(self._name)  # somebody was cut off while making it
        if version != FORMAT:
            raise damaged(self._name, f"format {version} instead of {FORMAT}")
        row = cursor.execute(f"SELECT {', '.join(FACTS)} FROM facts").fetchone()
        return IndexFacts(**dict(zip(FACTS, row, strict=True)))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Cursor]:
        """One state of the index, whoever writes meanwhile."""
        with self._lock, self._errors():
            if self._file() != self._inode:
                self._reopen()
            cursor = self._connection.cursor()
            cursor.execute("BEGIN")
            try:
                yield cursor
            finally:
                self._connection.rollback()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        """All of it or nothing, and a new generation."""
        with self._lock, self._errors():
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("UPDATE facts SET generation = generation + 1")
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    def _reopen(self) -> None:
        """Follow the name: the index was removed and made anew."""
        inode = self._file()
        self._connection.close()
        self._connection, self._loaded = connect(self._path), None
        facts = self._read_facts()
        check_same_model(self._name, self.facts, facts)
        self.facts, self._inode = facts, inode

    def _file(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise unknown(self._name) from error
        return found.st_dev, found.st_ino

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TurnlabError:
            raise
        except sqlite3.OperationalError as error:
            raise InvalidIndex(f"The index {self._name!r} cannot be used: {error}.") from error
        except sqlite3.Error as error:
            raise damaged(self._name, error) from error


def index_files(path: Path) -> tuple[Path, ...]:
    """The files of an index, the database first: what is beside it means nothing alone."""
    return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def connect(path: Path) -> sqlite3.Connection:
    """A connection without Python's own transactions; never makes the file."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )
    with suppress(sqlite3.DatabaseError):  # a damaged file says so when it is first read
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
    return connection
