"""Sends the signals, on a thread of its own so that a slow receiver never delays the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from django.db import close_old_connections, connections
from django.dispatch import Signal

from turnlab.records import Content
from turnlab.server import signals
from turnlab.server.batch import Ended
from turnlab.server.rows import Table
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Track

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Something that was refused or went wrong while all else went on."""

    what: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A record that was committed at `written_at`, in `table`."""

    record: Ended
    table: Table
    written_at: datetime

    @property
    def key(self) -> str:
        """The id of the record."""
        return self.record.track_id if isinstance(self.record, Track) else self.record.id


_Item = list[Announcement] | Future[None] | None


class Dispatcher:
    """Announces records one after the other; what receivers raise goes to `report`."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._thread = Thread(target=self._run, name="turnlab-signals", daemon=True)
        self._thread.start()

    def announce(self, announcements: list[Announcement]) -> None:
        """Send the signals of these records in their order, after those announced before."""
        self._queue.put(announcements)

    def settled(self) -> Future[None]:
        """Done when all that was announced so far has been received."""
        future: Future[None] = Future()
        self._queue.put(future)
        return future

    def close(self, timeout_s: float) -> None:
        """Deliver what is left, for at most `timeout_s`, and stop."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, Future):
                if item.set_running_or_notify_cancel():
                    item.set_result(None)
            else:
                for announcement in item:
                    self._deliver(announcement)
        connections.close_all()

    def _next(self) -> _Item:
        try:
            return self._queue.get_nowait()
        except Empty:
            close_old_connections()  # those that receivers opened, as Django does after a request
            return self._queue.get()

    def _deliver(self, item: Announcement) -> None:
        listened = [
            each for each in _signals_of(item.record) if each.has_listeners(item.table.model)
        ]
        for signal in listened:
            try:
                self._send(signal, item)
            except BaseException as error:  # even SystemExit must not end the thread
                logger.exception("A receiver ended the delivery of a signal")
                self._report(Report(what="signal", error=_described(error)))

    def _send(self, signal: Signal, item: Announcement) -> None:
        data = item.table.as_dict(item.record, item.written_at)
        # send_robust logs the traceback of what a receiver raises and goes on to the next.
        for receiver, answer in signal.send_robust(
            sender=item.table.model, data=data, track_id=item.record.track_id
        ):
            if isinstance(answer, Exception):
                self._report(Report(what=f"receiver {_name(receiver)}", error=_described(answer)))


def _signals_of(record: Ended) -> list[Signal]:
    match record:
        case Task(status=TaskStatus.COMPLETED):
            return [signals.completed_task, signals.completed(record.task_name)]
        case Task():
            return [getattr(signals, f"{record.status}_task")]
        case Track():
            return [getattr(signals, f"{record.status}_track")]
        case Content():
            return [signals.created_data_text]


def _name(receiver: Any) -> str:
    return getattr(receiver, "__qualname__", None) or repr(receiver)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
