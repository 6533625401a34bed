"""Writes a Batch: media first, then all rows in one transaction, parents before children."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property

from django.db import DatabaseError, DataError, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from turnlab.errors import InvalidAudio, InvalidImage
from turnlab.records import Content
from turnlab.server import models
from turnlab.server.batch import TABLES, Batch, Record
from turnlab.server.dispatch import Announcement, Report
from turnlab.server.media import KeptContent, rereadable, save_media
from turnlab.server.rows import Row, Table

logger = logging.getLogger(__name__)

_WITH_FILES = [name for name in TABLES if hasattr(getattr(models, name), "file")]
_Rows = list[tuple[Table, dict[str, Row]]]


class Writer:
    """Belongs to one thread, since a Django connection does.

    A record that the database can never take (not: cannot take now) goes to `report`, so that it
    does not hold up the others.
    """

    def __init__(self, alias: str, report: Callable[[Report], None]) -> None:
        self._alias = alias
        self._report = report

    def write(self, batch: Batch) -> list[Announcement]:
        """Commit the batch; what has come to its end is returned, in that order.

        Raises OSError or DatabaseError; then no row is written and the batch can be tried again.
        """
        written_at = datetime.now(UTC)
        self._save_files(batch)
        rows = self._rows(batch, written_at)
        try:
            late = self._commit(rows, written_at)
        except (DataError, IntegrityError, UnicodeError, OverflowError):
            late = self._commit_singly(batch, rows)
        return [
            Announcement(record=record, table=self._table_of(record), written_at=written_at)
            for key, record in batch.ends.items()
            if key not in late
        ]

    def close(self) -> None:
        """Give the connection back; the next write opens another."""
        with suppress(DatabaseError):  # a broken connection may refuse even that
            connections[self._alias].close()

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connections[self._alias]

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return {
            name: Table(getattr(models, name), record, self._connection)
            for name, record in TABLES.items()
        }

    def _table_of(self, record: Record) -> Table:
        if isinstance(record, Content):
            return self._tables[record.kind.value]
        return self._tables[type(record).__name__]

    def _save_files(self, batch: Batch) -> None:
        for name in _WITH_FILES:
            for key, content in list(batch.records[name].items()):
                if isinstance(content, Content) and not isinstance(content, KeptContent):
                    self._save_file(batch, name, key, rereadable(content))

    # Media are let go as soon as they are in their file, also when the row then has to wait.
    def _save_file(self, batch: Batch, name: str, key: str, content: Content) -> None:
        batch.records[name][key] = content
        try:
            batch.records[name][key] = save_media(content)
        except (InvalidAudio, InvalidImage) as error:
            self._refuse(batch, key, error)

    def _rows(self, batch: Batch, written_at: datetime) -> _Rows:
        """The rows by table; encoded before the transaction, which keeps other writers out."""
        tables: _Rows = []
        for name, records in batch.records.items():
            table, rows = self._tables[name], dict[str, Row]()
            stamp = table.moment(written_at)
            for key, record in list(records.items()):
                try:
                    rows[key] = table.row(record, stamp)
                except Exception as error:
                    self._refuse(batch, key, error)
            tables.append((table, rows))
        return tables

    def _commit(self, tables: _Rows, written_at: datetime) -> set[str]:
        """Commit all rows; the keys of those that came too late: the row had ended before."""
        late: set[str] = set()
        with transaction.atomic(using=self._alias), self._connection.cursor() as cursor:
            for table, rows in tables:
                if rows:
                    cursor.executemany(table.upsert, list(rows.values()))
                    if table.stamped and cursor.rowcount < len(rows):
                        late |= table.unwritten(rows, written_at)
        return late

    def _commit_singly(self, batch: Batch, tables: _Rows) -> set[str]:
        """Commit all rows but those that the database refuses for what they hold."""
        late: set[str] = set()
        refused: dict[str, Exception] = {}
        with transaction.atomic(using=self._alias), self._connection.cursor() as cursor:
            for table, rows in tables:
                for key, row in rows.items():
                    try:
                        with transaction.atomic(using=self._alias):
                            cursor.execute(table.upsert, row)
                            if table.stamped and not cursor.rowcount:
                                late.add(key)
                    except (DataError, IntegrityError, UnicodeError, OverflowError) as error:
                        refused[key] = error
        for key, reason in refused.items():
            self._refuse(batch, key, reason)
        return late

    def _refuse(self, batch: Batch, key: str, error: Exception) -> None:
        batch.refuse(key)
        text = f"{type(error).__name__}: {error}"
        logger.error("The record %s cannot be kept: %s", key, text)
        self._report(Report(what=f"record {key}", error=text))
