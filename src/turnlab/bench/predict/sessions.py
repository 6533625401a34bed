"""A simulated Task's calls on the cores: urgent ones go first, what can pause makes way."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from turnlab.bench.predict.cores import Call, Cores, Desk, Job, Places
from turnlab.bench.predict.scenes import Piece, Role
from turnlab.machine import BACKGROUND

NOTICE_S = 0.001
"""So soon after a Chunk a Component that can pause still notices that it must."""

Process = Generator[Any, Any, None]


class Machine(Protocol):
    """What a Task needs of the machine that it runs on."""

    @property
    def cores(self) -> Cores: ...

    @property
    def desk(self) -> Desk: ...


class Session:
    """One Task. What can pause stays in one call from Chunk to Chunk until it must leave."""

    def __init__(
        self, machine: Machine, role: Role, lanes: Places | None, short: Callable[[], bool]
    ) -> None:
        self._cores, self._desk = machine.cores, machine.desk
        self._role, self._trait, self._lanes = role, role.trait, lanes
        self._short_of_sound = short
        self._batch = role.part.instance if role.trait.batches else ""
        self._seated = False
        self._call: Call | None = None
        self._began = False
        self._asked = False
        # Of the Chunks that are being written, where it can be told to stop.
        self._job: Job | None = None
        self._total_s = self._grain_s = self._least_s = 0.0
        self._stops_at_s: float | None = None

    @property
    def urgency(self) -> int:
        """As turnlab.turn has it."""
        return BACKGROUND + 2 + self._role.depth if self._short_of_sound() else BACKGROUND + 1

    def leave(self) -> None:
        """Leave the call, if it is in one."""
        if self._call is not None:
            call, self._call = self._call, None
            self._asked = False
            self._desk.leave(call)

    def end(self) -> None:
        """The Task is over."""
        self.leave()
        if self._seated and self._lanes is not None:
            self._lanes.give()

    def ask(self) -> None:
        """Somebody has come, or the sound has: leave if somebody is more urgent."""
        if not self._asked and self._must_leave():
            self._asked = True
            if self._job is not None:
                self._shorten()

    def work(self, piece: Piece) -> Process:
        """Do the work of a piece, whatever comes between."""
        if not self._trait.gives_way:
            yield from self._enter()
            yield self._cores.begin(piece.work_s, self._trait.cores, False).done
            self.leave()
            return
        left_s, first_s = piece.work_s, piece.first_s
        grain_s = piece.grain_s or self._trait.grain_s
        while left_s > 0:
            entered = self._call is None
            if entered:
                yield from self._enter()
                yield from self._resume()
            if first_s:
                yield self._cores.begin(first_s, self._trait.cores, True, self._batch).done
                left_s, first_s = left_s - first_s, 0.0
                continue
            done_s = yield from self._written(left_s, grain_s, entered)
            left_s -= done_s
            if left_s > 0:
                self.leave()
                yield from self._desk.turn(self.urgency, self)

    def _resume(self) -> Process:
        """What it costs to go on after having left."""
        began, self._began = self._began, True
        if began and self._trait.resumes_s:
            yield self._cores.begin(
                self._trait.resumes_s, self._trait.cores, True, self._batch
            ).done

    def _enter(self) -> Process:
        if self._lanes is not None and not self._seated:
            yield from self._lanes.take()
            self._seated = True
        call = Call(self, self.urgency, self._trait.gives_way, self.ask)
        self._desk.enter(call)
        yield from self._desk.handover(call)
        self._call = call
        self._asked = self._must_leave()

    def _must_leave(self) -> bool:
        return self._trait.gives_way and self._desk.urgent(self.urgency, self)

    def _written(self, work_s: float, grain_s: float, entered: bool) -> Generator[Any, Any, float]:
        """How much of its writing was done: all, or less where it had to leave.

        One that has just `entered` writes a Chunk before it leaves.
        """
        self._total_s, self._grain_s, self._stops_at_s = work_s, grain_s, None
        self._least_s = grain_s if entered else 0.0
        self._job = self._cores.begin(work_s, self._trait.cores, True, self._batch)
        if self._asked:
            self._shorten()
        yield self._job.done
        self._job = None
        return work_s if self._stops_at_s is None else self._stops_at_s

    def _shorten(self) -> None:
        """Leave after the Chunk under way and the one that is begun before that is noticed."""
        assert self._job is not None
        if self._job.done.triggered:
            return  # it has just ended
        done_s = self._total_s - self._cores.left_s(self._job)
        boundary_s = max(self._least_s, self._boundary_s(done_s))
        if boundary_s >= self._total_s - 1e-9:
            return  # it leaves with the next piece
        self._stops_at_s = boundary_s
        self._cores.change(self._job, boundary_s + self._trait.leaves_s - done_s)

    def _boundary_s(self, done_s: float) -> float:
        if not self._grain_s:
            return self._total_s
        chunks, since_s = divmod(done_s, self._grain_s)
        return (chunks + (since_s > NOTICE_S)) * self._grain_s
