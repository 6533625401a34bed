"""The inputs of one Task as they come over the wire, fed into streams that its Module reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from turnlab.chunks import Chunk, Origin
from turnlab.clock import Clock
from turnlab.errors import ProtocolViolation
from turnlab.spill import Spill
from turnlab.streams import Stream
from turnlab.wire import messages as m
from turnlab.wire.chunks import KINDS, decode_chunk
from turnlab.wire.credit import Grants
from turnlab.wire.failures import error_of
from turnlab.wire.media import Media

C = TypeVar("C", bound=Chunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class FedOrigin(Origin):
    """The origin of what came over the wire: what it was, and which (`END`: its end)."""

    kind: str
    number: int


class FedStream(Stream[C]):
    """A stream that tells when its foremost reader has read one more."""

    def __init__(self, kind: type[C], taken: Callable[[], None], **fields: Any) -> None:
        super().__init__(kind, lead=None, **fields)
        self._taken = taken
        self._read = 0

    async def _take(self, index: int) -> C | None:
        chunk = await super()._take(index)
        if chunk is not None and index >= self._read:
            self._read = index + 1
            self._taken()
        return chunk


class Feed:
    """One input: holds what comes to its order and to the credit that was given for it."""

    def __init__(
        self,
        opened: tuple[str, str, int],
        *,
        clock: Clock,
        media: Media,
        spill: Spill,
        grant: Callable[[str, int], None],
    ) -> None:
        name, self._producer, self._backlog = opened
        if name not in KINDS:
            raise ProtocolViolation(f"{name!r} is no kind of Chunk.")
        self.kind: type[Chunk] = KINDS[name]
        self.there = asyncio.Event()
        """Whether what was there when the Task was opened has come."""
        self._grants = Grants(lambda count: grant(name, count))
        self.stream: FedStream[Any] = FedStream(
            self.kind, self._grants.taken, clock=clock, producer=self._producer, spill=spill
        )
        self._media = media
        self._inbox: asyncio.Queue[m.In | m.InEnd | m.InFail] = asyncio.Queue()
        self._numbers = 0
        self._check_there()

    def take(self, message: m.In | m.InEnd | m.InFail) -> None:
        """What has come. Raises ProtocolViolation if it may not."""
        if isinstance(message, m.In):
            if message.number != self._numbers:
                raise ProtocolViolation(f"{message.kind} {message.number} came out of order.")
            self._numbers += 1
            self._grants.arrived()
        self._inbox.put_nowait(message)

    async def run(self) -> None:
        """Put what comes into the stream, to its end."""
        while not self.stream.closed:
            message = await self._inbox.get()
            match message:
                case m.In():
                    data = message.payload
                    if message.media:
                        data = await self._media.get(message.media)
                    chunk = decode_chunk(message.kind, data)
                    await self.stream.put(chunk, self._origin(message.left_s, message.number))
                    if message.last_s is not None:
                        self.stream.end(self._origin(message.last_s, m.END))
                case m.InEnd():
                    self.stream.end(self._origin(message.left_s, m.END))
                case m.InFail():
                    self.stream.fail(error_of(message.code, message.message, self._producer))
            self._check_there()

    def _origin(self, left_s: float, number: int) -> FedOrigin:
        return FedOrigin(
            producer=self._producer, emitted_s=left_s, kind=self.kind.kind, number=number
        )

    def _check_there(self) -> None:
        if len(self.stream) >= self._backlog or self.stream.closed:
            self.there.set()
