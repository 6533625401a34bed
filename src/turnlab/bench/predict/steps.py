"""A trace as steps: after so much of its input, so much work, then so much output."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnlab.bench.predict.records import Part, TracedTask, TracedTurn
from turnlab.profiles import USER, SpanKind

WORKING = (SpanKind.MODEL, SpanKind.TRANSFER)

BEGINS_S = 0.002
"""A shorter wait for a thread is the time that any thread takes to begin."""

LEAST_PAUSE_S = 0.001
"""A shorter standing back is none: nobody had wanted the cores."""

Stretch = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Need:
    """What must have left a producer before a step can begin."""

    producer: str
    rank: int
    """So many Chunks; one more than there are: its end."""
    of: int
    """How many Chunks there were."""
    size: float
    """Of all these Chunks together."""
    at_s: float
    """When that was so, in seconds since the start of the Track."""

    @property
    def ended(self) -> bool:
        """Whether it is the producer's end."""
        return self.rank > self.of


@dataclass(slots=True, kw_only=True)
class Step:
    """A piece of a Component's work."""

    needs: tuple[Need, ...]
    lag_s: float = 0.0
    """From the last need to the beginning of work, nothing being measured in it."""
    work_s: float
    """With nothing else on the machine."""
    emits: float | None = None
    """The size of the Chunk that leaves after it; None: none."""
    ends: bool = False
    """Whether the stream ends with it."""
    paused: bool = False
    """Whether it stood back in it for something more urgent."""
    crowded: bool = False
    """Whether something else was at work beside it."""
    stretches: tuple[Stretch, ...] = ()
    """When it was at work, as recorded."""


@dataclass(slots=True, kw_only=True)
class Script:
    """All that one Task did."""

    steps: list[Step]
    cost_usd: float | None = 0.0
    leaves_s: list[float] = field(default_factory=list)
    """From the Chunk after which it stood back to its leaving the cores, for each time."""
    resumes_s: list[float] = field(default_factory=list)
    """What the first Chunk after that took, for each time."""

    @property
    def sizes(self) -> list[float]:
        """Of its Chunks."""
        return [step.emits for step in self.steps if step.emits is not None]

    @property
    def work_s(self) -> float:
        """All of its work, alone."""
        return sum(step.work_s for step in self.steps)


class Outputs:
    """When what left each producer of one turn."""

    def __init__(self, turn: TracedTurn) -> None:
        self._left = {name: [row[0] for row in t.chunks] for name, t in turn.tasks.items()}
        self._ended = {name: t.end[0] for name, t in turn.tasks.items()}
        self._sizes = {name: _cumulated(t) for name, t in turn.tasks.items()}

    def by(self, producer: str, moment_s: float) -> Need | None:
        """What had left by then; None if nothing had."""
        if producer not in self._left:
            return None
        left = self._left[producer]
        rank = bisect.bisect_right(left, moment_s)
        if self._ended[producer] <= moment_s:
            rank = len(left) + 1
        if rank == 0:
            return None
        sizes = self._sizes[producer]
        at_s = self._ended[producer] if rank > len(left) else left[rank - 1]
        size = sizes[min(rank, len(left)) - 1] if left else 0.0
        return Need(producer, rank, len(left), size, at_s)


def script_of(turn: TracedTurn, task: TracedTask, part: Part) -> Script:
    """What the Task did in this turn, its work not yet freed of what was beside it."""
    outputs = Outputs(turn)
    reading = _Reading(part, outputs)
    standing = [(i[2], i[3]) for i in task.intervals if _stands(i)]
    working = sorted((i[2], i[3]) for i in task.intervals if i[0] in WORKING)
    script = Script(steps=[], cost_usd=task.cost_usd)
    before_s = task.claimed_s
    for number, row in enumerate([*task.chunks, task.end]):
        left_s, producer, cause_s, _, read_s, size = row
        begin_s = before_s if producer is None else min(max(before_s, read_s), left_s)
        busy_until_s = before_s
        for start_s, stop_s in working:
            if before_s <= start_s < begin_s and stop_s - start_s > 0:
                stretch = (max(start_s, busy_until_s), max(busy_until_s, min(stop_s, begin_s)))
                script.steps.append(_ahead(reading, stretch, busy_until_s, standing))
                busy_until_s = stretch[1]
        needs = () if producer is None else reading.caused(producer, cause_s)
        ready_s = max([busy_until_s, *(need.at_s for need in needs)])
        step = Step(
            needs=needs,
            lag_s=_active_s((min(ready_s, begin_s), begin_s), standing),
            work_s=0.0,
            emits=size if number < len(task.chunks) else None,
            ends=number == len(task.chunks),
            stretches=tuple(_without((begin_s, left_s), standing)),
        )
        _note_pause(script, step, task, begin_s, left_s)
        script.steps.append(step)
        before_s = left_s
    return script


class _Reading:
    """What a Component had to have read."""

    def __init__(self, part: Part, outputs: Outputs) -> None:
        self._producers = tuple(dict.fromkeys(part.reads.values()))
        self._outputs = outputs

    def caused(self, producer: str, cause_s: float) -> tuple[Need, ...]:
        """The cause, and of other producers what had left before it."""
        return self._by(cause_s, producer)

    def available(self, moment_s: float) -> tuple[Need, ...]:
        """Everything that had left by then, for work that no Chunk tells the cause of."""
        return self._by(moment_s, USER)

    def _by(self, moment_s: float, cause: str) -> tuple[Need, ...]:
        needs = []
        for producer in self._producers:
            if producer == USER:
                if cause == USER:
                    needs.append(Need(USER, 1, 1, 0.0, moment_s))
            elif (need := self._outputs.by(producer, moment_s)) is not None:
                needs.append(need)
        return tuple(needs)


def _ahead(
    reading: _Reading, stretch: Stretch, busy_until_s: float, standing: Sequence[Stretch]
) -> Step:
    """Work after which nothing left: what had been read by then is all that it can have needed."""
    needs = reading.available(stretch[0])
    ready_s = max([busy_until_s, *(n.at_s for n in needs if n.producer != USER)])
    lag_s = _active_s((ready_s, stretch[0]), standing) if USER not in _of(needs) else 0.0
    return Step(needs=needs, lag_s=max(0.0, lag_s), work_s=0.0, stretches=(stretch,))


def _of(needs: Sequence[Need]) -> set[str]:
    return {need.producer for need in needs}


def _note_pause(
    script: Script, step: Step, task: TracedTask, begin_s: float, left_s: float
) -> None:
    """Note where it stood back for something more urgent, and what that cost."""
    pauses = [
        (i[2], i[3])
        for i in task.intervals
        if i[0] == SpanKind.WAIT and begin_s <= i[2] < left_s and i[3] - i[2] >= LEAST_PAUSE_S
    ]
    if not pauses:
        return
    step.paused = True
    script.leaves_s.append(pauses[0][0] - begin_s)
    queued = [(i[2], i[3]) for i in task.intervals if _stands(i) and i[0] == SpanKind.QUEUE]
    script.resumes_s.append(_active_s((pauses[-1][1], left_s), queued))


def _stands(interval: Sequence[Any]) -> bool:
    """Whether a Task waited in it for others; a thread's own beginning belongs to its work."""
    kind, _, start_s, stop_s = interval
    return bool(kind == SpanKind.WAIT or (kind == SpanKind.QUEUE and stop_s - start_s > BEGINS_S))


def _without(stretch: Stretch, holes: Sequence[Stretch]) -> list[Stretch]:
    """A stretch without what stands in `holes`."""
    rest, (start_s, stop_s) = [], stretch
    for hole_start_s, hole_stop_s in sorted(holes):
        if hole_stop_s <= start_s or hole_start_s >= stop_s:
            continue
        if hole_start_s > start_s:
            rest.append((start_s, hole_start_s))
        start_s = max(start_s, hole_stop_s)
    if stop_s > start_s:
        rest.append((start_s, stop_s))
    return rest


def _active_s(stretch: Stretch, holes: Sequence[Stretch]) -> float:
    return sum(stop - start for start, stop in _without(stretch, holes))


def _cumulated(task: TracedTask) -> list[float]:
    total, sizes = 0.0, []
    for row in task.chunks:
        total += row[5]
        sizes.append(total)
    return sizes


def scripts_of(turn: TracedTurn, parts: Mapping[str, Part]) -> dict[str, Script]:
    """What each Task of a turn did, as recorded."""
    return {
        name: script_of(turn, task, parts[name])
        for name, task in turn.tasks.items()
        if name in parts
    }
