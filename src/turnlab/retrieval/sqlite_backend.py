"""Indexes as files in Turnlab's folder, for this user alone."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from turnlab.errors import InvalidIndex
from turnlab.home import home_folder, make_folder
from turnlab.retrieval.sqlite import BACKEND, SqliteStore, connect, index_files
from turnlab.retrieval.stores import (
    FACTS,
    FORMAT,
    NAME_PATTERN,
    IndexFacts,
    Store,
    being_written,
    check_name,
    damaged,
    unknown,
)

_SUFFIX = ".sqlite3"

_TABLES = (
    """CREATE TABLE facts (
        id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL DEFAULT 0,
        model TEXT NOT NULL, fingerprint TEXT NOT NULL, dimensions INTEGER NOT NULL,
        passage_tokens INTEGER NOT NULL, overlap_tokens INTEGER NOT NULL
    )""",
    """CREATE TABLE document (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, root TEXT NOT NULL,
        source TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL
    )""",
    # Never the same id twice, so that whoever keeps vectors in memory need only read new ones.
    """CREATE TABLE passage (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        document_id INTEGER NOT NULL REFERENCES document (id) ON DELETE CASCADE,
        position INTEGER NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL, vector BLOB NOT NULL
    )""",
    "CREATE INDEX passage_document ON passage (document_id)",
    f"PRAGMA user_version = {FORMAT}",
)


class SqliteBackend:
    """`$TURNLAB_HOME/rag/NAME.sqlite3`, see `Backend`."""

    name = BACKEND

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or home_folder() / "rag"

    def names(self) -> list[str]:
        stems = (path.stem for path in self._folder.glob(f"*{_SUFFIX}"))
        return sorted(name for name in stems if re.fullmatch(NAME_PATTERN, name))

    def exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def open(self, name: str) -> Store:
        return SqliteStore(name, self._path(name))

    def make(self, name: str, facts: IndexFacts) -> Store:
        path = self._path(name)
        # SQLite gives its journal files the mode of the database, so that has to be private first.
        os.close(self._private(path))
        try:
            with closing(connect(path)) as connection:
                _make_tables(connection, facts)
        except sqlite3.Error as error:
            raise damaged(name, error) from error
        return SqliteStore(name, path)

    def remove(self, name: str) -> None:
        if not self.exists(name):
            raise unknown(name)
        with self.writing(name):
            for path in index_files(self._path(name)):
                path.unlink(missing_ok=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        handle = self._private(self._path(name).with_suffix(".lock"))
        with open(handle, "w") as lock:  # which goes with the process that holds it
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise being_written(name) from error
            yield

    def _private(self, path: Path) -> int:
        """A handle of the file, made for this user alone where it is missing."""
        try:
            make_folder(self._folder.parent)
            make_folder(self._folder)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidIndex(f"{path} cannot be written: {error.strerror}.") from error

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}{_SUFFIX}"


def _make_tables(connection: sqlite3.Connection, facts: IndexFacts) -> None:
    """What is missing of an index, all at once; nothing in one that is there."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    places = ", ".join("?" * len(FACTS))
    connection.execute(
        f"INSERT INTO facts (id, {', '.join(FACTS)}) VALUES (1, {places})",
        tuple(getattr(facts, column) for column in FACTS),
    )
    connection.execute("COMMIT")
