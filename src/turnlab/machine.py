"""The threads of one process, and who among the working Tasks goes first on few cores."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

from turnlab.clock import Clock, MonotonicClock
from turnlab.profiles import LatencyProfile, SpanKind

P = ParamSpec("P")
T = TypeVar("T")

BACKGROUND = 0
"""The urgency of work ahead of need, such as filling a cache."""

GRACE_S = 5.0
"""How long a cancelled Task waits for a thread that was told to stop."""

_END = object()


def share_cores() -> None:
    """Have OpenMP threads sleep while they wait, unless the environment says otherwise.

    By default they spin, which keeps the other stages off their cores: on two busy cores a
    reply was measured to take 50 times as long. It counts only before llama.cpp is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


class Machine:
    """Runs blocking calls in threads and tells who must let a more urgent Task go first.

    A Task that is inside a blocking call counts as working, at the urgency that it had when
    it began. A Task that can pause asks `must_pause` between its Chunks, stops while the
    answer is yes, and awaits `turn`. With `yielding=False` nobody ever pauses.
    """

    def __init__(
        self, *, clock: Clock | None = None, threads: int = 32, yielding: bool = True
    ) -> None:
        share_cores()
        self.clock = clock or MonotonicClock()
        self._yielding = yielding
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="turnlab")
        self._working: Counter[int] = Counter()
        self._highest = -1
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def must_pause(self, urgency: int) -> bool:
        """Whether somebody more urgent is at work; callable from any thread."""
        return self._yielding and self._highest > urgency

    async def turn(self, urgency: int) -> None:
        """Wait until nobody more urgent is at work."""
        while self.must_pause(urgency):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((urgency, future))
            await future

    async def call(
        self,
        latency: LatencyProfile,
        stop: threading.Event,
        urgency: int,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`function(*args)` in a thread. Cancelling sets `stop` and waits for the thread.

        The time until the thread begins is noted as `queue`, the rest is the caller's to name.
        """
        loop = asyncio.get_running_loop()
        asked_s = self.clock.now()

        def work() -> T:
            latency.add(SpanKind.QUEUE, "thread", asked_s, self.clock.now())
            return function(*args, **kwargs)

        with self._at_work(urgency):
            future = loop.run_in_executor(self._threads, work)
            return await _joined(future, stop)

    async def stream(
        self,
        latency: LatencyProfile,
        stop: threading.Event,
        urgency: int,
        function: Callable[[Callable[[T], None]], object],
    ) -> AsyncIterator[T]:
        """What `function(emit)` emits from its thread, as it comes; ends when it returns.

        Leaving the iteration early sets `stop`, which `function` must poll, and waits for it.
        """
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Any] = asyncio.Queue()

        def emit(item: Any) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        def work() -> None:
            try:
                function(emit)
            finally:
                emit(_END)

        call = asyncio.ensure_future(self.call(latency, stop, urgency, work))
        try:
            while (item := await items.get()) is not _END:
                yield item
            await call
        finally:
            if not call.done():
                stop.set()
                await _joined(call, stop)

    def close(self) -> None:
        """Let the threads end once their calls have."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _at_work(self, urgency: int) -> Iterator[None]:
        self._working[urgency] += 1
        self._highest = max(self._highest, urgency)
        try:
            yield
        finally:
            self._working[urgency] -= 1
            self._highest = max((u for u, n in self._working.items() if n), default=-1)
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for urgency, future in waiting:
            if self.must_pause(urgency):
                self._waiting.append((urgency, future))
            elif not future.done():
                future.set_result(None)


async def _joined(future: asyncio.Future[T], stop: threading.Event) -> T:
    """The future's result; when cancelled, tell its thread to stop and wait until it has."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future], timeout=GRACE_S)
        if future.done() and not future.cancelled():
            future.exception()
        raise
