"""The Hub: hands Tasks to the Workers that are there, each to one at a time.

All of it happens on one event loop, so no two Workers can get the same Task. What waits goes in
the order of its priority; between Tracks of one priority the one that has the fewest Tasks under
way is next, so that a Track with many Tasks does not starve the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

from turnlab.chunks import Chunk
from turnlab.clock import Clock, MonotonicClock
from turnlab.clusters.plan import Plan
from turnlab.errors import NoWorker, Saturated, WorkerLost
from turnlab.work import EMBEDDED, Work

WEBSOCKET, HTTP, NODE = "websocket", "http", "node"

ATTEMPTS = 2
"""A Task that had emitted nothing when its Worker was lost is given to another one, once."""

_PREFERRED = (WEBSOCKET, HTTP, NODE, EMBEDDED)
"""Somebody started a Worker for a reason; the embedded one takes what is left."""

_LOOKS = 4
"""How often, in the patience of the Hub, a Task that waits looks whether anybody serves it."""


class Link(Protocol):
    """A Worker as the API end sees it."""

    @property
    def id(self) -> str:
        """The id that Tasks are recorded with."""
        ...

    @property
    def transport(self) -> str:
        """`websocket`, `http`, `node` (the Workers of another API process) or `embedded`."""
        ...

    @property
    def draining(self) -> bool:
        """Whether it takes no more Tasks."""
        ...

    @property
    def room(self) -> int:
        """How many more Tasks it takes now, of whatever name."""
        ...

    def places(self, task_name: str) -> int:
        """How many Tasks of this name it runs at once; 0 if it does not serve them."""
        ...

    def perform(self, work: Work, attempt: int) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes. Raises WorkerLost when the Worker is gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How busy the Workers for one task are: places there are, Tasks at work, Tasks waiting."""

    places: int
    running: int
    waiting: int

    @property
    def free(self) -> int:
        """Places that nobody has and nobody waits for."""
        return self.places - self.running - self.waiting


@dataclass(slots=True, eq=False)
class _Seat:
    """A Worker's connection, from when it joined: a Worker that joins anew has a new one."""

    link: Link
    running: Counter[str] = field(default_factory=Counter)
    """Its Tasks by task_name."""
    handed: int = 0
    """Those it was given and has not begun with, so that its room does not tell of them."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """A Task that waits for a Worker."""

    work: Work
    since_s: float
    without: Collection[_Seat]
    """Connections of Workers that it must not go to: it was lost with them."""
    own: OwnWorkers | None
    """Given where only Workers of this process may take it."""
    seat: asyncio.Future[_Seat] = field(default_factory=lambda: _future())


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


class Hub:
    """An Executor whose Tasks run on whichever Worker is there.

    A Task waits at most `patience_s` for a Worker while none serves it, then fails with NoWorker,
    and at most `longest_wait_s` while all that serve it are busy, then fails with Saturated.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        patience_s: float = 30.0,
        longest_wait_s: float = 600.0,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._patience_s = patience_s
        self._longest_wait_s = longest_wait_s
        self._seats: dict[str, _Seat] = {}
        """By the Worker's id."""
        self._tracks: Counter[str] = Counter()
        """Tasks at work by Track."""
        self._waiting: list[_Waiting] = []
        self._watchers: list[Callable[[], None]] = []
        self._task_watchers: list[Callable[[], None]] = []

    @property
    def clock(self) -> Clock:
        """The clock that all moments are on."""
        return self._clock

    @property
    def links(self) -> tuple[Link, ...]:
        """The Workers that are there."""
        return tuple(seat.link for seat in self._seats.values())

    @property
    def waiting(self) -> list[tuple[str, float]]:
        """The task_name of each Task that waits for a Worker, and since when in seconds."""
        now_s = self._clock.now()
        return [(each.work.step.module.task_name, now_s - each.since_s) for each in self._waiting]

    def watch(self, watcher: Callable[[], None], *, tasks: bool = False) -> None:
        """Have `watcher` called whenever Workers come, go or change what they serve.

        With `tasks` also when one gets a Task or has ended one, which is often.
        """
        self._watchers.append(watcher)
        if tasks:
            self._task_watchers.append(watcher)

    def join(self, link: Link) -> None:
        """A Worker is there; one of the same id is replaced."""
        seat = self._seats.get(link.id)
        if seat is None or seat.link is not link:
            self._seats[link.id] = _Seat(link)
        self.changed()

    def leave(self, link: Link) -> None:
        """A Worker is gone; what it runs raises WorkerLost by itself."""
        if self._seat_of(link) is not None:
            del self._seats[link.id]
            self.changed()

    def changed(self) -> None:
        """What the Workers serve or have room for is not as it was."""
        self._hand_out()
        for watcher in self._watchers:
            watcher()

    def room(self, task_name: str) -> Room:
        """How busy the Workers for `task_name` are."""
        seats = self._seats.values()
        waiting = sum(each.work.step.module.task_name == task_name for each in self._waiting)
        running = sum(seat.running[task_name] for seat in seats)
        places = sum(seat.link.places(task_name) for seat in seats if not seat.link.draining)
        return Room(places=places, running=running, waiting=waiting)

    def running_on(self, link: Link, task_name: str = "") -> int:
        """How many Tasks the Worker has, of all names or of one."""
        seat = self._seat_of(link)
        if seat is None:
            return 0
        return seat.running[task_name] if task_name else seat.running.total()

    async def prepare(self, plan: Plan) -> None:
        """Nothing: Workers load what they serve when they start or when it is first needed."""

    async def perform(self, work: Work, *, own: OwnWorkers | None = None) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes, from the first Worker that has a place for it.

        Raises NoWorker, Saturated, WorkerLost, and what the Module raises.
        """
        lost: list[_Seat] = []
        while True:
            seat = await self._assigned(work, lost, own)
            emitted = False
            try:
                run = cast(Any, seat.link.perform(self._placed(work, seat.link), len(lost) + 1))
                seat.handed -= 1  # from here on it counts by itself: nobody is in between
                async with aclosing(run) as chunks:
                    async for chunk in chunks:
                        emitted = True
                        yield chunk
                return
            except WorkerLost:
                lost.append(seat)
                if emitted or len(lost) >= ATTEMPTS:
                    raise
                work.again()
            finally:
                self._release(seat, work, own)

    def own(self) -> OwnWorkers:
        """The same Hub for Tasks that come from another API process: they go to none further."""
        return OwnWorkers(self)

    def _seat_of(self, link: Link) -> _Seat | None:
        seat = self._seats.get(link.id)
        return seat if seat is not None and seat.link is link else None

    async def _assigned(self, work: Work, lost: Collection[_Seat], own: OwnWorkers | None) -> _Seat:
        while True:
            seat = self._find(work.step.module.task_name, lost, own)
            if seat is None:
                seat = await self._awaited(work, lost, own)
            else:
                self._take(seat, work, own)
            if self._seats.get(seat.link.id) is seat:
                return seat
            # It left after the Task was handed out and before anybody could begin with it.
            self._hand_back(seat, work, own)

    def _placed(self, work: Work, link: Link) -> Work:
        """The Work for `link`; its time counts from now, or from when a Module begins elsewhere.

        Another process may let it wait, which is no more part of its time there than here.
        """
        if link.transport == NODE:
            return self._relayed(work)
        if not work.placed.is_set():
            work.placed_s = self._clock.now()
            work.placed.set()
        return work

    def _relayed(self, work: Work) -> Work:
        work.placed.clear()

        def claim(worker_id: str = EMBEDDED, attempt: int = 1, at_s: float | None = None) -> None:
            work.placed_s = self._clock.now() if at_s is None else at_s
            work.placed.set()
            work.claim(worker_id, attempt, at_s)

        return replace(work, claim=claim)

    async def _awaited(self, work: Work, lost: Collection[_Seat], own: OwnWorkers | None) -> _Seat:
        """Wait in line. Whoever hands a Task out has taken the place for it."""
        waiting = _Waiting(work=work, since_s=self._clock.now(), without=lost, own=own)
        self._waiting.append(waiting)
        work.placed.clear()
        for stream in work.inputs.streams.values():
            # Its producer must not wait for a Task that waits for the producer's own place.
            stream.release()
        try:
            return await self._in_time(waiting)
        except BaseException:
            if waiting.seat.done():  # handed out in the same moment
                self._hand_back(waiting.seat.result(), work, own)
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            for stream in work.inputs.streams.values():
                stream.engage()

    async def _in_time(self, waiting: _Waiting) -> _Seat:
        """The Worker that it gets. Looks now and then whether there is still one to wait for."""
        name = waiting.work.step.module.task_name
        now_s = served_s = asyncio.get_running_loop().time()
        end_s = now_s + max(self._patience_s, self._longest_wait_s)
        while not waiting.seat.done():
            step_s = min(self._patience_s / _LOOKS, end_s - now_s)
            await asyncio.wait([waiting.seat], timeout=step_s)
            now_s = asyncio.get_running_loop().time()
            if waiting.seat.done():
                break
            if any(True for _ in self._serving(name, waiting.without, waiting.own)):
                served_s = now_s
            elif now_s >= min(served_s + self._patience_s, end_s):
                raise self._nobody(name, waiting.without)
            if now_s >= end_s:
                raise Saturated(
                    f"The workers for {name} had no place for {self._longest_wait_s:g} s; "
                    "start more."
                )
        return waiting.seat.result()

    def _nobody(self, name: str, lost: Collection[_Seat]) -> NoWorker | WorkerLost:
        if lost:
            return WorkerLost(
                f"The worker that ran {name} was lost and no other serves it; start another, "
                "then run the Track again."
            )
        return NoWorker(
            f"No worker serves {name}; start one: turnlab worker --tasks {name} --api URL."
        )

    def _serving(
        self, name: str, without: Collection[_Seat], own: OwnWorkers | None
    ) -> Iterable[_Seat]:
        return (
            seat
            for seat in self._seats.values()
            if seat not in without
            and not (own and seat.link.transport in (NODE, EMBEDDED))
            and not seat.link.draining
            and seat.link.places(name)
        )

    def _find(self, name: str, without: Collection[_Seat], own: OwnWorkers | None) -> _Seat | None:
        """The Worker for a Task of this name: of the preferred sort, with the most room."""
        able = [
            seat
            for seat in self._serving(name, without, own)
            if seat.link.room > seat.handed and seat.link.places(name) > seat.running[name]
        ]
        return min(able, key=_preference, default=None)

    def _take(self, seat: _Seat, work: Work, own: OwnWorkers | None) -> None:
        name = work.step.module.task_name
        seat.handed += 1
        seat.running[name] += 1
        self._tracks[work.track_id] += 1
        if own is not None:
            own.running[name] += 1
        for watcher in self._task_watchers:
            watcher()

    def _hand_back(self, seat: _Seat, work: Work, own: OwnWorkers | None) -> None:
        """Nobody begins with what was handed out."""
        seat.handed -= 1
        self._release(seat, work, own)

    def _release(self, seat: _Seat, work: Work, own: OwnWorkers | None) -> None:
        name = work.step.module.task_name
        seat.running[name] -= 1
        self._tracks[work.track_id] -= 1
        if not self._tracks[work.track_id]:
            del self._tracks[work.track_id]
        if own is not None:
            own.running[name] -= 1
        self._hand_out()
        for watcher in self._task_watchers:
            watcher()

    def _hand_out(self) -> None:
        """Give what waits to whoever has a place for it."""
        if not self._waiting:
            return
        full: set[tuple[str, bool]] = set()
        # Sorted anew after each: what was handed out changes whose turn it is.
        queue = sorted(self._waiting, key=self._order)
        while queue:
            each = queue.pop(0)
            name = each.work.step.module.task_name
            if (name, each.own is None) in full:
                continue
            seat = None if each.seat.done() else self._find(name, each.without, each.own)
            if seat is None:
                if not each.without:
                    full.add((name, each.own is None))
                continue
            self._take(seat, each.work, each.own)
            self._waiting.remove(each)
            each.seat.set_result(seat)
            queue.sort(key=self._order)

    def _order(self, each: _Waiting) -> tuple[int, int, float]:
        return each.work.priority, self._tracks[each.work.track_id], each.since_s


class OwnWorkers:
    """An Executor on the Workers that are connected to this process, for Tasks of another one."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.running: Counter[str] = Counter()
        """Its Tasks that a Worker has, by task_name."""

    @property
    def clock(self) -> Clock:
        """The clock that all moments are on."""
        return self._hub.clock

    async def prepare(self, plan: Plan) -> None:
        """Nothing."""

    def perform(self, work: Work) -> AsyncIterator[Chunk]:
        """As the Hub does."""
        return self._hub.perform(work, own=self)


def _preference(seat: _Seat) -> tuple[int, int]:
    return _PREFERRED.index(seat.link.transport), -seat.link.room
