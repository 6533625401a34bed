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
from functools import lru_cache

import numpy as np

from turnlab.bench.measuring.distributions import beta_cdf
from turnlab.bench.measuring.resampling import Floats, Ints, type7

__all__ = [
    "MOST_TURNS",
    "RISK",
    "Bounds",
    "Evidence",
    "Floats",
    "Ints",
    "at_least",
    "at_most",
    "effective_turns",
    "percentile_bounds",
    "turns_until",
]

RISK = 0.05
"""How likely a verdict of pass may be wrong, and how likely one of fail."""

MOST_TURNS = 1_000_000
"""What would take more turns than this is not going to be proved."""

_SURE = 1.6449
"""The 95 % point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a figure lies, with so much risk of being wrong at either end; infinite where open."""

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


def percentile_bounds(values: Floats, groups: Ints, share: float, risk: float = RISK) -> Bounds:
    """Bounds of the value that `share` of all such turns keep within; infinity is over any.

    They are values that were measured (order statistics): the high one is the least limit that
    so many turns pass, the low one the greatest that they fail, by the binomial test with `risk`.
    """
    return Evidence(values, groups).bounds(share, risk)


class Evidence:
    """Values of which several percentiles are bounded: they are sorted and ranked once."""

    def __init__(self, values: Floats, groups: Ints) -> None:
        """`groups` are numbers from 0; values that are in order already are sorted in no time."""
        order = np.argsort(values, kind="stable")
        sizes = np.bincount(groups)
        self._ranked = values[order]
        self._numbers: Ints = (np.cumsum(sizes > 0) - 1)[groups[order]]
        self._sizes = sizes[sizes > 0].astype(np.float64)
        self.groups = len(self._sizes)
        """How many there are."""
        squares = float(self._sizes @ self._sizes)
        self.least = len(values) ** 2 / squares if squares else 0.0
        """The effective number of turns, were those of a group all alike."""
        self._ranks = _ranks(self._ranked)
        self._rho: float | None = None
        if self.groups < len(values):
            sums: Floats = np.bincount(self._numbers, self._ranks).astype(np.float64)
            within = float(((self._ranks - (sums / self._sizes)[self._numbers]) ** 2).sum())
            self._rho = _alike(sums, self._sizes, within)

    def quantile(self, level: float) -> float | None:
        """Type 7, linear between the two nearest ranks; None of no values."""
        ranked = self._ranked
        return (
            float(type7(ranked, np.array([level * (len(ranked) - 1)]))[0]) if len(ranked) else None
        )

    def bounds(self, share: float, risk: float = RISK) -> Bounds:
        """See `percentile_bounds`."""
        turns, effective = len(self._ranked), self.effective(share)
        if not turns:
            return Bounds(-math.inf, math.inf, 0.0)
        allowed, refused = _over(turns, effective, 1 - share, risk)
        high = self._ranked[turns - allowed] if allowed else math.inf
        low = self._ranked[turns - refused] if refused <= turns else -math.inf
        return Bounds(float(low), float(high), effective)

    def effective(self, share: float | None = None) -> float:
        """See `effective_turns`."""
        turns, sizes = len(self._ranked), self._sizes
        if self.groups == turns:
            return float(turns)
        found = [self._rho]
        if share is not None:
            highest = self._numbers[np.searchsorted(self._ranks, share * turns, "right") :]
            hits = np.bincount(highest, minlength=len(sizes)).astype(np.float64)
            found.append(_alike(hits, sizes, float((hits * (sizes - hits) / sizes).sum())))
        known = [each for each in found if each is not None]
        return turns / (1 + (turns / self.least - 1) * max(known, default=1.0))


@lru_cache(1024)  # the columns of one Run mostly have the same number of turns
def _over(turns: int, effective: float, miss: float, risk: float) -> tuple[int, int]:
    """The fewest turns over a limit with which it is not passed, and with which it is failed."""
    scale = effective / turns
    return (
        _first(turns, lambda over: at_most(over * scale, effective, miss) > risk),
        _first(turns + 1, lambda over: at_least(over * scale, effective, miss) <= risk),
    )


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
    return Evidence(values, groups).effective(share)


def _ranks(ordered: Floats) -> Floats:
    """From 1, equal values sharing their mean rank; infinity is the highest."""
    ends = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    counts = np.diff(np.concatenate([[0], ends, [len(ordered)]]))
    last = np.cumsum(counts)
    return np.repeat(last - (counts - 1) / 2, counts)


def _alike(sums: Floats, sizes: Floats, within: float) -> float | None:
    """The upper end of the correlation within groups, from the analysis of variance: of the sums
    and sizes of groups, and the sum of squares within them.

    The estimate and its standard error are those of A. Donner, "A review of inference procedures
    for the intraclass correlation coefficient", 1986. None where nothing varies.
    """
    turns, count = float(sizes.sum()), len(sizes)
    between = float((sizes * (sums / sizes - sums.sum() / turns) ** 2).sum())
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
