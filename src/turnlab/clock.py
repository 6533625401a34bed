"""The one clock of a host: monotonic seconds, passed in so that tests need no sleep."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in monotonic seconds and waits for a moment of it."""

    def now(self) -> float:
        """Seconds on this host's monotonic clock."""
        ...

    async def sleep_until(self, moment_s: float) -> None:
        """Return at `moment_s` of this clock, at once if it has passed."""
        ...


class MonotonicClock:
    """The host's own monotonic clock."""

    now = staticmethod(time.monotonic)

    async def sleep_until(self, moment_s: float) -> None:
        """Return at `moment_s`; asyncio may be late by its timer's resolution, never early."""
        await asyncio.sleep(max(0.0, moment_s - self.now()))
