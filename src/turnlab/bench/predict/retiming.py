"""Recorded Tasks as they lie in the turn that is predicted: other names, other moments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from turnlab.bench.predict.records import Part, TracedTurn
from turnlab.bench.predict.sources import Conditions, Source
from turnlab.bench.predict.steps import Script, Step
from turnlab.profiles import USER
from turnlab.tracks import Mode

_SAME_MOMENT_S = 0.002
_GRADUAL = ("streamed", "realtime")


@dataclass(frozen=True, kw_only=True)
class Heard:
    """How the listener came to hear a reply."""

    listens_s: float
    """From a Speech's leaving to its being heard."""
    quiet: tuple[float, ...]
    """Seconds of quiet that each Speech begins with, as far as the first audible one; negative: all
    of it."""


def heard(turn: TracedTurn, source: Source) -> Heard:
    """How the speaker of a recorded turn was heard."""
    task = turn.tasks[source.name]
    zero_s = turn.last_voiced_s if source.pool.first.pace == "realtime" else 0.0
    read_s = zero_s + turn.voice_to_voice_s - turn.playout_s
    if source.pool.first.mode == Mode.CHAINED:
        before, quiet_s = _silent([row[5] for row in task.chunks], turn.playout_s)
        listens_s = max(0.0, read_s - task.end[0])
    else:
        left = [row[0] for row in task.chunks]
        before = max((n for n, at_s in enumerate(left) if at_s <= read_s + 1e-6), default=0)
        listens_s = max(0.0, read_s - left[before])
        played_s = -math.inf
        for row in task.chunks[:before]:
            played_s = max(played_s, row[0] + listens_s) + row[5]
        quiet_s = max(0.0, turn.playout_s - max(0.0, played_s - read_s))
    return Heard(listens_s=listens_s, quiet=(*([-1.0] * before), quiet_s))


def _silent(sounds_s: Sequence[float], playout_s: float) -> tuple[int, float]:
    """How many were quiet, and the next one's quiet, where all of them were played at once."""
    for number, sound_s in enumerate(sounds_s):
        if playout_s < sound_s:
            return number, playout_s
        playout_s -= sound_s
    return len(sounds_s) - 1, 0.0


def unread(theirs: Part, part: Part) -> tuple[str, ...]:
    """The producers of kinds that it could not read where it was measured."""
    return tuple(made for kind, made in part.reads.items() if kind not in theirs.reads)


def renamed(script: Script, theirs: Part, part: Part) -> Script:
    """Its needs by the names that the producers have in the Cluster that is predicted."""
    names = {theirs.reads[k]: made for k, made in part.reads.items() if k in theirs.reads}
    if all(old == new for old, new in names.items()):
        return script
    return replace(script, steps=[_with_names(step, names) for step in script.steps])


def _with_names(step: Step, names: Mapping[str, str]) -> Step:
    there = [need for need in step.needs if need.producer in names]
    needs = tuple(replace(need, producer=names[need.producer]) for need in there)
    return replace(step, needs=needs)


def retimed(
    script: Script,
    turn: TracedTurn,
    measured: Conditions,
    wanted: Conditions,
    zero_s: float,
) -> Script:
    """The moments at which the user's input is needed, as they lie in the turn that is predicted.

    What was measured while the user spoke, and is predicted where all of the input is there from
    the beginning, is left out if it was ahead of need: the last piece of work does it all.
    """
    own_s = turn.last_voiced_s if measured[1] == "realtime" else 0.0
    if measured == wanted and abs(own_s - zero_s) < 1e-6:
        return script
    steps = [s for s in script.steps if s.ends or not _early(s, own_s)]
    if measured != _GRADUAL or wanted == _GRADUAL:
        steps = script.steps
    return replace(script, steps=[_moved(step, own_s, zero_s) for step in steps])


def _early(step: Step, own_s: float) -> bool:
    moments = [need.at_s for need in step.needs if need.producer == USER]
    return bool(moments) and max(moments) < own_s - _SAME_MOMENT_S


def _moved(step: Step, own_s: float, zero_s: float) -> Step:
    if not any(need.producer == USER for need in step.needs):
        return step
    needs = tuple(
        replace(need, at_s=_moment(need.at_s, own_s, zero_s)) if need.producer == USER else need
        for need in step.needs
    )
    return replace(step, needs=needs)


def _moment(at_s: float, own_s: float, zero_s: float) -> float:
    if at_s >= own_s - _SAME_MOMENT_S:
        return zero_s + max(0.0, at_s - own_s)
    return at_s * zero_s / own_s
