"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_ROUNDS = 100
"""Rounds of the event loop within which everything that can go on without time has done so."""

_THREAD_S = 0.001
"""How long to let threads work when nobody on the event loop waits for a moment."""


class FakeClock:
    """Monotonic seconds that pass only in `advance` and `drive`."""

    def __init__(self, now_s: float = 100.0) -> None:
        self._now_s = now_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """The moment it stands at."""
        return self._now_s

    async def sleep_until(self, moment_s: float) -> None:
        """Return once the clock has been moved to `moment_s`."""
        if moment_s <= self._now_s:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (moment_s, next(self._numbers), future))
        await future

    def sleepers(self) -> int:
        """How many wait for a moment to come."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, and everybody who waits for a moment on the way go on at it."""
        until_s = self._now_s + seconds
        await settle()
        while (moment_s := self._next()) is not None and moment_s <= until_s:
            await self._go_to(moment_s)
        self._now_s = until_s
        await settle()

    async def drive(
        self, awaitable: Coroutine[Any, Any, T], busy: Callable[[], bool] = lambda: False
    ) -> T:
        """The result of `awaitable`; time jumps to the next moment when nothing else can go on.

        It stands still while `busy` says that threads are at work.
        """
        task = asyncio.ensure_future(awaitable)
        try:
            while not task.done():
                await settle()
                moment_s = None if busy() else self._next()
                if task.done():
                    break
                if moment_s is None:
                    await asyncio.wait([task], timeout=_THREAD_S)
                else:
                    await self._go_to(moment_s)
        finally:
            task.cancel()
        return await task

    def _next(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def _go_to(self, moment_s: float) -> None:
        self._now_s = moment_s
        while self._next() is not None and self._sleepers[0][0] <= moment_s:
            heapq.heappop(self._sleepers)[2].set_result(None)
        await settle()


async def settle() -> None:
    """Let everything on the event loop that can go on without time or threads do so."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
