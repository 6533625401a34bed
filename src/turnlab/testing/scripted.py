"""Modules and turns that do what their script says, for tests of everything around them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from turnlab.chunks import Audio, Chunk
from turnlab.clock import Clock
from turnlab.modules.base import Context, Inputs, Module
from turnlab.streams import Stream


@dataclass(frozen=True)
class Read:
    """Wait for all of `kind`."""

    kind: type[Chunk]


@dataclass(frozen=True)
class Each:
    """For each Chunk of `kind` as it comes, emit what `make` says (None: nothing)."""

    kind: type[Chunk]
    make: Callable[[Any], Chunk | None]


@dataclass(frozen=True)
class Pause:
    """Let `seconds` of the clock pass; a Module measures them as inference."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Wait for ever, until cancelled."""


@dataclass(frozen=True)
class Block:
    """Keep a thread busy until it is told to stop; `begun` and `ended` tell a test of it."""

    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def until(self, stop: threading.Event) -> None:
        """What the thread does."""
        self.begun.set()
        stop.wait(60)
        self.ended.set()


Action = Chunk | Exception | Read | Each | Pause | Hang | Block
"""One line of a script; a Chunk is emitted, an exception raised."""


class Scripted(Module):
    """What `scripted` makes; `loads` counts how often it was loaded, `runs` how often run."""

    script: tuple[Action, ...] = ()
    loads = 0
    runs = 0

    def load(self) -> None:
        type(self).loads += 1

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        type(self).runs += 1
        reading = any(isinstance(action, (Read, Each)) for action in self.script)
        for kind in () if reading else self.consumes:
            await inputs.whole(kind)
        for action in self.script:
            async for chunk in _performed(action, inputs, context):
                yield chunk


def scripted(
    task_name: str,
    consumes: Iterable[type[Chunk]],
    produces: type[Chunk],
    *script: Action,
    **declared: Any,
) -> type[Scripted]:
    """A Module class that follows `script`, after reading all that it consumes.

    With a `Read` or `Each` in it, the script itself says what is read when. `declared` are
    other attributes of a Module, such as `uses`, `concurrency`, `timeout_s` or `Params`.
    """
    fields = {
        "task_name": task_name,
        "consumes": tuple(consumes),
        "produces": produces,
        "script": script,
        **declared,
    }
    return type(f"Scripted_{task_name}", (Scripted,), fields)


async def _performed(action: Action, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
    match action:
        case Chunk():
            yield replace(action)
        case Exception():
            raise action
        case Read(kind):
            await inputs.whole(kind)
        case Each(kind, make):
            async for chunk in inputs.stream(kind):
                if (made := make(chunk)) is not None:
                    yield made
        case Pause(seconds):
            clock = context.machine.clock
            with context.latency.model("script"):
                await clock.sleep_until(clock.now() + seconds)
        case Hang():
            await asyncio.get_running_loop().create_future()
        case Block():
            await context.blocking(action.until, context.stop)


@dataclass(frozen=True, kw_only=True)
class ScriptedTurn:
    """A turn whose input is a script of Chunks, `Pause`, `Hang` and exceptions.

    The kinds are those of its Chunks, unless `kinds` names them.
    """

    script: tuple[Action, ...]
    clock: Clock
    kinds: tuple[type[Chunk], ...] = ()
    speech_s: float | None = None
    last_voiced_s: float | None = 0.0

    def __post_init__(self) -> None:
        if not self.kinds:
            kinds = dict.fromkeys(type(a) for a in self.script if isinstance(a, Chunk))
            object.__setattr__(self, "kinds", tuple(kinds) or (Audio,))

    def turn_over_s(self, start_s: float) -> float:
        """`last_voiced_s` after the start."""
        return start_s + (self.last_voiced_s or 0.0)

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Do what the script says."""
        for action in self.script:
            match action:
                case Chunk():
                    await streams[type(action)].put(replace(action))
                case Pause(seconds):
                    await self.clock.sleep_until(self.clock.now() + seconds)
                case Exception():
                    raise action
                case Hang():
                    await asyncio.get_running_loop().create_future()
                case _:
                    raise TypeError(f"{action!r} is nothing that a user does.")
