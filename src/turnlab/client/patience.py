"""Waiting for a server that is away, busy or asks to come back later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from turnlab.client.saying import Say
from turnlab.clock import Clock, MonotonicClock
from turnlab.errors import TurnlabError

T = TypeVar("T")

FIRST_S = 0.5
MOST_S = 30.0
"""Between two tries: 0.5 s, then twice as long each time, up to 30 s."""

LONGEST_WISH_S = 300.0
"""The longest wait that a server's Retry-After is granted."""

DOUBTFUL_TRIES = 5
"""Of a request that the server fails on in a way that it does not name."""


class Later(Exception):
    """The server did not do it; the same request may succeed when it is made again."""

    def __init__(
        self, error: TurnlabError, after_s: float | None = None, *, doubtful: bool = False
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s
        """What the server asked for by Retry-After, in seconds."""
        self.doubtful = doubtful
        """Whether the request itself may be what the server fails on."""


class Patience:
    """Makes requests again until they are answered for good; tells once that the server is away."""

    def __init__(self, say: Say, clock: Clock | None = None) -> None:
        self._say = say
        self._clock = clock or MonotonicClock()
        self._away = False

    async def persist(self, request: Callable[[], Awaitable[T]]) -> T:
        """The answer to `request`, however long it takes. Raises what is not to be tried again."""
        tries = 0
        while True:
            try:
                answer = await request()
            except Later as later:
                tries += 1
                if later.doubtful and tries >= DOUBTFUL_TRIES:
                    raise later.error from later
                await self.pause(later, tries)
            else:
                self._back()
                return answer

    async def pause(self, later: Later, tries: int) -> None:
        """Wait until try `tries` + 1 is due."""
        if not self._away:
            self._away = True
            error = later.error
            self._say.warn("waiting", f"{error.message} Trying again.", code=error.code)
        await self._clock.sleep_until(self._clock.now() + pause_s(later, tries))

    def _back(self) -> None:
        if self._away:
            self._away = False
            self._say("reached", "the server answers again")


def pause_s(later: Later, tries: int) -> float:
    """Seconds until the next try: what the server asked for, else longer each time.

    A fifth is left to chance, so that many clients do not come back at one moment.
    """
    if later.after_s is not None:
        return min(later.after_s, LONGEST_WISH_S) + random.uniform(0, 0.2)
    return min(FIRST_S * 2.0 ** min(tries - 1, 10), MOST_S) * random.uniform(0.8, 1.0)


async def at_once(request: Awaitable[T]) -> T:
    """The answer to `request`, or the error that it did not succeed with."""
    try:
        return await request
    except Later as later:
        raise later.error from later


async def first_of(work: asyncio.Future[T], stop: asyncio.Event) -> T | None:
    """The result of `work`, or None once `stop` is set.

    `work` has ended when this returns: it is cancelled where it has not.
    """
    stopping = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {work, stopping}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return None if stop.is_set() else work.result()
    finally:
        stopping.cancel()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
