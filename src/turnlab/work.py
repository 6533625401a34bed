"""What the runner asks of its surroundings: executors, sources of input, observers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.clusters.plan import Plan, Step
from turnlab.modules.base import Exchange, Inputs
from turnlab.profiles import LatencyProfile
from turnlab.streams import Stream
from turnlab.tasks import Task


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
    claim: Callable[[], None]
    """Called once a Module has taken the Task."""
    result: dict[str, Any] = field(default_factory=dict)


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
