"""The cores of a simulated machine, and who may have them; as turnlab.machine does it."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Generator
from typing import Any

from turnlab.bench.predict.sharing import rates
from turnlab.machine import HANDOVER_S

Waiting = Generator[Any, Any, None]
"""A part of a simpy process."""

INSTANT_S = 1e-9
"""What is left of work below this is rounding."""


class Job:
    """Work under way on the cores."""

    __slots__ = ("_sort", "batch", "cores", "done", "ends_at", "number")

    def __init__(
        self, sort: _Sort, cores: float, ends_at: float, done: Any, batch: str = ""
    ) -> None:
        self.batch = batch
        self._sort = sort
        self.cores = cores
        self.ends_at = ends_at
        self.done = done
        self.number = 0

    @property
    def left_s(self) -> float:
        """Seconds alone that are left, as of the last change."""
        return self.ends_at - self._sort.clock


class _Sort:
    """All work of one sort gets on equally: one clock tells how far, one heap what ends next."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.rate = 1.0
        self.wanted = 0.0
        self.batches: Counter[str] = Counter()
        """How many jobs there are of each; '' those that are computed alone."""
        self.heap: list[tuple[float, int, Job]] = []

    @property
    def batch(self) -> int:
        """How many are computed together; 0 where not all of them are."""
        return (
            sum(self.batches.values()) if len(self.batches) == 1 and "" not in self.batches else 0
        )

    def ended(self, job: Job) -> None:
        """A job has."""
        self.batches[job.batch] -= 1
        if not self.batches[job.batch]:
            del self.batches[job.batch]
        self.wanted = max(0.0, self.wanted - job.cores) if self.batches else 0.0

    def next_s(self) -> float:
        """Until the next job ends, at the rate that there is now."""
        heap = self.heap
        while heap and heap[0][2].number != heap[0][1]:
            heapq.heappop(heap)
        return (heap[0][0] - self.clock) / self.rate if heap else float("inf")


class Cores:
    """So many cores, shared as `sharing.rates` says."""

    def __init__(self, env: Any, count: float) -> None:
        self._env = env
        self._count = count
        self._firm, self._yielding = _Sort(), _Sort()
        self._numbers = itertools.count(1)
        self._as_of_s = 0.0
        self._turn = 0

    def begin(self, work_s: float, cores: float, gives_way: bool, batch: str = "") -> Job:
        """Begin work of so many seconds alone; `done` of the Job is an event of its end. `batch`
        names what it is computed together with."""
        self._go_on()
        sort = self._yielding if gives_way else self._firm
        job = Job(sort, cores, sort.clock + work_s, self._env.event(), batch)
        sort.wanted += cores
        sort.batches[batch] += 1
        self._file(sort, job)
        self._plan()
        return job

    def left_s(self, job: Job) -> float:
        """Seconds alone that are left of it."""
        self._go_on()
        return job.left_s

    def change(self, job: Job, left_s: float) -> None:
        """Have the job end after so many more seconds alone."""
        self._go_on()
        job.ends_at = job._sort.clock + max(0.0, left_s)
        self._file(job._sort, job)
        self._plan()

    def _file(self, sort: _Sort, job: Job) -> None:
        job.number = next(self._numbers)
        heapq.heappush(sort.heap, (job.ends_at, job.number, job))

    def _go_on(self) -> None:
        passed_s = self._env.now - self._as_of_s
        if passed_s:
            self._as_of_s = self._env.now
            self._firm.clock += passed_s * self._firm.rate
            self._yielding.clock += passed_s * self._yielding.rate

    def _plan(self) -> None:
        firm, yielding = self._firm, self._yielding
        firm.rate, yielding.rate = rates(firm.wanted, yielding.wanted, self._count, yielding.batch)
        next_s = min(firm.next_s(), yielding.next_s())
        if next_s != float("inf"):
            self._turn += 1
            timeout = self._env.timeout(max(0.0, next_s), self._turn)
            timeout.callbacks.append(self._reached)

    def _reached(self, event: Any) -> None:
        if event.value != self._turn:  # something has changed since
            return
        self._go_on()
        for sort in (self._firm, self._yielding):
            while sort.next_s() <= INSTANT_S:
                job = heapq.heappop(sort.heap)[2]
                job.number = 0
                sort.ended(job)
                job.done.succeed()
        self._plan()


class Call:
    """A Task inside a blocking call."""

    __slots__ = ("ask", "can_pause", "owner", "urgency")

    def __init__(
        self, owner: object, urgency: int, can_pause: bool, ask: Callable[[], None]
    ) -> None:
        self.owner = owner
        self.urgency = urgency
        self.can_pause = can_pause
        self.ask = ask


class Desk:
    """Who is at work, and who waits for those to leave: turnlab.machine.Machine."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self._calls: list[Call] = []
        self._waiting: list[Any] = []

    def enter(self, call: Call) -> None:
        """Count as working; what can pause and is less urgent is asked to."""
        self._calls.append(call)
        for other in list(self._calls):
            if other.can_pause and other.owner is not call.owner:
                other.ask()

    def leave(self, call: Call) -> None:
        """Stop counting as working."""
        self._calls.remove(call)
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.succeed()

    def handover(self, call: Call) -> Waiting:
        """Wait a moment for what is less urgent and can pause."""
        if not self._in_the_way(call):
            return
        late = self._env.timeout(HANDOVER_S)
        while self._in_the_way(call) and not late.processed:
            yield self._change() | late

    def urgent(self, urgency: int, owner: object) -> bool:
        """Whether somebody more urgent is at work."""
        return any(c.urgency > urgency and c.owner is not owner for c in self._calls)

    def turn(self, urgency: int, owner: object) -> Waiting:
        """Wait until nobody more urgent is at work."""
        while self.urgent(urgency, owner):
            yield self._change()

    def _in_the_way(self, call: Call) -> bool:
        return any(c.can_pause and c.urgency < call.urgency for c in self._calls)

    def _change(self) -> Any:
        event = self._env.event()
        self._waiting.append(event)
        return event


class Places:
    """Room for so many at once, first come, first served."""

    def __init__(self, env: Any, count: int) -> None:
        self._env = env
        self._free = count
        self._waiting: deque[Any] = deque()

    def take(self) -> Waiting:
        """Wait for a place and take it."""
        if self._free:
            self._free -= 1
            return
        event = self._env.event()
        self._waiting.append(event)
        yield event

    def give(self) -> None:
        """Give the place to whoever has waited longest."""
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._free += 1
