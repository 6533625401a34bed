"""What the runner asks of its surroundings: executors, sources of input, observers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.clusters.plan import Plan, Step
from turnlab.modules.base import Exchange, Inputs
from turnlab.profiles import LatencyProfile
from turnlab.streams import Stream
from turnlab.tasks import Task

EMBEDDED = "embedded"
"""The id of the Worker inside this process."""


class Priority(StrEnum):
    """Whether somebody waits for the reply of a Track."""

    LIVE = "live"
    BATCH = "batch"


def priority_of(priority: Priority, *, first: bool) -> int:
    """The lower, the sooner: the first turn of a live conversation, its others, all else."""
    if priority == Priority.BATCH:
        return 2
    return 0 if first else 1


class Claim(Protocol):
    """Called once a Module has taken the Task, and again where another one has."""

    def __call__(
        self, worker_id: str = EMBEDDED, attempt: int = 1, at_s: float | None = None
    ) -> None:
        """`at_s` is the moment on the executor's clock, by default now."""
        ...


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(kw_only=True)
class Work:
    """One Task as an executor gets it."""

    track_id: str
    task_id: str
    step: Step
    inputs: Inputs
    latency: LatencyProfile
    urgency: Callable[[], int]
    history: tuple[Exchange, ...]
    claim: Claim
    priority: int = 0
    """What goes first where Tasks wait for a Worker: see `priority_of`."""
    result: dict[str, Any] = field(default_factory=dict)
    placed: asyncio.Event = field(default_factory=_set)
    """Whether somebody is there to run it; cleared while it waits for a Worker."""
    placed_s: float = float("-inf")
    """When it came to its Worker, where it had to wait for one."""

    def again(self) -> None:
        """Forget what a Worker had read and measured that was lost before it emitted anything."""
        self.inputs.forget()
        self.latency.forget()
        self.result.clear()


class Executor(Protocol):
    """A place where Tasks run."""

    @property
    def clock(self) -> Clock:
        """The clock that all moments are on."""
        ...

    async def prepare(self, plan: Plan) -> None:
        """Make the first turn of `plan` as fast as later ones."""
        ...

    def perform(self, work: Work) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes."""
        ...


class Source(Protocol):
    """Where the user's input comes from."""

    @property
    def kinds(self) -> tuple[type[Chunk], ...]:
        """The kinds that it gives."""
        ...

    @property
    def speech_s(self) -> float | None:
        """Length of what is said in seconds, None if there is no sound or no known end."""
        ...

    @property
    def last_voiced_s(self) -> float | None:
        """Where its last voiced sample lies, in seconds from its beginning."""
        ...

    def turn_over_s(self, start_s: float) -> float:
        """The moment of the last voiced sample, from which latency counts."""
        ...

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put the input into its streams and end them."""
        ...


class Observer:
    """Told of what happens in a Track, as it happens; the base class ignores all of it."""

    def task(self, task: Task) -> None:
        """A Task was created or changed its status."""

    def chunk(self, component: str, chunk: Chunk) -> None:
        """A Component emitted a Chunk."""
