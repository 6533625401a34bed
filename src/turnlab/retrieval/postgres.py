"""An index in PostgreSQL with the extension pgvector: the same ranking, computed there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from pgvector.psycopg import register_vector

from turnlab.chunks import Passage
from turnlab.errors import InvalidIndex, TurnlabError
from turnlab.retrieval.stores import (
    FACTS,
    FORMAT,
    SCORE_DIGITS,
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

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

BACKEND = "postgres"

CONNECT_S = 5
"""How long to wait for the database to answer."""

# Rounded as float8, which takes a tenth of the time of numeric; OFFSET 0 has it done once a row.
_SEARCH = f"""
SELECT text, source, score FROM (
    SELECT p.text, p.source, d.path, p.position,
           round(-(p.vector <#> %(vector)s) * 1e{SCORE_DIGITS}) / 1e{SCORE_DIGITS} AS score
    FROM turnlab_rag_passage p JOIN turnlab_rag_document d ON d.id = p.document_id
    WHERE d.index_id = %(index)s OFFSET 0
) AS scored
WHERE score >= %(least)s
ORDER BY score DESC, path COLLATE "C", position LIMIT %(top_k)s
"""

_DOCUMENTS = """
SELECT path, root, source, digest, size,
       (SELECT count(*) FROM turnlab_rag_passage WHERE document_id = d.id)
FROM turnlab_rag_document d WHERE index_id = %s
ORDER BY source COLLATE "C", path COLLATE "C"
"""

_PUT = """
INSERT INTO turnlab_rag_document (index_id, path, root, source, digest, size)
VALUES (%(index)s, %(path)s, %(root)s, %(source)s, %(digest)s, %(size)s) RETURNING id
"""

_SUMMARY = """
SELECT (SELECT count(*) FROM turnlab_rag_document WHERE index_id = %(index)s),
       count(p.id), coalesce(sum(pg_column_size(p.*)), 0)
FROM turnlab_rag_passage p JOIN turnlab_rag_document d ON d.id = p.document_id
WHERE d.index_id = %(index)s
"""


class PostgresStore:
    """One index in the database, see `Store`."""

    def __init__(self, name: str, url: str) -> None:
        """Raises UnknownIndex, InvalidIndex."""
        self._name, self._url = name, url
        self._lock = threading.Lock()
        self._connection = connect(url)
        try:
            with errors():
                self._id, self.facts = self._read_facts()
                register_vector(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def summary(self) -> IndexSummary:
        row = self._read(lambda: self._one(_SUMMARY, {"index": self._id}))
        return IndexSummary(
            name=self._name,
            facts=self.facts,
            documents=row[0],
            passages=row[1],
            bytes=row[2],
            backend=BACKEND,
        )

    def documents(self) -> list[Document]:
        rows = self._read(lambda: self._connection.execute(_DOCUMENTS, (self._id,)).fetchall())
        return [
            Document(
                path=row[0], root=row[1], source=row[2], digest=row[3], size=row[4], passages=row[5]
            )
            for row in rows
        ]

    def put(self, document: Document, passages: Sequence[TextPassage], vectors: Vectors) -> None:
        rows = list(zip(range(len(passages)), passages, vectors, strict=True))
        with self._lock, errors(), self._connection.transaction():
            self._connection.execute(
                "DELETE FROM turnlab_rag_document WHERE index_id = %s AND path = %s",
                (self._id, document.path),
            )
            (made,) = self._one(_PUT, {**vars(document), "index": self._id})
            self._connection.cursor().executemany(
                "INSERT INTO turnlab_rag_passage (document_id, position, text, source, vector) "
                "VALUES (%s, %s, %s, %s, %s)",
                [(made, position, each.text, each.source, row) for position, each, row in rows],
            )

    def drop(self, paths: Iterable[str]) -> None:
        with self._lock, errors():
            self._connection.execute(
                "DELETE FROM turnlab_rag_document WHERE index_id = %s AND path = ANY(%s)",
                (self._id, list(paths)),
            )

    def search(self, vector: Vectors, top_k: int, min_score: float) -> list[Passage]:
        check_vector(vector, self.facts)
        asked = {"vector": vector, "least": min_score, "top_k": top_k}

        def search() -> list[tuple[Any, ...]]:
            query = self._connection.execute
            if not (rows := query(_SEARCH, {**asked, "index": self._id}).fetchall()):
                self._follow_name()
                rows = query(_SEARCH, {**asked, "index": self._id}).fetchall()
            return rows

        return [
            Passage(text=text, source=source, score=score)
            for text, source, score in self._read(search)
        ]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _read(self, query: Callable[[], T]) -> T:
        """What `query` reads, asked again once on a new connection if this one was lost."""
        with self._lock, errors():
            try:
                return query()
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
                self._connection = connect(self._url)
                register_vector(self._connection)
                return query()

    def _one(self, query: str, values: dict[str, Any]) -> tuple[Any, ...]:
        row = self._connection.execute(query.encode(), values).fetchone()
        if row is None:
            raise unknown(self._name)
        return row

    def _read_facts(self) -> tuple[int, IndexFacts]:
        query = (
            f"SELECT id, format, {', '.join(FACTS)} FROM turnlab_rag_index WHERE name = %(name)s"
        )
        try:
            number, made_as, *values = self._one(query, {"name": self._name})
        except psycopg.errors.UndefinedTable as error:
            raise unknown(self._name) from error
        if made_as != FORMAT:
            raise damaged(self._name, f"format {made_as} instead of {FORMAT}")
        return number, IndexFacts(**dict(zip(FACTS, values, strict=True)))

    def _follow_name(self) -> None:
        """Nothing was found: perhaps the index was removed, or removed and made anew."""
        self._id, facts = self._read_facts()
        check_same_model(self._name, self.facts, facts)
        self.facts = facts


def connect(url: str) -> Connection:
    """Raises InvalidIndex, which shows no part of the address: it may hold a password.

    Nor what psycopg says, which takes for the host what follows an `@` in a password.
    """
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S)
    except psycopg.OperationalError:
        raise InvalidIndex(
            "The database of DATABASE_URL does not answer or does not let you in; "
            '`psql "$DATABASE_URL"` tells why. Write @ : / ? # % in a password as %40 and so on.'
        ) from None
    except psycopg.Error:
        raise InvalidIndex("DATABASE_URL is no address of a PostgreSQL database.") from None


@contextmanager
def errors() -> Iterator[None]:
    try:
        yield
    except TurnlabError:
        raise
    except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported) as error:
        raise InvalidIndex(
            "The PostgreSQL server has no extension pgvector; install it there "
            "(on Debian 13: postgresql-17-pgvector)."
        ) from error
    except psycopg.Error as error:
        # Without the details, which quote rows, and so documents.
        reason = error.diag.message_primary or "the connection was lost"
        raise InvalidIndex(f"PostgreSQL refused: {reason}.") from error
