"""Where indexes are kept here: SQLite files, or PostgreSQL where DATABASE_URL names one."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import astuple

from turnlab.errors import InvalidIndex, TurnlabError
from turnlab.packaged import installed
from turnlab.retrieval.embedding import Embedder
from turnlab.retrieval.sqlite_backend import SqliteBackend
from turnlab.retrieval.stores import Backend, Store, unknown

DEFAULT = "default"


def database_url() -> str | None:
    """The address of the PostgreSQL database that indexes are kept in; None for SQLite files."""
    url = os.environ.get("DATABASE_URL", "")
    return url if url.startswith("postgres") else None


def missing_backend() -> list[str]:
    """What must be installed before indexes can be opened; empty if nothing."""
    if database_url() is None:
        return []
    absent = [name for name in ("psycopg", "pgvector") if not installed(name)]
    if absent:
        return [f"{' and '.join(absent)} not installed: pip install 'turnlab[postgres]'."]
    return []


def find_backend() -> Backend:
    """Where indexes are kept. Raises InvalidIndex if what that needs is missing."""
    if absent := missing_backend():
        raise InvalidIndex(" ".join(absent))
    if url := database_url():
        from turnlab.retrieval.postgres_backend import PostgresBackend

        return PostgresBackend(url)
    return SqliteBackend()


def missing_index(name: str) -> list[str]:
    """What must be done before the index can be searched; empty if nothing."""
    if absent := missing_backend():
        return absent
    try:
        there = find_backend().exists(name)
    except TurnlabError as error:
        return [error.message]
    return [] if there else [unknown(name).message]


def digest_of(name: str) -> str:
    """SHA-256 of what the index was made of: its model, its settings, and each document's digest.

    Raises UnknownIndex, InvalidIndex.
    """
    store = find_backend().open(name)
    try:
        made_of = sorted((each.source, each.digest, each.passages) for each in store.documents())
        return hashlib.sha256(json.dumps([astuple(store.facts), made_of]).encode()).hexdigest()
    finally:
        store.close()


def open_index(name: str, embedder: Embedder) -> Store:
    """The index. Raises UnknownIndex, or InvalidIndex if another model than `embedder` made it."""
    store = find_backend().open(name)
    try:
        check_model(name, store, embedder)
    except InvalidIndex:
        store.close()
        raise
    return store


def check_model(name: str, store: Store, embedder: Embedder) -> None:
    """Raise InvalidIndex if another model made the index: its vectors mean something else."""
    if store.facts.fingerprint != embedder.fingerprint:
        raise InvalidIndex(
            f"The index {name!r} was made with another model ({store.facts.model}) than "
            f"{embedder.name}; use that one, or remove the index and add its documents again."
        )
