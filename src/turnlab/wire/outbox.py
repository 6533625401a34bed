"""What waits to be sent on one connection, so that nobody waits for the other end to read."""

from __future__ import annotations

import asyncio
from collections import deque

from turnlab.wire.messages import Message, write
from turnlab.wire.transports import Transport

FULL_BYTES = 2 * 2**20
"""From so many waiting bytes on, whoever sends Chunks waits."""

MOST_BYTES = 64 * 2**20
MOST_FRAMES = 20_000
"""Beyond these the other end is taken for one that no longer reads."""


class Outbox:
    """Frames in the order in which they were put, written by `run` as fast as they are taken."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._room.set()
        self._empty.set()

    @property
    def overfull(self) -> bool:
        """Whether the other end has stopped reading."""
        return self._bytes > MOST_BYTES or len(self._frames) > MOST_FRAMES

    def put(self, message: Message) -> None:
        """Send `message` when its turn comes. Raises ValueError if it cannot be sent."""
        frame = write(message)
        self._frames.append(frame)
        self._bytes += len(frame)
        if self._bytes > FULL_BYTES:
            self._room.clear()
        self._empty.clear()
        self._news.set()

    async def room(self) -> None:
        """Wait until less than `FULL_BYTES` wait; for whoever sends much."""
        while self._bytes > FULL_BYTES:
            await self._room.wait()

    async def flushed(self) -> None:
        """Wait until nothing waits any more."""
        await self._empty.wait()

    async def run(self) -> None:
        """Write until the connection ends. Raises Disconnected."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                await self._transport.send(frame)
                self._bytes -= len(frame)
                if self._bytes <= FULL_BYTES:
                    self._room.set()
            self._empty.set()
            self._news.clear()
            await self._news.wait()
