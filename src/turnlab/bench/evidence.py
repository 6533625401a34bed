"""How far turns prove a limit: exact binomial tests for turns that are not all independent.

The share of turns within a percentile limit, and the share that completed, are tested as binomial
shares of an effective number of turns (E. L. Korn, B. I. Graubard, "Confidence intervals for
proportions with small expected number of positive counts estimated from survey data", 1998).
Repetitions of one turn of a dataset are alike, so they count as fewer than they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.distributions import beta_cdf

RISK = 0.05
"""How likely a verdict of pass may be wrong, and how likely one of fail."""

MOST_TURNS = 1_000_000
"""What would take more turns than this is not going to be proved."""

_SURE = 1.6449
"""The 95 % point of the normal distribution."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a figure lies, with RISK of being wrong at either end; infinite where that is open."""

    low: float
    high: float
    effective: float
    """How many independent turns tell as much."""


def at_most(hits: float, turns: float, chance: float) -> float:
    """How likely at most `hits` of `turns` are hits that have this `chance` each.

    The binomial distribution for whole numbers, and between them the incomplete beta function
    of which it is a case.
    """
    return 1.0 if hits >= turns else beta_cdf(1 - chance, turns - hits, hits + 1)


def at_least(hits: float, turns: float, chance: float) -> float:
    """How likely at least `hits` of `turns` are hits; see `at_most`."""
    return 1.0 if hits <= 0 else beta_cdf(chance, hits, turns - hits + 1)


def percentile_bounds(values: Floats, groups: Ints, share: float) -> Bounds:
    """Bounds of the value that `share` of all such turns keep within; infinity is over any.

    They are values that were measured (order statistics): the high one is the least limit that
    so many turns pass, the low one the greatest that they fail, by the binomial test.
    """
    turns = len(values)
    if not turns:
        return Bounds(-math.inf, math.inf, 0.0)
    effective = effective_turns(values, groups, share)
    scale, miss, ranked = effective / turns, 1 - share, np.sort(values)
    allowed = _first(turns, lambda over: at_most(over * scale, effective, miss) > RISK)
    refused = _first(turns + 1, lambda over: at_least(over * scale, effective, miss) <= RISK)
    high = ranked[turns - allowed] if allowed else math.inf
    low = ranked[turns - refused] if refused <= turns else -math.inf
    return Bounds(float(low), float(high), effective)


def _first(end: int, true_from: Callable[[int], bool]) -> int:
    """The first whole number below `end` from which on something is true; `end` if none is."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if true_from(middle) else (middle + 1, high)
    return low


def effective_turns(values: Floats, groups: Ints, share: float | None = None) -> float:
    """How many independent turns tell as much as these, of which those of a group are alike.

    n / (1 + (m - 1) rho) (Kish 1965) with m the mean size of a turn's group and rho the
    correlation within groups. Of the ranks of the values, and (where `share` is given) of being
    among the highest, the greater rho counts, each at the upper end of its interval. What never
    varies tells nothing of how alike a group is: then each group counts once.
    """
    turns = len(values)
    numbers = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(numbers).astype(np.float64)
    if len(sizes) == turns:
        return float(turns)
    ranks = _ranks(values)
    found = [_alike(ranks, numbers, sizes)]
    if share is not None:
        highest = ranks > share * turns
        found.append(_alike(highest.astype(np.float64), numbers, sizes))
    known = [each for each in found if each is not None]
    return turns / (1 + (float(sizes @ sizes) / turns - 1) * max(known, default=1.0))


def _ranks(values: Floats) -> Floats:
    """From 1, equal values sharing their mean rank; infinity is the highest."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def _alike(values: Floats, numbers: Ints, sizes: Floats) -> float | None:
    """The upper end of the correlation within groups, from the analysis of variance.

    The estimate and its standard error are those of A. Donner, "A review of inference procedures
    for the intraclass correlation coefficient", 1986. None where nothing varies.
    """
    turns, count = len(values), len(sizes)
    means = np.bincount(numbers, values) / sizes
    within = float(((values - means[numbers]) ** 2).sum())
    between = float((sizes * (means - values.mean()) ** 2).sum())
    if within + between == 0:
        return None
    if count < 2 or within == 0:
        return 1.0
    within, between = within / (turns - count), between / (count - 1)
    size = (turns - float(sizes @ sizes) / turns) / (count - 1)
    rho = max(0.0, (between - within) / (between + (size - 1) * within))
    error = (1 - rho) * (1 + (size - 1) * rho)
    error *= math.sqrt(2 / (size * (size - 1) * (count - 1)))
    return min(1.0, rho + _SURE * error)


def turns_until(share: float, wanted: float, effective: float) -> int | None:
    """About how many more independent turns would tell whether `share` is over `wanted`.

    Both are shares of turns that miss. Supposes that further turns miss as often as those so
    far. None if no number of turns would help, or more than MOST_TURNS.
    """

    def told(turns: float) -> bool:
        if share < wanted:
            return at_most(share * turns, turns, wanted) <= RISK
        return at_least(share * turns, turns, wanted) <= RISK

    if math.isclose(share, wanted) or not 0 < wanted < 1:
        return None
    needed = max(1.0, effective)
    while not told(needed):
        needed *= 2
        if needed > MOST_TURNS:
            return None
    low = max(1, math.floor(effective))
    needed = low + _first(math.ceil(needed) - low, lambda more: told(low + more))
    return max(1, math.ceil(needed - effective))
