"""A Track under way in this process: what others may read of it while it runs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from turnlab.chunks import Chunk, Speech
from turnlab.clusters.plan import Plan
from turnlab.errors import ClusterNotRunnable, TurnlabError
from turnlab.records import NullRecorder
from turnlab.tasks import Task, TaskStatus
from turnlab.turn import Turn
from turnlab.turn_result import TurnResult
from turnlab.work import Observer

C = TypeVar("C", bound=Chunk)

MOST_EVENTS = 20_000
"""Of one Track. Beyond it Chunks are no longer told, Tasks and the end are."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a Track: `track`, `task`, `chunk` or `end`."""

    id: int
    event: str
    data: dict[str, Any]


class Events(Observer):
    """What happens in one Track, for any number of readers, each from where it wants to begin."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(4)
        """Of this telling: a Track that begins again is told anew, and counts anew."""
        self._log: list[Event] = []
        self._closed = False
        self._news: list[asyncio.Future[None]] = []

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Add an event; `end` is the last one."""
        self._log.append(Event(len(self._log) + 1, event, data))
        self._closed = self._closed or event == "end"
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, []
        for each in news:
            if not each.done():
                each.set_result(None)

    def task(self, task: Task) -> None:
        self.tell("task", task_event(task))

    def chunk(self, component: str, chunk: Chunk) -> None:
        if len(self._log) < MOST_EVENTS:
            profile = chunk.profile()
            self.tell("chunk", {"component": component, "kind": chunk.kind, **profile})

    def close(self) -> None:
        """Nothing more will be told here: the Track goes on elsewhere."""
        self._closed = True
        self._wake()

    async def read(self, after: int = 0) -> AsyncIterator[Event]:
        """The events with a higher id than `after`, up to the end of the Track."""
        at = max(0, after)
        while True:
            while at < len(self._log):
                at += 1
                yield self._log[at - 1]
            if self._closed:
                return
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._news.append(future)
            await future


def task_event(task: Task) -> dict[str, Any]:
    """A Task as an event tells it."""
    return {
        "id": task.id,
        "name": task.name,
        "task_name": task.task_name,
        "status": str(task.status),
        "worker": task.worker,
        "attempt": task.attempt,
        "error_code": task.error_code,
        "error_message": task.error_message,
    }


class Running:
    """A Track under way here. `task` ends with its result."""

    def __init__(self, turn: Turn, events: Events, owner: str) -> None:
        self.owner = owner
        self.task: asyncio.Task[TurnResult] | None = None
        self._turn = turn
        self._stopped = False
        self.abandoned = False
        """Whether it goes on elsewhere."""
        self._events = events

    @property
    def untouched(self) -> bool:
        """Whether no Worker has begun with any Task of it."""
        return all(task.status is TaskStatus.PENDING for task in self._turn.records.tasks.values())

    def cancel(self, error: TurnlabError | None = None) -> None:
        """End it now: as cancelled, or as failed with `error`. Only the first call counts."""
        if self.task is not None and not self._stopped:
            self._stopped = True
            if error is not None:
                self._turn.records.fail(error)
            self.task.cancel()

    def abandon(self) -> None:
        """Stop it and write nothing more of it: it is another process's, or will be."""
        self.abandoned = True
        self._turn.records.recorder = NullRecorder()
        self.cancel()

    @property
    def track_id(self) -> str:
        """The Track's id."""
        return self._turn.records.track.track_id

    @property
    def plan(self) -> Plan:
        """What it runs through."""
        return self._turn.plan

    async def done(self) -> TurnResult:
        """The result, once the Track has ended and its records are durable.

        Giving up waiting does not cancel the Track. Raises RecordingFailed.
        """
        assert self.task is not None
        return await asyncio.shield(self.task)

    @property
    def telling(self) -> str:
        """What the ids of its events belong to."""
        return self._events.name

    def events(self, after: int = 0) -> AsyncIterator[Event]:
        """What happens in it, from the event after the one of id `after`."""
        return self._events.read(after)

    def read(self, kind: type[C]) -> AsyncIterator[C]:
        """What the last Component that makes `kind` emits, from its beginning, as it comes.

        Raises ClusterNotRunnable if none makes it; the reader raises what the stream fails with.
        """
        step = self.plan.newest(kind)
        if step is None:
            raise ClusterNotRunnable(f"{self.plan.cluster.name} makes no {kind.kind}.")
        return cast(AsyncIterator[C], self._turn.outputs[step.name].read())

    def speaks(self) -> bool:
        """Whether its reply has a sound."""
        return self.plan.newest(Speech) is not None
