"""How many conversations at once stay in budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from turnlab.bench.predict.prediction import Question, simulate
from turnlab.bench.predict.rulings import PREDICTED, kept, told
from turnlab.bench.predict.workload import Load, Played
from turnlab.clusters.budget import Limit
from turnlab.errors import InvalidBudget

MOST = 4_096
TURNS_EACH = 20
"""Turns of each conversation at least, so that the beginning of all counts for little."""

LEAST_TURNS = 300
MOST_TURNS = 4_000


@dataclass(frozen=True, kw_only=True)
class Point:
    """What so many conversations at once come to."""

    at_once: int
    p50_s: float
    p95_s: float
    kept: bool
    per_minute: float


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """How voice to voice grows with the number of conversations."""

    most: int | None
    """The most that stay in budget; 0: not even one does; None: without a budget, where it is not
    known, or all of `MOST` do."""
    points: tuple[Point, ...]
    limits: tuple[Limit, ...]
    """Those that it goes by."""
    pause_s: float
    sentence: str


def capacity(question: Question, *, pause_s: float = 1.0) -> Capacity:
    """The most conversations at once, found by doubling and halving, and the curve around it.

    Raises InvalidBudget where the Cluster has limits, but none that can be predicted.
    """
    if question.not_predicted and not question.limits:
        limits = ", ".join(f"`{limit}`" for limit in question.not_predicted)
        raise InvalidBudget(
            f"No limit of {question.cluster} can be predicted ({limits}); give one on "
            f"{', '.join(PREDICTED)} with --budget."
        )
    asked = question.limits
    question = replace(question, limits=told(asked, _played(question, 1, pause_s)))
    unknown = [limit for limit in asked if limit not in question.limits]
    found: dict[int, Point] = {}

    def at(count: int) -> Point:
        if count not in found:
            found[count] = _point(question, count, pause_s)
        return found[count]

    most = _most(at) if question.limits else None
    for count in _around(most):
        at(count)
    points = tuple(found[count] for count in sorted(found))
    return Capacity(
        most=most,
        points=points,
        limits=question.limits,
        pause_s=pause_s,
        sentence=_sentence(most, question.limits, pause_s, unknown),
    )


def _most(at: Callable[[int], Point]) -> int | None:
    if not at(1).kept:
        return 0
    low, high = 1, 2
    while at(high).kept:
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        if at(middle).kept:
            low = middle
        else:
            high = middle
    return low


def _around(most: int | None) -> Sequence[int]:
    """Where the curve is drawn: from one to twice the capacity."""
    top = max(4, 2 * most) if most else 8
    return sorted({round(n) for n in np.geomspace(1, top, 7)})


def _played(question: Question, count: int, pause_s: float) -> Played:
    turns = int(np.clip(count * TURNS_EACH, LEAST_TURNS, MOST_TURNS))
    load = Load(at_once=count, conversation=True, pause_s=pause_s)
    return simulate(replace(question, load=load, turns=turns))


def _point(question: Question, count: int, pause_s: float) -> Point:
    played = _played(question, count, pause_s)
    half, most = np.quantile(played.voice_to_voice_s, (0.5, 0.95))
    return Point(
        at_once=count,
        p50_s=float(half),
        p95_s=float(most),
        kept=bool(kept(question.limits, played)),
        per_minute=60 * len(played.turn_ids) / played.seconds,
    )


def _sentence(
    most: int | None, limits: Sequence[Limit], pause_s: float, unknown: Sequence[Limit]
) -> str:
    each = (
        "in each the user speaks, hears the reply out and pauses "
        f"for {pause_s:g} s before speaking again"
    )
    if unknown:
        names = " and ".join(f"`{limit}`" for limit in unknown)
        each += f"; {names} cannot be told, since the price of a Component is not known"
    if not limits and unknown:
        return f"How many conversations stay in budget is not known: {each}."
    if not limits:
        return f"No budget was given, so no number of conversations is too many; {each}."
    budget = " and ".join(f"`{limit}`" for limit in limits)
    if most is None:
        return f"More than {MOST:,} conversations at once keep {budget}; {each}."
    if most == 0:
        return f"Not even one conversation keeps {budget}; {each}."
    many = "conversations" if most > 1 else "conversation"
    return f"At most {most} {many} at once keep{'s' * (most == 1)} {budget}; {each}."
