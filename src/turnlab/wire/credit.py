"""Credit: how many Chunks of a stream may still be sent, and when to grant more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from turnlab.errors import ProtocolViolation
from turnlab.wire.messages import WINDOW


class Allowance:
    """What the reader of a stream has allowed its sender."""

    def __init__(self, window: int = WINDOW) -> None:
        self._left = self._window = window
        self._change = asyncio.Event()

    def add(self, count: int) -> None:
        """The reader has taken so many. Raises ProtocolViolation if that many were not sent."""
        self._left += count
        if self._left > self._window:
            raise ProtocolViolation("Credit was given for Chunks that were never sent.")
        self._change.set()

    async def take(self) -> None:
        """Wait until one more may be sent, and count it."""
        while self._left <= 0:
            self._change.clear()
            await self._change.wait()
        self._left -= 1


class Grants:
    """The reader's side: tells the sender of what was read, a few Chunks at a time."""

    def __init__(self, grant: Callable[[int], None], window: int = WINDOW) -> None:
        self.window = window
        self._grant = grant
        self._read = 0
        self._arrived = 0
        self._granted = 0

    def arrived(self) -> None:
        """One has come. Raises ProtocolViolation if the sender had no credit for it."""
        self._arrived += 1
        if self._arrived > self._granted + self.window:
            raise ProtocolViolation(f"More than {self.window} Chunks were sent without credit.")

    def taken(self) -> None:
        """One was read."""
        self._read += 1
        if (more := self._read - self._granted) >= max(1, self.window // 4):
            self._granted += more
            self._grant(more)
