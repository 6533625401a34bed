"""What a Worker that speaks plain HTTP has claimed: leases, results, and results posted again."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.errors import ClaimLost, TurnlabError, WorkerLost
from turnlab.work import Work

_REMEMBERED = 1_000
"""Claims whose results were taken, so that one that is posted again is known."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a Task ended at the Worker."""

    chunk: Chunk | None = None
    error: TurnlabError | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    """What belongs into `result_profile` beside the Chunk's own."""
    timings: Mapping[str, float] = field(default_factory=dict)


def new_future() -> asyncio.Future[Any]:
    """A future of the running event loop."""
    return asyncio.get_running_loop().create_future()


@dataclass(kw_only=True, eq=False)
class Claim:
    """A Task that the Worker has. The moments are on the API end's clock."""

    work: Work
    text: str
    began_s: float
    lease_end_s: float
    outcome: asyncio.Future[Outcome] = field(default_factory=new_future)

    @property
    def key(self) -> tuple[str, str]:
        """What the Worker names it by: the Task's id and the text of the claim."""
        return self.work.task_id, self.text


class Claims:
    """The claims of one Worker. Their texts begin with `node_id`.

    So a result that reaches another API process finds its way.
    """

    def __init__(self, clock: Clock, node_id: str, lease_s: float) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._node_id = node_id
        self._open: dict[tuple[str, str], Claim] = {}
        self._done: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, work: Work) -> Claim:
        """The Worker has the Task from now on, for one lease."""
        now_s = self._clock.now()
        text = f"{self._node_id}:{secrets.token_urlsafe(16)}"
        claim = Claim(work=work, text=text, began_s=now_s, lease_end_s=now_s + self.lease_s)
        self._open[claim.key] = claim
        return claim

    def drop(self, work: Work) -> None:
        """The Worker has nothing to do with the Task any more."""
        for key in [key for key, claim in self._open.items() if claim.work is work]:
            del self._open[key]

    def knows(self, task_id: str, text: str) -> bool:
        """Whether the claim is, or was, one of these."""
        return (task_id, text) in self._open or (task_id, text) in self._done

    def find(self, task_id: str, text: str) -> Claim | None:
        """The claim, None if its result was taken already. Raises ClaimLost."""
        if (task_id, text) in self._done:
            return None
        claim = self._open.get((task_id, text))
        if claim is None or claim.outcome.done():
            raise ClaimLost()
        return claim

    def extend(self, task_id: str, text: str) -> str:
        """Begin the lease anew; its end in ISO 8601. Raises ClaimLost."""
        claim = self.find(task_id, text)
        if claim is None:
            raise ClaimLost("The Task's result was taken already; there is nothing to extend.")
        claim.lease_end_s = self._clock.now() + self.lease_s
        return self.lease_until(claim)

    def complete(self, task_id: str, text: str, outcome: Outcome) -> bool:
        """Take the result; False if one was taken before. Raises ClaimLost."""
        claim = self.find(task_id, text)
        if claim is None:
            return False
        self._done[claim.key] = None
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)
        claim.outcome.set_result(outcome)
        return True

    def lose(self, error: WorkerLost) -> None:
        """The Worker is gone with all that it has."""
        for claim in self._open.values():
            if not claim.outcome.done():
                claim.outcome.set_exception(error)

    async def outcome(self, claim: Claim, silent: WorkerLost) -> Outcome:
        """What the Worker posts. Raises `silent` once its lease is over."""
        while not claim.outcome.done():
            if claim.lease_end_s <= self._clock.now():
                raise silent
            timer = asyncio.ensure_future(self._clock.sleep_until(claim.lease_end_s))
            try:
                waits: set[asyncio.Future[Any]] = {claim.outcome, timer}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
        return claim.outcome.result()

    def lease_until(self, claim: Claim) -> str:
        """The end of the lease in ISO 8601."""
        left_s = claim.lease_end_s - self._clock.now()
        return datetime.fromtimestamp(time.time() + left_s, UTC).isoformat()
