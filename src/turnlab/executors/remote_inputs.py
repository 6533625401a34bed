"""The inputs of one Task on their way to a worker, each as far as the worker allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnlab.chunks import Chunk, Origin
from turnlab.clock import Clock
from turnlab.errors import ProtocolViolation, TurnlabError
from turnlab.streams import Stream
from turnlab.wire import messages as m
from turnlab.wire.chunks import encode_chunk
from turnlab.wire.clocks import ClockOffset
from turnlab.wire.credit import Allowance
from turnlab.wire.failures import code_of, shortened
from turnlab.wire.frames import INLINE
from turnlab.wire.media import Media
from turnlab.wire.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the Tasks of one connection share."""

    worker_id: str
    worker_name: str
    is_node: bool
    clock: Clock
    offset: ClockOffset
    outbox: Outbox
    media: Media
    disown: Callable[[str], None]
    """The worker does not serve this task after all."""
    violated: Callable[[ProtocolViolation], None]
    """The worker broke the protocol."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What went to the worker: where it came from, and when."""

    origin: Origin
    at_s: float


@dataclass(slots=True)
class _Input:
    """One input on its way."""

    stream: Stream[Any]
    allowance: Allowance = field(default_factory=Allowance)
    sent: list[Sent] = field(default_factory=list)
    end: Sent | None = None


class RemoteInputs:
    """Reads the streams of a Task and sends what is in them; knows what was sent."""

    def __init__(
        self,
        number: int,
        streams: Mapping[type[Chunk], Stream[Any]],
        line: Line,
        before: Callable[[], None],
    ) -> None:
        self._number, self._line, self._before = number, line, before
        self._inputs = {kind.kind: _Input(stream) for kind, stream in streams.items()}
        self._refs: list[str] = []

    def declared(self) -> tuple[tuple[str, str, int], ...]:
        """Each kind, its producer, and how many Chunks follow at once."""
        return tuple(
            (kind, each.stream.producer, min(len(each.stream), m.WINDOW))
            for kind, each in self._inputs.items()
        )

    async def feed(self) -> None:
        """Send all of all of them. Raises what cannot be sent; failed streams are told of."""
        jobs = [asyncio.create_task(self._feed(*each)) for each in self._inputs.items()]
        try:
            await asyncio.gather(*jobs)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    def allow(self, kind: str, count: int) -> None:
        """The worker has read so many more of `kind`. Raises ProtocolViolation."""
        self._input(kind).allowance.add(count)

    def cause(self, kind: str, number: int) -> Sent:
        """What was sent under this number. Raises ProtocolViolation if nothing was."""
        each = self._input(kind)
        if number == m.END and each.end is not None:
            return each.end
        if not 0 <= number < len(each.sent):
            raise ProtocolViolation(f"{kind} {number} was read before it was sent.")
        return each.sent[number]

    async def body(self, payload: bytes) -> tuple[bytes, str]:
        """What goes into a frame, and the reference of what does not fit there."""
        if len(payload) <= INLINE:
            return payload, ""
        ref = await self._line.media.put(payload)
        self._refs.append(ref)
        return b"", ref

    async def fetch(self, ref: str) -> bytes:
        """What the worker has put. Raises ProtocolViolation if there is nothing."""
        self._refs.append(ref)
        try:
            return await self._line.media.get(ref)
        except TurnlabError as error:
            raise ProtocolViolation(f"A medium cannot be had: {error}") from error

    async def forget(self) -> None:
        """Delete the media of the Task."""
        for ref in self._refs:
            await self._line.media.delete(ref)

    def _input(self, kind: str) -> _Input:
        if kind not in self._inputs:
            raise ProtocolViolation(f"A Task that reads no {kind:.100} was told to have read some.")
        return self._inputs[kind]

    async def _feed(self, kind: str, each: _Input) -> None:
        try:
            ended = await self._send_all(kind, each)
        except TurnlabError as error:
            if not each.stream.closed:
                raise
            code, message = code_of(error), shortened(error.message)
            self._put(m.InFail(task=self._number, kind=kind, code=code, message=message))
            return
        if not ended:
            left_s = self._end_of(each)
            if left_s is not None:
                self._put(m.InEnd(task=self._number, kind=kind, left_s=left_s))

    async def _send_all(self, kind: str, each: _Input) -> bool:
        """Send the Chunks; whether the last of them told that it was."""
        reader = each.stream.read()
        last_s = None
        while last_s is None:
            await each.allowance.take()
            chunk = await anext(reader, None)
            if chunk is None:
                break
            payload, media = await self.body(encode_chunk(chunk))
            await self._line.outbox.room()
            self._before()
            number = len(each.sent)
            each.sent.append(Sent(chunk.origin, self._line.clock.now()))
            last_s = self._end_of(each)
            self._put(
                m.In(
                    task=self._number,
                    kind=kind,
                    number=number,
                    left_s=self._line.offset.there(chunk.origin.emitted_s),
                    last_s=last_s,
                    payload=payload,
                    media=media,
                )
            )
        return last_s is not None

    def _end_of(self, each: _Input) -> float | None:
        """When the stream ended, on the worker's clock, if all that is in it was sent."""
        origin = each.stream.end_origin
        if origin is None or len(each.stream) > len(each.sent):
            return None
        each.end = Sent(origin, self._line.clock.now())
        return self._line.offset.there(origin.emitted_s)

    def _put(self, message: m.Message) -> None:
        self._line.outbox.put(message)
