"""A Worker that speaks plain HTTP, as the Hub sees it: it polls for Tasks and posts results.

It gets a Task once all of its input is there, and gives its result as a whole. The Hub hands it
no more than it has asked for: its room is its open polls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.errors import WorkerLost
from turnlab.executors.http_claims import Claim, Claims, Outcome, new_future
from turnlab.executors.http_handover import Given, Handover, as_json, hand_over, whole
from turnlab.executors.http_results import note_timings
from turnlab.executors.hub import HTTP
from turnlab.streams import Stream
from turnlab.work import Work


@dataclass(kw_only=True, eq=False)
class _Poll:
    """A request that waits for a Task."""

    answer: asyncio.Future[Given | None] = field(default_factory=new_future)


@dataclass(kw_only=True, eq=False)
class _Offer:
    """A Task that the Hub has given and the Worker has not got yet."""

    work: Work
    attempt: int
    ready: bool = False
    """Whether all of its input is there."""
    taken: asyncio.Future[_Poll] = field(default_factory=new_future)
    poll: _Poll | None = None
    """Where it goes to, once that is known."""


class HttpLink:
    """Serves `tasks` for a Worker that polls.

    `changed` tells the Hub that there is more or less room, `left` that the Worker is gone: when
    nothing was heard of it for two waits and a lease. `whose` is by whose token it asks.
    """

    transport = HTTP

    def __init__(
        self,
        *,
        id: str,
        name: str,
        tasks: Iterable[str],
        concurrency: int,
        lease_s: float,
        clock: Clock,
        handover: Handover,
        node_id: str,
        whose: str,
        changed: Callable[[], None],
        left: Callable[[HttpLink], None],
    ) -> None:
        self.id = id
        self.name = name
        self.tasks = frozenset(tasks)
        self.concurrency = concurrency
        self.node = ""
        self.whose = whose
        self.draining = False
        self._claims = Claims(clock, node_id, lease_s)
        self._clock = clock
        self._handover = handover
        self._changed = changed
        self._left = left
        self._polls: list[_Poll] = []
        self._offers: list[_Offer] = []
        self._longest_wait_s = 0.0
        self._seen_s = clock.now()
        self._watch = asyncio.create_task(self._watched())

    @property
    def lease_s(self) -> float:
        """How long the Worker may be silent while it has a Task."""
        return self._claims.lease_s

    @property
    def room(self) -> int:
        """Open polls that nothing is on its way to."""
        coming = sum(not offer.taken.done() for offer in self._offers)
        return max(0, min(self.concurrency - self.running, len(self._polls) - coming))

    @property
    def running(self) -> int:
        """How many Tasks the Worker has or is about to get."""
        return len(self._claims) + len(self._offers)

    def places(self, task_name: str) -> int:
        """As many as the Worker said that it runs at once."""
        return self.concurrency if task_name in self.tasks else 0

    async def poll(self, wait_s: float) -> Given | None:
        """A Task for the Worker, None if none came within `wait_s`."""
        self._longest_wait_s = max(self._longest_wait_s, wait_s)
        self._seen_s = self._clock.now()
        poll = _Poll()
        self._polls.append(poll)
        self._match()
        self._changed()
        timer = asyncio.create_task(self._end(poll, self._clock.now() + wait_s))
        try:
            return await poll.answer
        finally:
            timer.cancel()
            with suppress(ValueError):
                self._polls.remove(poll)
            self._seen_s = self._clock.now()

    def heartbeat(self, task_id: str, claim: str) -> str:
        """Begin the Task's lease anew; its end in ISO 8601. Raises ClaimLost."""
        lease_until = self._claims.extend(task_id, claim)
        self._seen_s = self._clock.now()
        return lease_until

    def knows(self, task_id: str, claim: str) -> bool:
        """Whether the Worker has, or had, the Task by this claim."""
        return self._claims.knows(task_id, claim)

    def claimed(self, task_id: str, claim: str) -> Claim | None:
        """The claim, None if its result was taken already. Raises ClaimLost."""
        return self._claims.find(task_id, claim)

    def complete(self, task_id: str, claim: str, outcome: Outcome) -> bool:
        """Take the result; False if one was taken before. Raises ClaimLost."""
        taken = self._claims.complete(task_id, claim, outcome)
        self._seen_s = self._clock.now()
        return taken

    def close(self) -> None:
        """The Worker is gone: its polls end without a Task, what it has is lost."""
        self.draining = True
        self._watch.cancel()
        for poll in self._polls:
            if not poll.answer.done():
                poll.answer.set_result(None)
        for offer in self._offers:
            if not offer.taken.done():
                offer.taken.set_exception(self._lost("has gone"))
        self._claims.lose(self._lost("has gone"))
        self._left(self)

    async def perform(self, work: Work, attempt: int) -> AsyncIterator[Chunk]:
        """The one Chunk that the Task makes. Raises WorkerLost, and what the Worker reports."""
        self._check()
        offer = _Offer(work=work, attempt=attempt)
        self._offers.append(offer)  # at once, so that the Hub sees the place as taken
        names: list[str] = []
        try:
            inputs = await whole(work.inputs.streams)
            offer.ready = True
            claim = await self._fetched(offer, inputs, names)
            outcome = await self._claims.outcome(claim, self._silent())
        finally:
            self._release(offer)
            await self._handover.drop(names)
        now_s = self._clock.now()
        note_timings(work.latency, outcome.timings, (claim.began_s, now_s), time.time() - now_s)
        work.result.update(outcome.result)
        if outcome.error is not None:
            raise outcome.error
        if outcome.chunk is not None:
            yield outcome.chunk

    async def _fetched(self, offer: _Offer, inputs: list[Stream[Any]], names: list[str]) -> Claim:
        """Give the Task to a poll; to the next one if nobody waits for its answer any more."""
        work = offer.work
        given: Given | None = None
        while True:
            self._match()
            poll = await self._taken(offer)
            asked_s = self._clock.now()
            work.claim(worker_id=self.id, attempt=offer.attempt, at_s=asked_s)
            if given is None:
                given = await hand_over(inputs, self._handover, names)
                self._check()
            if not poll.answer.done():
                break
            offer.taken = new_future()
        claim = self._claims.add(work)
        self._offers.remove(offer)
        _note(work, inputs, asked_s, claim.began_s)
        lease = {"lease_s": self.lease_s, "lease_until": self._claims.lease_until(claim)}
        task = as_json(work) | {"claim": claim.text, "attempt": offer.attempt, "inputs": given}
        poll.answer.set_result(task | lease)
        return claim

    def _release(self, offer: _Offer) -> None:
        """The place is free again."""
        with suppress(ValueError):
            self._offers.remove(offer)
        self._claims.drop(offer.work)
        if (poll := offer.poll) is not None and not poll.answer.done():
            poll.answer.set_result(None)  # it was to get the Task; its Worker asks again
        self._changed()

    async def _taken(self, offer: _Offer) -> _Poll:
        """The poll that the Task goes to. Raises WorkerLost."""
        self._check()  # nobody answers what is offered after the end
        offer.poll = await offer.taken
        return offer.poll

    def _check(self) -> None:
        """Raise WorkerLost if the Worker has gone."""
        if self.draining:
            raise self._lost("has gone")

    def _match(self) -> None:
        """Give the Tasks whose input is there to the polls, the oldest first."""
        for offer in self._offers:
            if self._polls and offer.ready and not offer.taken.done():
                offer.taken.set_result(self._polls.pop(0))

    async def _end(self, poll: _Poll, at_s: float) -> None:
        """End the poll without a Task, unless one is on its way to it."""
        await self._clock.sleep_until(at_s)
        if poll in self._polls and not poll.answer.done():
            poll.answer.set_result(None)

    async def _watched(self) -> None:
        """Leave once nothing is heard of the Worker any more."""
        while self._polls or len(self._claims) or self._clock.now() < self._silent_until_s:
            later_s = self._clock.now() + self.lease_s
            await self._clock.sleep_until(max(self._silent_until_s, later_s))
        self.close()

    @property
    def _silent_until_s(self) -> float:
        return self._seen_s + 2 * self._longest_wait_s + self.lease_s

    def _silent(self) -> WorkerLost:
        return self._lost(f"sent neither result nor heartbeat for {self.lease_s:g} s")

    def _lost(self, what: str) -> WorkerLost:
        return WorkerLost(f"The worker {self.name!r} {what}; look at its log.")


def _note(work: Work, inputs: list[Stream[Any]], asked_s: float, read_s: float) -> None:
    """The Worker got all of its input at once."""
    work.inputs.first_read_s = read_s
    for stream in inputs:
        newest = stream.newest
        work.inputs.note(newest.origin if newest else None, asked_s, read_s)
        work.inputs.note(stream.end_origin, asked_s, read_s)
