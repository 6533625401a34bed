"""What waits to be written: the newest version of every record, and who waits for it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from turnlab.conversations import Conversation
from turnlab.records import Content, ContentKind
from turnlab.server.media import KeptContent
from turnlab.tasks import Task
from turnlab.tracks import Track

Ended = Track | Task | Content
"""Records whose end is announced."""
Record = Ended | Conversation
Waiter = Future[None]

TABLES: dict[str, type[Any]] = {
    "Conversation": Conversation,
    "Track": Track,
    "Task": Task,
    **{kind.value: KeptContent for kind in ContentKind},
}
"""What is kept in the table of each model."""


class Batch:
    """Records merged by id, in the order in which each was first written."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Record]] = {name: {} for name in TABLES}
        """By the name of their model and by id, parents before children."""
        self.ends: dict[str, Ended] = {}
        """What is to be announced, by id, in the order in which it came to its end."""
        self.refused: list[str] = []
        self.waiters: list[Waiter] = []

    def __len__(self) -> int:
        return sum(map(len, self.records.values()))

    def add(self, item: Record | Waiter) -> None:
        """Take the item in; a record replaces an older version of it."""
        match item:
            case Task():
                self._keep("Task", item.id, item, ends=item.status.ended)
            case Track():
                self._keep("Track", item.track_id, item, ends=item.status.ended)
            case Conversation():
                self.records["Conversation"][item.id] = item
            case Content():
                ends = item.kind is ContentKind.DATA_TEXT
                self._keep(item.kind.value, item.id, item, ends=ends)
            case Future():
                self.waiters.append(item)

    def _keep(self, table: str, key: str, record: Ended, *, ends: bool) -> None:
        self.records[table][key] = record
        if ends:
            self.ends[key] = record

    def refuse(self, key: str) -> None:
        """Take out the record of this id, which can never be written."""
        self.refused.append(key)
        for records in self.records.values():
            records.pop(key, None)
        self.ends.pop(key, None)

    def wake(self, error: Exception | None = None) -> None:
        """Tell those who wait that all is written, or why not."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.set_running_or_notify_cancel():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
