"""The write-behind journal: the Recorder that costs the runner a microsecond a record.

Records are queued and merged by id; one thread writes the newest version of each every
`interval_s` (beside running turns 250 ms), in one transaction, and the signals go out after it
has committed. `flush` waits for that.

What can be lost. If the process is killed: what was written in the last `interval_s` and not
flushed. If the power fails: besides, on SQLite with synchronous=NORMAL, the transactions since the
database last synced its write-ahead log (at a checkpoint, every 1,000 pages or so), and sounds
that the system had not put on the disk yet. The database itself is never torn. A signal that was
not yet delivered is not sent again by the next process.

If the disk or the database refuses, everything is kept and tried again: at once when a flush asks,
else after growing pauses. `flush` then raises, and a later one succeeds.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import time
from collections import deque
from threading import Event, Thread

from turnlab.conversations import Conversation
from turnlab.errors import RecordingFailed
from turnlab.records import Content
from turnlab.server.batch import Batch, Record, Waiter
from turnlab.server.dispatch import Dispatcher, Report
from turnlab.server.writer import Writer
from turnlab.tasks import Task
from turnlab.tracks import Track

logger = logging.getLogger(__name__)

_LONG = 1_000  # records in the queue that are not left to wait for the interval
_AT_ONCE = 4_000  # records in one transaction, so that other writers get their turn
_LONGEST_PAUSE_S = 5.0
_REMEMBERED = 100_000  # announced ids, so that a rewritten record is not announced again


class Journal:
    """Keeps records in the database `alias`, written every `interval_s` seconds, until `close`.

    It may be used from any thread. `reported` holds the last hundred receivers that raised and
    records that the database cannot hold.
    """

    def __init__(self, alias: str = "default", interval_s: float = 0.02) -> None:
        self.reported: deque[Report] = deque(maxlen=100)
        self._interval_s = self._pause_s = interval_s
        self._queue: deque[Record | Waiter] = deque()
        self._awake, self._urgent = Event(), Event()
        self._batch = Batch()
        self._announced: dict[str, None] = {}
        self._failure: Exception | None = None
        self._deadline_s: float | None = None
        self._writer = Writer(alias, self.reported.append)
        self._dispatcher = Dispatcher(self.reported.append)
        # A daemon, or the interpreter would wait for it before it calls what atexit has.
        self._thread = Thread(target=self._run, name="turnlab-journal", daemon=True)
        self._thread.start()
        atexit.register(self._close_at_exit)

    @property
    def waiting(self) -> int:
        """How many records are not durable yet; versions in the queue count one by one."""
        return len(self._queue) + len(self._batch)

    def conversation(self, conversation: Conversation) -> None:
        """Keep that there is such a Conversation. Raises RecordingFailed after `close`."""
        self._put(conversation)

    def track(self, track: Track) -> None:
        """Keep the Track as it is now. Raises RecordingFailed after `close`."""
        self._put(track)

    def task(self, task: Task) -> None:
        """Keep the Task as it is now. Raises RecordingFailed after `close`."""
        self._put(task)

    def content(self, content: Content) -> None:
        """Keep a text, a sound, a picture or a context. Raises RecordingFailed after `close`."""
        self._put(content)

    async def flush(self, *, hurry: bool = True) -> None:
        """Wait until everything written so far is durable. Raises RecordingFailed.

        Without `hurry` it is written when the interval is over, together with what comes meanwhile.
        """
        waiter = Waiter()
        self._put(waiter)
        if hurry:
            self._hurry()
        await asyncio.wrap_future(waiter)

    async def settle(self) -> None:
        """`flush`, and wait until the signals of it have been received. Raises RecordingFailed."""
        await self.flush()
        await asyncio.wrap_future(self._dispatcher.settled())

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left, deliver its signals and stop, within `timeout_s` if need be.

        Raises RecordingFailed if something could not be written.
        """
        atexit.unregister(self._close_at_exit)
        self._deadline_s = deadline_s = time.monotonic() + timeout_s
        self._hurry()
        self._thread.join(timeout_s)
        self._dispatcher.close(max(0.0, deadline_s - time.monotonic()))
        if self.waiting:
            raise self._failed()

    def _close_at_exit(self) -> None:
        try:
            self.close()
        except RecordingFailed as error:
            logger.error("%s", error)

    def _put(self, item: Record | Waiter) -> None:
        if self._deadline_s is not None:
            raise RecordingFailed("The journal is closed; open another to keep more records.")
        self._queue.append(item)
        if not self._awake.is_set():
            self._awake.set()
        if len(self._queue) > _LONG and not self._urgent.is_set():
            self._urgent.set()

    def _hurry(self) -> None:
        self._urgent.set()
        self._awake.set()

    # From here on: the writer's thread.

    def _run(self) -> None:
        while not self._done():
            self._awake.wait()
            self._urgent.wait(self._pause())
            # Cleared before the queue is emptied, so that what comes in between wakes it again.
            self._urgent.clear()
            self._awake.clear()
            self._drain()
            self._write()
        self._writer.close()

    def _done(self) -> bool:
        if self._deadline_s is None:
            return False
        return not (self._queue or self._batch) or time.monotonic() >= self._deadline_s

    def _pause(self) -> float:
        if self._deadline_s is None:
            return self._pause_s
        return max(0.0, min(self._pause_s, self._deadline_s - time.monotonic()))

    def _drain(self) -> None:
        # After a failure all is merged at once: it bounds memory, and finds every waiter.
        limit = len(self._queue) if self._failure else min(len(self._queue), _AT_ONCE)
        for _ in range(limit):
            self._batch.add(self._queue.popleft())

    def _write(self) -> None:
        try:
            announcements = self._writer.write(self._batch) if self._batch else []
        except Exception as error:  # whatever it was: a thread that ends here would lose all
            self._fail(error)
            return
        self._recover()
        batch, self._batch = self._batch, Batch()
        self._dispatcher.announce([each for each in announcements if self._is_new(each.key)])
        batch.wake(_refused(batch.refused) if batch.refused else None)
        if self._queue:
            self._hurry()

    def _is_new(self, key: str) -> bool:
        """Whether the end of this record is announced for the first time."""
        if key in self._announced:
            return False
        self._announced[key] = None
        if len(self._announced) > _REMEMBERED:
            del self._announced[next(iter(self._announced))]
        return True

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            logger.error("Records cannot be written and are kept for later: %s", error)
        self._failure = error
        self._pause_s = min(_LONGEST_PAUSE_S, max(0.05, 2 * self._pause_s))
        self._writer.close()  # what is wrong may be the connection
        self._batch.wake(self._failed())
        self._awake.set()

    def _recover(self) -> None:
        if self._failure is not None:
            logger.warning("Records are written again; nothing was lost.")
        self._failure = None
        self._pause_s = self._interval_s

    def _failed(self) -> RecordingFailed:
        failed = RecordingFailed(
            f"{self.waiting} records could not be written ({self._failure or 'out of time'}); free "
            "disk space or set TURNLAB_HOME to another disk. They are kept as long as this runs."
        )
        failed.__cause__ = self._failure
        return failed


def _refused(ids: list[str]) -> RecordingFailed:
    return RecordingFailed(
        f"{len(ids)} records hold what the database cannot keep ({', '.join(ids[:3])}); the log "
        "says why. All others were kept."
    )
