"""How a Component's work follows from what it is given, where its input is another one's."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from turnlab.bench.predict.steps import Script, Step

ALIKE = (0.67, 1.5)
"""Within which ratio two Components take as much input for their first Chunk, if they cut alike."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One Chunk that a Component made."""

    first: bool
    taken: float
    """How much of its input it took, by size."""
    work_s: float
    made: float
    """The Chunk's own size."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """`a + b * x`, with what the points lie off it as factors."""

    a: float
    b: float
    factors: tuple[float, ...]

    def at(self, x: float) -> float:
        """The line's height; never below 0."""
        return max(0.0, self.a + self.b * x)


@dataclass(frozen=True, kw_only=True)
class Law:
    """Work and output by input taken, fitted by least squares to all Tasks of a Component."""

    work: Line
    made: Line
    first_taken: float
    """Median size of the input that the first Chunk took."""

    def fits(self, others: Iterable[Script]) -> bool:
        """Whether a Component with these Tasks takes its input in pieces of the same sort."""
        theirs = _first_taken([s for script in others for s in samples(script)])
        if not theirs or not self.first_taken:
            return False
        return ALIKE[0] <= self.first_taken / theirs <= ALIKE[1]

    def applied(self, twin: Script, own: Script, chance: random.Random) -> Script:
        """The Task `twin` as this Component would do it, `own` being one of its own."""
        number = chance.randrange(len(self.work.factors)) if self.work.factors else 0
        work = self.work.factors[number] if self.work.factors else 1.0
        made = self.made.factors[number] if self.made.factors else 1.0
        steps, before = [], 0.0
        for step in twin.steps:
            if step.emits is None:
                steps.append(step)
                continue
            size = _reach(step)
            taken, before = max(0.0, size - before), size
            steps.append(
                replace(step, work_s=self.work.at(taken) * work, emits=self.made.at(taken) * made)
            )
        return replace(own, steps=steps)


def law_of(scripts: Iterable[Script]) -> Law:
    """The law that a Component's Tasks show."""
    found = [sample for script in scripts for sample in samples(script)]
    taken = np.array([s.taken for s in found])
    return Law(
        work=_line(taken, np.array([s.work_s for s in found])),
        made=_line(taken, np.array([s.made for s in found])),
        first_taken=_first_taken(found),
    )


def samples(script: Script) -> Iterable[Sample]:
    """What each Chunk of a Task took and gave."""
    before, first = 0.0, True
    for step in script.steps:
        if step.emits is None:
            continue
        size = _reach(step)
        taken, before = max(0.0, size - before), size
        yield Sample(first=first, taken=taken, work_s=step.work_s, made=step.emits)
        first = False


def _reach(step: Step) -> float:
    return max((need.size for need in step.needs), default=0.0)


def _first_taken(found: Iterable[Sample]) -> float:
    sizes = [s.taken for s in found if s.first]
    return float(np.median(sizes)) if sizes else 0.0


def _line(
    x: np.ndarray[tuple[int], np.dtype[np.float64]], y: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Line:
    if len(x) < 3 or np.ptp(x) == 0:
        a, b = float(np.mean(y)) if len(y) else 0.0, 0.0
    else:
        b, a = (float(v) for v in np.polyfit(x, y, 1))
        if b < 0:
            a, b = float(np.mean(y)), 0.0
    heights = np.maximum(a + b * x, 1e-9)
    return Line(a=a, b=b, factors=tuple(float(v) for v in y / heights))
