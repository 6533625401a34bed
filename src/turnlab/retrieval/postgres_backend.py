"""Indexes as rows of the PostgreSQL database that DATABASE_URL names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from turnlab.retrieval.postgres import BACKEND, Connection, PostgresStore, connect, errors
from turnlab.retrieval.stores import (
    FACTS,
    FORMAT,
    IndexFacts,
    Store,
    being_written,
    check_name,
    unknown,
)

# Without dimensions in its type, a column holds vectors of any model; an index has one model.
# They stay in their rows (MAIN): to fetch them from elsewhere would be most of a search.
_TABLES = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS turnlab_rag_index (
    id bigserial PRIMARY KEY, name text NOT NULL UNIQUE, format integer NOT NULL,
    model text NOT NULL, fingerprint text NOT NULL, dimensions integer NOT NULL,
    passage_tokens integer NOT NULL, overlap_tokens integer NOT NULL
);
CREATE TABLE IF NOT EXISTS turnlab_rag_document (
    id bigserial PRIMARY KEY,
    index_id bigint NOT NULL REFERENCES turnlab_rag_index (id) ON DELETE CASCADE,
    path text NOT NULL, root text NOT NULL, source text NOT NULL, digest text NOT NULL,
    size bigint NOT NULL, UNIQUE (index_id, path)
);
CREATE TABLE IF NOT EXISTS turnlab_rag_passage (
    id bigserial PRIMARY KEY,
    document_id bigint NOT NULL REFERENCES turnlab_rag_document (id) ON DELETE CASCADE,
    position integer NOT NULL, text text NOT NULL, source text NOT NULL, vector vector NOT NULL
);
ALTER TABLE turnlab_rag_passage ALTER vector SET STORAGE MAIN;
CREATE INDEX IF NOT EXISTS turnlab_rag_passage_document
    ON turnlab_rag_passage (document_id);
"""


class PostgresBackend:
    """Tables of the database that DATABASE_URL names, see `Backend`."""

    name = BACKEND

    def __init__(self, url: str) -> None:
        self._url = url

    def names(self) -> list[str]:
        query = 'SELECT name FROM turnlab_rag_index ORDER BY name COLLATE "C"'
        with self._session() as connection:
            try:
                return [row[0] for row in connection.execute(query).fetchall()]
            except psycopg.errors.UndefinedTable:
                return []

    def exists(self, name: str) -> bool:
        return check_name(name) in self.names()

    def open(self, name: str) -> Store:
        return PostgresStore(check_name(name), self._url)

    def make(self, name: str, facts: IndexFacts) -> Store:
        check_name(name)
        values = tuple(getattr(facts, column) for column in FACTS)
        with self._session() as connection, connection.transaction():
            # Two that make the tables at once would trip over each other.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_key(""),))
            connection.execute(_TABLES)
            connection.execute(
                f"INSERT INTO turnlab_rag_index (name, format, {', '.join(FACTS)}) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING",
                (name, FORMAT, *values),
            )
        return PostgresStore(name, self._url)

    def remove(self, name: str) -> None:
        if not self.exists(name):
            raise unknown(name)
        with self.writing(name), self._session() as connection:
            connection.execute("DELETE FROM turnlab_rag_index WHERE name = %s", (name,))

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        with self._session() as connection:  # the lock goes with it
            query = "SELECT pg_try_advisory_lock(%s)"
            row = connection.execute(query, (_key(check_name(name)),)).fetchone()
            if row is None or not row[0]:
                raise being_written(name)
            yield

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with errors():
            connection = connect(self._url)
            try:
                yield connection
            finally:
                connection.close()


def _key(name: str) -> int:
    """Of the advisory lock of an index: 63 bits that nobody else is likely to use."""
    return int.from_bytes(hashlib.sha256(f"turnlab rag {name}".encode()).digest()[:8]) >> 1
