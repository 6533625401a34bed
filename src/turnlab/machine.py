"""The threads of one process, and who among the working Tasks goes first on few cores."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from turnlab.clock import Clock, MonotonicClock
from turnlab.profiles import LatencyProfile, SpanKind
from turnlab.threads import THREADS as THREADS
from turnlab.threads import share_cores as share_cores

P = ParamSpec("P")
T = TypeVar("T")

BACKGROUND = 0
"""The urgency of work ahead of need, such as filling a cache."""

GRACE_S = 5.0
"""How long a cancelled Task waits for a thread that was told to stop."""

HANDOVER_S = 0.03
"""How long an urgent call waits for those that can pause to leave the cores before it begins."""

_END = object()


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A blocking call at work; the Task that it belongs to is known by its `stop`."""

    stop: threading.Event
    urgency: int
    latency: LatencyProfile
    pausable: bool = False


class Machine:
    """Runs blocking calls in threads and tells who must let a more urgent Task go first.

    A Task that is inside a blocking call counts as working, at the urgency that it had when
    it began. A Task that can pause asks `must_pause` between its Chunks, stops while the
    answer is yes, and awaits `turn`; it never makes way for itself (`own` is its `stop`).
    The processor's time of this process is shared out among the Tasks at work, equally between
    those that are at work at once (`LatencyProfile.cpu_s`).
    The urgent call begins when those that can pause have left, or after `HANDOVER_S`. With
    `yielding=False` nobody ever pauses, and threads are as their libraries set them.
    """

    def __init__(
        self, *, clock: Clock | None = None, threads: int = 32, yielding: bool = True
    ) -> None:
        if yielding:
            share_cores()
        self.clock = clock or MonotonicClock()
        self.yielding = yielding
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=THREADS)
        # Replaced, never changed, so that any thread may look at it.
        self._calls: tuple[_Call, ...] = ()
        self._shared_until_s = 0.0
        self._jobs: dict[_Call, Future[Any]] = {}
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def working(self) -> int:
        """How many blocking calls are at work or wait for a thread."""
        return len(self._calls)

    def must_pause(self, urgency: int, own: threading.Event | None = None) -> bool:
        """Whether somebody more urgent is at work; callable from any thread."""
        return self.yielding and any(
            call.urgency > urgency and call.stop is not own for call in self._calls
        )

    async def turn(self, urgency: int, own: threading.Event | None = None) -> None:
        """Wait until nobody more urgent is at work."""
        while self.must_pause(urgency, own):
            await self._change()

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
        return await self._call(
            latency, _Call(stop, urgency, latency), partial(function, *args, **kwargs)
        )

    async def _call(self, latency: LatencyProfile, call: _Call, function: Callable[[], T]) -> T:
        asked_s = self.clock.now()

        def work() -> T:
            latency.add(SpanKind.QUEUE, "thread", asked_s, self.clock.now())
            try:
                return function()
            except StopIteration as error:
                # A future cannot carry it.
                raise RuntimeError(f"the call raised {error!r}") from error

        with self._at_work(call):
            await self._handover(call)
            job = self._jobs[call] = self._threads.submit(work)
            return await _joined(job, call.stop)

    async def _handover(self, call: _Call) -> None:
        """Wait a moment for less urgent calls that can pause to do so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER_S):
                while self.yielding and any(
                    other.pausable and other.urgency < call.urgency for other in self._calls
                ):
                    await self._change()

    def _change(self) -> asyncio.Future[None]:
        """Done when a call has left."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    async def stream(
        self,
        latency: LatencyProfile,
        stop: threading.Event,
        urgency: int,
        function: Callable[[Callable[[T], None]], object],
        *,
        pausable: bool = False,
    ) -> AsyncGenerator[T, None]:
        """What `function(emit)` emits from its thread, as it comes; ends when it returns.

        `pausable` says that `function` asks `must_pause` and returns where it must. Leaving
        the iteration early sets `stop`, which `function` must poll, and waits for it.
        """
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Any] = asyncio.Queue()

        def emit(item: Any) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        at_work = _Call(stop, urgency, latency, pausable)
        call = asyncio.ensure_future(self._call(latency, at_work, partial(function, emit)))
        call.add_done_callback(lambda _: items.put_nowait(_END))
        try:
            while (item := await items.get()) is not _END:
                yield item
            await call
        finally:
            if not call.done():
                call.cancel()
                await asyncio.wait([call])

    async def stopped(self, stop: threading.Event) -> None:
        """Tell the calls of one Task to stop and wait until they have, at most `GRACE_S`."""
        stop.set()
        jobs = [asyncio.wrap_future(job) for call, job in self._jobs.items() if call.stop is stop]
        if jobs:
            await asyncio.wait(jobs, timeout=GRACE_S)

    def close(self) -> None:
        """Let the threads end once their calls have."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _at_work(self, call: _Call) -> Iterator[None]:
        self._share_time()
        self._calls = (*self._calls, call)
        try:
            yield
        finally:
            self._share_time()
            self._calls = tuple(each for each in self._calls if each is not call)
            self._jobs.pop(call, None)
            self._wake()

    def _share_time(self) -> None:
        """Share out the processor's time since the last change among those at work."""
        now_s = time.process_time()
        for call in self._calls:
            share_s = (now_s - self._shared_until_s) / len(self._calls)
            call.latency.cpu_s = (call.latency.cpu_s or 0.0) + share_s
        self._shared_until_s = now_s

    def _wake(self) -> None:
        """Let everybody who waits look again."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


async def _joined(job: Future[T], stop: threading.Event) -> T:
    """The job's result; when cancelled, tell its thread to stop and wait until it has."""
    future = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        job.cancel()  # does something only while the job waits for a thread
        await asyncio.wait([future], timeout=GRACE_S)
        if future.done() and not future.cancelled():
            future.exception()
        raise
