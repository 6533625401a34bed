"""A simulated Task's calls on the cores: urgent ones go first, what can pause makes way."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from turnlab.bench.predict.cores import Call, Cores, Desk, Job, Places
from turnlab.bench.predict.scenes import Piece, Role
from turnlab.machine import BACKGROUND

NOTICE_S = 0.001
"""So soon after a Chunk a Component that can pause still notices that it must."""

REREAD = 0.45
"""What it takes to read a Chunk of one's own again, by what it took to make it (llama.cpp, SmolLM2:
5.5 ms against 12 ms a token)."""

BATCH = 16
"""So many Chunks are read at once, and so often it can leave while it reads again; as the local
language model's `batch_tokens`."""

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
        self._call: Call | None = None
        self._began = False
        self._done_s = 0.0
        self._asked = False
        # Of the Chunks that are being written, where it can be told to stop.
        self._job: Job | None = None
        self._total_s = self._grain_s = 0.0
        self._stops_at_s: float | None = None

    @property
    def urgency(self) -> int:
        """As turnlab.turn has it."""
        return BACKGROUND + 2 + self._role.depth if self._short_of_sound() else BACKGROUND + 1

    def leave(self) -> None:
        """Leave the call, if it is in one."""
        if self._call is not None:
            if self._lanes is not None:
                self._lanes.before = self
                self._lanes.give()
            call, self._call = self._call, None
            self._asked = False
            self._desk.leave(call)

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
            if self._call is None:
                yield from self._enter()
                yield from self._read(self._again_s(), grain_s)
                if self._asked and not first_s:  # nothing was gained
                    yield from self._stand_back()
                    continue
            if first_s:
                yield self._cores.begin(first_s, self._trait.cores, True).done
                left_s, first_s = left_s - first_s, 0.0
                continue
            done_s = yield from self._written(left_s, grain_s)
            left_s -= done_s
            if left_s > 0:
                yield from self._stand_back()
        self._done_s += piece.work_s

    def _read(self, work_s: float, grain_s: float) -> Process:
        """Read again, batch by batch, until that is done or it must leave."""
        batch_s = BATCH * REREAD * grain_s or work_s
        while work_s > 0 and not self._asked:
            part_s = min(work_s, batch_s)
            yield self._cores.begin(part_s, self._trait.cores, True).done
            work_s -= part_s

    def _stand_back(self) -> Process:
        self.leave()
        yield from self._desk.turn(self.urgency, self)

    def _again_s(self) -> float:
        """What it costs to go on: to read all again if another Task was at the model meanwhile."""
        began, self._began = self._began, True
        if not began:
            return 0.0
        if self._lanes is None or self._lanes.before is self:
            return self._trait.resumes_s
        first_s = self._role.pieces[0].first_s
        again_s = first_s + REREAD * max(0.0, self._done_s - first_s)
        return max(self._trait.resumes_s, again_s)

    def _enter(self) -> Process:
        call = Call(self, self.urgency, self._trait.gives_way, self.ask)
        self._desk.enter(call)
        yield from self._desk.handover(call)
        if self._lanes is not None:
            yield from self._lanes.take()
        self._call = call
        self._asked = self._must_leave()

    def _must_leave(self) -> bool:
        return self._trait.gives_way and self._desk.urgent(self.urgency, self)

    def _written(self, work_s: float, grain_s: float) -> Generator[Any, Any, float]:
        """How much of its writing was done: all, or less where it had to leave."""
        self._total_s, self._grain_s, self._stops_at_s = work_s, grain_s, None
        self._job = self._cores.begin(work_s, self._trait.cores, True)
        if self._asked:
            self._shorten()
        yield self._job.done
        self._job = None
        return work_s if self._stops_at_s is None else self._stops_at_s

    def _shorten(self) -> None:
        """Leave after the Chunk under way and the one that is begun before that is noticed."""
        assert self._job is not None
        done_s = self._total_s - self._cores.left_s(self._job)
        boundary_s = self._boundary_s(done_s)
        if boundary_s >= self._total_s - 1e-9:
            return  # it leaves with the next piece
        self._stops_at_s = boundary_s
        self._cores.change(self._job, boundary_s + self._trait.leaves_s - done_s)

    def _boundary_s(self, done_s: float) -> float:
        if not self._grain_s:
            return self._total_s
        chunks, since_s = divmod(done_s, self._grain_s)
        return (chunks + (since_s > NOTICE_S)) * self._grain_s
