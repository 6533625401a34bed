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
from dataclasses import dataclass, field
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


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """A Task that waits for a Worker."""

    work: Work
    since_s: float
    without: Collection[Link]
    """Connections of Workers that it must not go to: it was lost with them."""
    own: bool
    """Whether only Workers of this process may take it."""
    link: asyncio.Future[Link] = field(default_factory=lambda: _future())


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
        self._links: dict[str, Link] = {}
        self._running: Counter[tuple[str, str]] = Counter()
        """By Worker and task_name."""
        self._handed: Counter[str] = Counter()
        """Tasks by Worker that it was given and has not begun with, so that it does not count."""
        self._tracks: Counter[str] = Counter()
        """Tasks at work by Track."""
        self._waiting: list[_Waiting] = []
        self._watchers: list[Callable[[], None]] = []

    @property
    def clock(self) -> Clock:
        """The clock that all moments are on."""
        return self._clock

    @property
    def links(self) -> tuple[Link, ...]:
        """The Workers that are there."""
        return tuple(self._links.values())

    @property
    def waiting(self) -> list[tuple[str, float]]:
        """The task_name of each Task that waits for a Worker, and since when in seconds."""
        now_s = self._clock.now()
        return [(each.work.step.module.task_name, now_s - each.since_s) for each in self._waiting]

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called whenever Workers come, go or change what they serve."""
        self._watchers.append(watcher)

    def join(self, link: Link) -> None:
        """A Worker is there; one of the same id is replaced."""
        self._links[link.id] = link
        self.changed()

    def leave(self, link: Link) -> None:
        """A Worker is gone; what it runs raises WorkerLost by itself."""
        if self._links.get(link.id) is link:
            del self._links[link.id]
            del self._handed[link.id]
            self.changed()

    def changed(self) -> None:
        """What the Workers serve or have room for is not as it was."""
        self._hand_out()
        for watcher in self._watchers:
            watcher()

    def room(self, task_name: str) -> Room:
        """How busy the Workers for `task_name` are."""
        links = [each for each in self._links.values() if not each.draining]
        waiting = sum(each.work.step.module.task_name == task_name for each in self._waiting)
        running = sum(n for (_, name), n in self._running.items() if name == task_name)
        places = sum(each.places(task_name) for each in links)
        return Room(places=places, running=running, waiting=waiting)

    def running_on(self, link: Link) -> int:
        """How many Tasks the Worker has."""
        return sum(n for (link_id, _), n in self._running.items() if link_id == link.id)

    async def prepare(self, plan: Plan) -> None:
        """Nothing: Workers load what they serve when they start or when it is first needed."""

    async def perform(self, work: Work, *, own: bool = False) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes, from the first Worker that has a place for it.

        Raises NoWorker, Saturated, WorkerLost, and what the Module raises.
        """
        lost: list[Link] = []
        while True:
            link = await self._assigned(work, lost, own)
            emitted = False
            try:
                run = cast(Any, link.perform(work, len(lost) + 1))
                self._handed[link.id] -= 1  # from here on it counts by itself: nobody is in between
                async with aclosing(run) as chunks:
                    async for chunk in chunks:
                        emitted = True
                        yield chunk
                return
            except WorkerLost:
                lost.append(link)
                if emitted or len(lost) >= ATTEMPTS:
                    raise
                work.again()
            finally:
                self._release(link, work)

    def own(self) -> OwnWorkers:
        """The same Hub for Tasks that come from another API process: they go to none further."""
        return OwnWorkers(self)

    async def _assigned(self, work: Work, lost: Collection[Link], own: bool) -> Link:
        link = self._find(work.step.module.task_name, lost, own)
        if link is None:
            link = await self._awaited(work, lost, own)
        else:
            self._take(link, work)
        return link

    async def _awaited(self, work: Work, lost: Collection[Link], own: bool) -> Link:
        """Wait in line. Whoever hands a Task out has taken the place for it."""
        waiting = _Waiting(work=work, since_s=self._clock.now(), without=lost, own=own)
        self._waiting.append(waiting)
        work.placed.clear()
        for stream in work.inputs.streams.values():
            # Its producer must not wait for a Task that waits for the producer's own place.
            stream.release()
        try:
            link = await self._in_time(waiting)
        except BaseException:
            if waiting.link.done() and not waiting.link.cancelled():
                self._handed[waiting.link.result().id] -= 1
                self._release(waiting.link.result(), work)  # handed out in the same moment
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            for stream in work.inputs.streams.values():
                stream.engage()
            work.placed_s = self._clock.now()
            work.placed.set()
        return link

    async def _in_time(self, waiting: _Waiting) -> Link:
        name = waiting.work.step.module.task_name
        try:
            return await asyncio.wait_for(asyncio.shield(waiting.link), self._patience_s)
        except TimeoutError:
            if not any(True for _ in self._serving(name, waiting.without, waiting.own)):
                raise self._nobody(name, waiting.without) from None
        left_s = max(0.0, self._longest_wait_s - self._patience_s)
        try:
            return await asyncio.wait_for(waiting.link, left_s)
        except TimeoutError:
            raise Saturated(
                f"The workers for {name} had no place for {self._longest_wait_s:g} s; start more."
            ) from None

    def _nobody(self, name: str, lost: Collection[Link]) -> NoWorker | WorkerLost:
        if lost:
            return WorkerLost(
                f"The worker that ran {name} was lost and no other serves it; start another, "
                "then run the Track again."
            )
        return NoWorker(
            f"No worker serves {name}; start one: turnlab worker --tasks {name} --api URL."
        )

    def _serving(self, name: str, without: Collection[Link], own: bool) -> Iterable[Link]:
        return (
            link
            for link in self._links.values()
            if link not in without
            and not (own and link.transport in (NODE, EMBEDDED))
            and not link.draining
            and link.places(name)
        )

    def _find(self, name: str, without: Collection[Link], own: bool) -> Link | None:
        """The Worker for a Task of this name: of the preferred sort, with the most room."""
        able = [
            link
            for link in self._serving(name, without, own)
            if link.room > self._handed[link.id]
            and link.places(name) > self._running[link.id, name]
        ]
        return min(able, key=_preference, default=None)

    def _take(self, link: Link, work: Work) -> None:
        self._running[link.id, work.step.module.task_name] += 1
        self._handed[link.id] += 1
        self._tracks[work.track_id] += 1

    def _release(self, link: Link, work: Work) -> None:
        key = (link.id, work.step.module.task_name)
        for counter, name in ((self._running, key), (self._tracks, work.track_id)):
            cast(Counter[Any], counter)[name] -= 1
            if counter[cast(Any, name)] <= 0:
                del counter[cast(Any, name)]
        self._hand_out()

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
            if (name, each.own) in full:
                continue
            link = None if each.link.done() else self._find(name, each.without, each.own)
            if link is None:
                if not each.without:
                    full.add((name, each.own))
                continue
            self._take(link, each.work)
            self._waiting.remove(each)
            each.link.set_result(link)
            queue.sort(key=self._order)

    def _order(self, each: _Waiting) -> tuple[int, int, float]:
        return each.work.priority, self._tracks[each.work.track_id], each.since_s


class OwnWorkers:
    """An Executor on the Workers that are connected to this process, for Tasks of another one."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def clock(self) -> Clock:
        """The clock that all moments are on."""
        return self._hub.clock

    async def prepare(self, plan: Plan) -> None:
        """Nothing."""

    def perform(self, work: Work) -> AsyncIterator[Chunk]:
        """As the Hub does."""
        return self._hub.perform(work, own=True)


def _preference(link: Link) -> tuple[int, int]:
    return _PREFERRED.index(link.transport), -link.room
