"""Percentiles, and intervals that respect that repetitions of one turn are not independent.

Intervals hold the true figure in 95 of 100 Runs such as this one, with other turns of the same
sort. They come from resampling (the bootstrap) whole groups: a turn of the dataset with all its
repetitions, or a conversation with all its turns. Percentile intervals of few groups are too
narrow, so they are widened as Student's t is wider than the normal (the expanded percentile
interval of T. Hesterberg, "What teachers should know about the bootstrap", 2015, section 5.3).
Those of percentiles in the tails reach at least to the exact bounds of the binomial distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from turnlab.bench.measuring.distributions import beta_quantile, normal_cdf, t_quantile
from turnlab.bench.measuring.evidence import Evidence, effective_turns
from turnlab.bench.measuring.resampling import Floats, Ints, Resampling, divided, type7

__all__ = [
    "LEVEL",
    "Floats",
    "Interval",
    "Ints",
    "Resampling",
    "binomial_interval",
    "divided",
    "interval",
    "quantile",
    "quantile_interval",
    "share_interval",
]

LEVEL = 0.95
"""Of all intervals."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends; None where the values say nothing of that end, and `note` says why."""

    low: float | None
    high: float | None
    note: str = ""


def quantile(values: Floats, q: float) -> float:
    """The `q` quantile, linear between the two nearest ranks (NumPy's `linear`, type 7 of Hyndman
    and Fan 1996); NaN of no values."""
    return float(np.quantile(values, q)) if values.size else math.nan


def interval(draws: Floats, groups: int) -> Interval:
    """The expanded percentile interval of a figure's `draws` from `groups` groups."""
    if groups < 2:
        return Interval(None, None, _ONLY_ONE)
    known = draws[~np.isnan(draws)]
    if not known.size:
        return Interval(None, None, "no resample has a value")
    tail = _tail(groups)
    low, high = type7(np.sort(known), np.array([tail, 1 - tail]) * (len(known) - 1))
    return Interval(float(low), float(high))


_ONLY_ONE = "one turn alone says nothing of how much others vary"


@cache
def _tail(groups: int) -> float:
    """What the expanded percentile interval of so many groups leaves out at either end."""
    wider = math.sqrt(groups / (groups - 1)) * t_quantile((1 + LEVEL) / 2, groups - 1)
    return normal_cdf(-wider)


def quantile_interval(draws: Floats, evidence: Evidence, q: float) -> Interval:
    """The same of a quantile of the values that `evidence` holds.

    Resamples hold no value beyond the largest, and few near it: in the tails their interval is
    too narrow. Away from the median it is therefore widened to the exact bounds, by which limits
    are judged too. At any level it is open at an end that so few turns cannot bound: that no value
    of n independent ones lies above the true quantile has the chance q**n, and where that is above
    2.5 % the largest value is no upper end.
    """
    found = interval(draws, evidence.groups)
    needed = math.ceil(math.log(_END) / math.log(max(q, 1 - q)))
    if found.low is None or found.high is None or (q == _MEDIAN and evidence.least >= needed):
        return found
    ends, exact = [found.low, found.high], evidence.bounds(q, _END)
    if q != _MEDIAN:
        ends = [min(found.low, exact.low), max(found.high, exact.high)]
    known = math.isfinite(exact.low), math.isfinite(exact.high)
    low, high = (end if there else None for end, there in zip(ends, known, strict=True))
    if all(known):
        return Interval(low, high)
    side = "lower" if known[1] else "upper" if known[0] else "lower or upper"
    counted = math.floor(exact.effective)
    note = f"no {side} end: that takes {needed} independent turns, these count as {counted}"
    return Interval(low, high, note)


_END = (1 - LEVEL) / 2
_MEDIAN = 0.5


def share_interval(hits: Floats, groups: Ints) -> Interval:
    """Of a share of turns, `hits` being 0 or 1 each: the exact binomial interval, for the
    effective number of turns where those of a group are alike (Korn and Graubard 1998)."""
    size = effective_turns(hits, groups)
    return Interval(*binomial_interval(float(hits.mean()) * size, size))


def binomial_interval(hits: float, size: float, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson (1934) of the chance behind `hits` of `size`."""
    tail = (1 - level) / 2
    low = beta_quantile(tail, hits, size - hits + 1) if hits > 0 else 0.0
    high = beta_quantile(1 - tail, hits + 1, size - hits) if hits < size else 1.0
    return low, high
