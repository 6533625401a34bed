"""Streams: one producer, any number of readers, each of which starts from the beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from turnlab.chunks import Chunk, Origin, Sound
from turnlab.clock import Clock
from turnlab.errors import InvalidAudio, InvalidModule, StreamCancelled, TurnlabError
from turnlab.spill import Spill, Spilled

C = TypeVar("C", bound=Chunk)
D = TypeVar("D", bound=Chunk)

LEAD = 32
"""How many Chunks a producer may be ahead of the foremost reader that it has."""


class Stream(Generic[C]):
    """An append-only log of Chunks of one kind that ends, fails or is cancelled.

    `put` waits while the producer is `lead` Chunks ahead of the foremost reader and somebody
    who needs the stream is still at work (`consumers`), so memory stays bounded; the log
    itself is kept for later readers, its media beyond the Track's cap in a file (`spill`).
    Everything here happens on one event loop.
    """

    def __init__(
        self,
        kind: type[C],
        *,
        clock: Clock,
        producer: str = "user",
        consumers: int = 0,
        lead: int | None = LEAD,
        spill: Spill | None = None,
    ) -> None:
        self.kind = kind
        self.producer = producer
        self.ended_s: float | None = None
        self.end_origin: Origin | None = None
        """Where the end came from; None unless it ended well."""
        self._clock = clock
        self._consumers = consumers
        self._lead = lead
        self._spill = spill
        self._log: list[C | Spilled] = []
        self._foremost = 0
        self._rate: int | None = None
        self._error: TurnlabError | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._log)

    @property
    def newest(self) -> C | None:
        """What was put last; None while there is nothing."""
        return self._at(len(self._log) - 1) if self._log else None

    @property
    def closed(self) -> bool:
        """Whether it has ended, failed or been cancelled."""
        return self.ended_s is not None

    async def put(self, chunk: C, origin: Origin | None = None) -> None:
        """Append `chunk`, stamped with `origin` (by default: said by the user just now).

        A Chunk that came from another stream is appended as a copy, since its own origin
        belongs to that one. Raises what the stream failed with if it is closed, so that a
        producer stops; InvalidModule or InvalidAudio if `chunk` is not of its kind and rate.
        """
        self._check(chunk)
        while self._too_far_ahead():
            await self._change()
        if self.closed:
            raise self._error or StreamCancelled(f"{self.kind.kind} was put after its end.")
        if chunk.origin is not None:
            chunk = replace(chunk, origin=None)
        chunk.stamp(origin or Origin(producer=self.producer, emitted_s=self._clock.now()))
        self._append(chunk)
        self._wake()

    def end(self, origin: Origin | None = None) -> None:
        """No more will follow; `origin` is what the end came from, as for a Chunk."""
        if not self.closed:
            self.end_origin = origin or Origin(producer=self.producer, emitted_s=self._clock.now())
            self._close(None)

    def fail(self, error: TurnlabError) -> None:
        """Readers get what there is, then `error`."""
        self._close(error)

    def cancel(self) -> None:
        """Readers get what there is, then StreamCancelled."""
        self._close(StreamCancelled())

    def release(self) -> None:
        """One consumer is done with the stream; without any, the producer runs freely."""
        self._consumers -= 1
        self._wake()

    def engage(self) -> None:
        """One consumer more is at the stream, or is back."""
        self._consumers += 1

    def read(self) -> Reader[C]:
        """A new reader, at the beginning."""
        return Reader(self)

    async def begun(self) -> bool:
        """Wait for the first Chunk; False if the stream closed without one."""
        while not self._log and not self.closed:
            await self._change()
        return bool(self._log)

    async def superseded(self, chunk: C) -> None:
        """Wait until a newer Chunk than `chunk` is there, or none will come."""
        while self.newest is chunk and not self.closed:
            await self._change()

    async def finished(self) -> None:
        """Wait for the end. Raises what the stream failed with."""
        while not self.closed:
            await self._change()
        if self._error is not None:
            raise self._error

    def __iter__(self) -> Iterator[C]:
        """What has been put so far, read lazily; callable from any thread."""
        return (self._at(index) for index in range(len(self._log)))

    def gathered(self) -> C | None:
        """What has been put so far as one Chunk, None if nothing was."""
        return self.kind.gather(list(self)) if self._log else None

    def _check(self, chunk: object) -> None:
        if not isinstance(chunk, self.kind):
            raise InvalidModule(
                f"{self.producer} emitted {type(chunk).__name__}, not {self.kind.kind}; emit what "
                "`produces` names."
            )
        if flaw := chunk.flaw():
            raise InvalidModule(f"{self.producer} emitted {self.kind.kind}, but {flaw}.")
        if isinstance(chunk, Sound):
            self._rate = self._rate or chunk.sample_rate
            if chunk.sample_rate != self._rate:
                raise InvalidAudio(
                    f"{self.producer} emitted sound at {chunk.sample_rate} Hz after sound at "
                    f"{self._rate} Hz; keep to one rate."
                )

    def _append(self, chunk: C) -> None:
        index = len(self._log)
        self._log.append(chunk)
        if self._spill is not None and chunk.nbytes:
            self._spill.hold(chunk, lambda spilled: self._log.__setitem__(index, spilled))

    def _at(self, index: int) -> C:
        entry = self._log[index]
        return cast(C, entry.load()) if isinstance(entry, Spilled) else entry

    def _too_far_ahead(self) -> bool:
        if self.closed or self._lead is None or self._consumers <= 0:
            return False
        return len(self._log) - self._foremost >= self._lead

    def _close(self, error: TurnlabError | None) -> None:
        if not self.closed:
            self._error = error
            self.ended_s = self.end_origin.emitted_s if self.end_origin else self._clock.now()
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _change(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def _take(self, index: int) -> C | None:
        """The Chunk at `index` once it is there, None at the end."""
        while index >= len(self._log):
            if self.closed:
                if self._error is not None:
                    raise self._error
                return None
            await self._change()
        if index >= self._foremost:
            self._foremost = index + 1
            if self._waiting and self._lead is not None:
                self._wake()
        return self._at(index)


class Reader(AsyncIterator[C]):
    """Reads one stream from its beginning; knows when it asked for and got the last."""

    def __init__(self, stream: Stream[C]) -> None:
        self._stream = stream
        self._next = 0
        self.asked_s = 0.0
        self.read_s = 0.0

    async def __anext__(self) -> C:
        self.asked_s = self._stream._clock.now()
        chunk = await self._stream._take(self._next)
        self.read_s = self._stream._clock.now()
        if chunk is None:
            raise StopAsyncIteration
        self._next += 1
        return chunk


async def whole(stream: AsyncIterator[D], kind: type[D]) -> D | None:
    """All of a stream gathered into one Chunk, None if there was none."""
    chunks: list[Any] = [chunk async for chunk in stream]
    return kind.gather(chunks) if chunks else None
