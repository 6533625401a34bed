"""How the cores of a machine are shared, and what work takes when it has them for itself."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from turnlab.bench.predict.records import Group, Part
from turnlab.bench.predict.steps import Script, Step, scripts_of

LEAST = 0.1
"""How fast work that gives way gets on at least, 1 being alone, beside work that wants all cores;
llama.cpp beside Piper on both of two cores wrote 10 to 15 % of its words."""

COUPLED = 0.6
"""How much of the cores that are left to it such work makes use of: its threads wait for each other
many times a word, so each is as slow as the slowest. The same beside Piper on one of two cores
wrote 36 % where 63 % of what it would use was left."""

BATCHED = 0.75
"""What each further reply at once adds to a step of a model that computes them together, 1 being
what one takes alone: SmolLM2 in llama.cpp on two cores took 9 to 12 ms for one, 17 to 20 for two,
30 for four."""

IDLE = 0.05
"""Below so many cores a Component waits for something else than this machine: its time is a delay
that nothing on this machine makes longer."""

CROWDED = 0.1
"""The share of a step beside other work from which its time is not that which it takes alone."""


@dataclass(frozen=True, kw_only=True)
class Trait:
    """What a Component is like on the machine."""

    cores: float = 0.0
    """How many cores its work keeps busy when it has the machine for itself."""
    gives_way: bool = False
    batches: bool = False
    """Whether several at once share each step of its model."""
    """Whether it leaves the cores to what is more urgent, and gets what others leave otherwise."""
    leaves_s: float = 0.0
    """From the Chunk at which it notices that it must leave to its having left."""
    resumes_s: float = 0.0
    """What it costs to begin again, beside what the next Chunk costs anyway."""
    grain_s: float = 0.0
    """From Chunk to Chunk: so often it can leave."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The turns of a Group as scripts of work alone, and what its Components are like."""

    group: Group
    scripts: list[dict[str, Script]]
    """In the order of `group.turns`."""
    traits: dict[str, Trait] = field(default_factory=dict)


def rates(firm: float, yielding: float, cores: float, batch: int = 0) -> tuple[float, float]:
    """How fast work gets on, 1 being alone: that which stands firm, and that which gives way.

    `firm` and `yielding` are how many cores each would use; where all that gives way is computed
    together, `batch` is how much that is. Threads share cores equally, so work of one sort is
    slowed equally; what gives way gets what is left, see `COUPLED` and `LEAST`, and a batch shares
    that, see `BATCHED`.
    """
    of_firm = min(1.0, cores / firm) if firm else 1.0
    if not yielding:
        return of_firm, 1.0
    one = yielding / max(1, batch)
    together = 1.0 + BATCHED * max(0, batch - 1) * min(1.0, yielding / cores)
    left = max(0.0, cores - firm) / one
    if left >= 1.0:
        return of_firm, 1.0 / together
    least = LEAST * min(1.0, cores / one)
    return of_firm, max(least, left * (COUPLED if firm else 1.0)) / together


def measured(group: Group) -> Measured:
    """The turns of a Group, each step's work being what it would have taken alone."""
    scripts = [scripts_of(turn, group.parts) for turn in group.turns]
    cores = {name: _cores(name, group, scripts) for name in group.parts}
    for each in scripts:
        _free(each, group.parts, cores, group.cores)
    traits = {name: _trait(group.parts[name], cores[name], scripts) for name in group.parts}
    return Measured(group=group, scripts=scripts, traits=traits)


def _cores(name: str, group: Group, scripts: Sequence[Mapping[str, Script]]) -> float:
    """The processor's time that it took by the time that it worked: the median over turns.

    Where others were at work with it, its share of the processor's time was counted as equal to
    theirs (see Machine), which is no measure of its own. The median, since other processes of the
    machine lengthen the one time and not the other.
    """
    ratios = []
    for turn, by_name in zip(group.turns, scripts, strict=True):
        task = turn.tasks.get(name)
        if task is None or task.cpu_s is None or name not in by_name:
            continue
        alone = shared = 0.0
        for start_s, stop_s, at_work in _segments(by_name):
            if name in at_work:
                alone += (stop_s - start_s) * (len(at_work) == 1)
                shared += (stop_s - start_s) * (len(at_work) > 1) * group.cores / len(at_work)
        if alone:
            ratios.append((task.cpu_s - shared) / alone)
    return float(np.clip(statistics.median(ratios), 0.0, group.cores)) if ratios else 0.0


def _segments(scripts: Mapping[str, Script]) -> Iterator[tuple[float, float, frozenset[str]]]:
    """The turn, cut where somebody begins or ends to work."""
    changes: list[tuple[float, int, str]] = []
    for name, script in scripts.items():
        for start_s, stop_s in _merged(s for step in script.steps for s in step.stretches):
            changes += [(start_s, 1, name), (stop_s, 0, name)]
    at_work: set[str] = set()
    for (moment_s, begins, name), (next_s, _, _) in pairwise([*sorted(changes), (0.0, 0, "")]):
        (at_work.add if begins else at_work.discard)(name)
        if at_work and next_s > moment_s:
            yield moment_s, next_s, frozenset(at_work)


def _merged(stretches: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Stretches that touch as one, so that the many words of a reply are few changes."""
    last: tuple[float, float] | None = None
    for start_s, stop_s in sorted(stretches):
        if last is not None and start_s <= last[1] + 1e-6:
            last = (last[0], max(last[1], stop_s))
            continue
        if last is not None:
            yield last
        last = (start_s, stop_s)
    if last is not None:
        yield last


class _Progress:
    """How far work of one sort had got by each moment of a turn, in seconds alone."""

    def __init__(self) -> None:
        self._at: list[float] = [0.0]
        self._done: list[float] = [0.0]

    def add(self, start_s: float, stop_s: float, rate: float) -> None:
        """From `start_s` to `stop_s` it got on at `rate`; between such stretches at 1."""
        for moment_s, done in ((start_s, start_s - self._at[-1]), (stop_s, None)):
            if done is None:
                done = (stop_s - start_s) * rate
            self._at.append(moment_s)
            self._done.append(self._done[-1] + done)

    def between(self, start_s: float, stop_s: float) -> float:
        """Seconds alone of what was done between the two."""
        ends = np.interp((start_s, stop_s), self._at, self._done)
        beyond = max(0.0, stop_s - max(self._at[-1], start_s))
        return float(ends[1] - ends[0]) + beyond


def _free(
    scripts: Mapping[str, Script],
    parts: Mapping[str, Part],
    cores: Mapping[str, float],
    count: int,
) -> None:
    """Set the work of each step to what it would have taken alone."""
    firm, yielding = _Progress(), _Progress()
    crowds: dict[str, _Progress] = {name: _Progress() for name in scripts}
    for start_s, stop_s, at_work in _segments(scripts):
        soft = [n for n in at_work if parts[n].can_pause]
        wanted = sum(cores[n] for n in at_work), sum(cores[n] for n in soft)
        of_firm, of_yielding = rates(wanted[0] - wanted[1], wanted[1], count, _batch(soft, parts))
        firm.add(start_s, stop_s, of_firm)
        yielding.add(start_s, stop_s, of_yielding)
        for name in at_work:
            busy = any(cores[n] >= IDLE for n in at_work if n != name)
            crowds[name].add(start_s, stop_s, 0.0 if busy else 1.0)
    for name, script in scripts.items():
        idle = cores[name] < IDLE
        progress = yielding if parts[name].can_pause else firm
        for step in script.steps:
            whole = sum(stop - start for start, stop in step.stretches)
            free = sum(crowds[name].between(*each) for each in step.stretches)
            alone = sum(progress.between(*each) for each in step.stretches)
            step.work_s = whole if idle else alone
            step.crowded = not idle and whole - free > CROWDED * whole
        if parts[name].can_pause:
            _even(script)


def _batch(names: Sequence[str], parts: Mapping[str, Part]) -> int:
    """How many of those that give way are computed together; 0 where some are not."""
    instances = {parts[name].instance for name in names if parts[name].batches}
    alike = len(instances) == 1 and all(parts[name].batches for name in names)
    return len(names) if alike else 0


def _even(script: Script) -> None:
    """Give the steps of a flow that something else disturbed the time of those that nothing did."""
    grain_s = _grain_s([script])
    if grain_s is None:
        return
    script.resumes_s = [max(0.0, each - grain_s) for each in script.resumes_s]
    for step in _flow(script):
        if step.paused or step.crowded:
            step.work_s = grain_s


def _flow(script: Script) -> list[Step]:
    """The Chunks after the first that had not to wait for more input."""
    made = [step for step in script.steps if step.emits is not None or step.ends]
    return [step for before, step in pairwise(made) if step.needs == before.needs]


def _grain_s(scripts: Iterable[Script]) -> float | None:
    undisturbed = [
        step.work_s
        for script in scripts
        for step in _flow(script)
        if not (step.paused or step.crowded or step.ends)
    ]
    return statistics.median(undisturbed) if undisturbed else None


def _trait(part: Part, cores: float, scripts: Sequence[Mapping[str, Script]]) -> Trait:
    if not part.can_pause:
        return Trait(cores=cores)
    own = [each[part.name] for each in scripts if part.name in each]
    grain_s = _grain_s(own) or 0.0
    leaves = [each for script in own for each in script.leaves_s]
    resumes = [each for script in own for each in script.resumes_s]
    return Trait(
        cores=cores,
        gives_way=True,
        batches=part.batches,
        grain_s=grain_s,
        leaves_s=statistics.median(leaves) if leaves else grain_s,
        resumes_s=statistics.median(resumes) if resumes else 0.0,
    )
