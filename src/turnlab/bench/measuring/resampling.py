"""The bootstrap: figures of resamples, which draw whole groups of turns with replacement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 1_000
FEWEST_RESAMPLES = 400
_EASY = 10_000
"""Up to so many values are resampled RESAMPLES times; beyond, as often as costs the same, but
never less than FEWEST_RESAMPLES times."""

MOST_BLOCKS = 2_000
"""More groups than this are joined at random into so many blocks, which are resampled instead: the
width of an interval then varies by 1.6 % for it (1 / sqrt(2 * 2,000))."""

EXACT = 200
"""Up to so many values the quantiles of resamples are found by counting."""

_AROUND = np.linspace(-4, 4, 9)
"""Where a resample is counted around a quantile, in standard deviations of how many of its values
lie below that."""


@lru_cache(4)  # of one Run they are mostly the same
def _draws(size: int, resamples: int, seed: int) -> tuple[Floats, NDArray[np.float32]]:
    """How often each of `size` blocks is in each resample, a row a resample; and the same in half
    the memory, exact up to 16 million."""
    drawn = np.random.default_rng(seed).integers(0, size, (resamples, size))
    drawn += size * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)
    return counts.astype(np.float64), counts.astype(np.float32)


_ALONE_UP_TO = 1 << 18


def _product(weights: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
    """`weights @ table`, in pieces so small that BLAS computes each in one thread: to wait for a
    second one costs it far more than it saves wherever something else is running."""
    found = np.empty((len(weights), table.shape[1]), dtype=weights.dtype)
    at_once = max(1, _ALONE_UP_TO // table.size)
    for start in range(0, len(weights), at_once):
        np.matmul(weights[start : start + at_once], table, out=found[start : start + at_once])
    return found


def in_order(values: Floats) -> Ints:
    """Where the values are that are none of NaN, from the least to the greatest."""
    there = np.flatnonzero(~np.isnan(values))
    return there[np.argsort(values[there], kind="stable")]


def divided(above: Floats, below: Floats) -> Floats:
    """`above / below`, NaN where that is not defined."""
    quotients: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)
    return quotients


class Resampling:
    """The same draws of groups for every figure of some turns, so that figures can be paired.

    `groups` is a number a turn, equal for turns that belong together. A method takes a column of
    the same length, leaves NaN out, and returns an array of figures, one a resample (NaN where a
    resample holds no value at all). Equal seeds give equal draws.
    """

    def __init__(self, groups: Ints, *, seed: int = 0) -> None:
        names, self._group = np.unique(groups, return_inverse=True)
        self._size = max(1, min(len(names), MOST_BLOCKS))
        self._block = self._group
        if len(names) > MOST_BLOCKS:
            joined = np.random.default_rng((seed, len(names))).permutation(len(names))
            self._block = (joined % MOST_BLOCKS)[self._group]
        often = _EASY * RESAMPLES // max(1, len(groups))
        self.resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, often))
        self._weights, self._for_counts = _draws(self._size, self.resamples, seed)

    def groups_of(self, values: Floats) -> int:
        """How many groups have a value."""
        return len(np.unique(self._group[~np.isnan(values)]))

    def means(self, values: Floats) -> Floats:
        """Of the mean."""
        return self.ratios(values, np.where(np.isnan(values), np.nan, 1.0))

    def ratios(self, above: Floats, below: Floats) -> Floats:
        """Of the sum of `above` over that of `below`, over turns that have both."""
        there = ~(np.isnan(above) | np.isnan(below))
        blocks = self._block[there]
        sums = [np.bincount(blocks, each[there], self._size) for each in (above, below)]
        drawn = _product(self._weights, np.stack(sums, axis=1))
        return divided(drawn[:, 0], drawn[:, 1])

    def quantiles(
        self, values: Floats, levels: Sequence[float], order: Ints | None = None
    ) -> list[Floats]:
        """Of the quantiles at `levels`, type 7 in each resample.

        `order` is that of `in_order(values)`, where it is known already.

        Of more than EXACT values a resample's are not counted one by one but up to and with each
        of some ranks around a quantile, and taken as even between these.
        """
        if not levels:
            return []
        order = in_order(values) if order is None else order
        ordered, blocks = values[order], self._block[order]
        if len(order) <= EXACT:
            return list(self._exact(ordered, blocks, levels))
        return [type7(ordered, ranks) for ranks in self._ranks(blocks, levels)]

    def _ranks(self, blocks: Ints, levels: Sequence[float]) -> Iterator[Floats]:
        """The ranks among all values (from 0) of each resample's quantiles; `blocks` of the values
        in order."""
        own = [self._marks(blocks, level) for level in levels]
        marks = np.unique(np.concatenate(own))
        section = np.searchsorted(marks, np.arange(len(blocks)))
        held = np.bincount(blocks * len(marks) + section, minlength=self._size * len(marks))
        table = held.reshape(self._size, len(marks)).astype(np.float32)
        counts = np.cumsum(_product(self._for_counts, table), axis=1, dtype=np.float64)
        for level, each in zip(levels, own, strict=True):
            yield _crossings(counts[:, np.searchsorted(marks, each)], each, level)

    def _marks(self, blocks: Ints, level: float) -> Ints:
        """Ranks up to and with which the values of resamples are counted."""
        last, sizes = len(blocks) - 1, np.bincount(blocks, minlength=self._size)
        at = round(level * last)
        surplus = np.bincount(blocks[:at], minlength=self._size) - at / len(blocks) * sizes
        around = at + math.sqrt(float(surplus @ surplus)) * _AROUND
        return np.unique(np.clip(np.rint([0, *around, last]), 0, last)).astype(np.int64)

    def _exact(self, ordered: Floats, blocks: Ints, levels: Sequence[float]) -> Floats:
        """The quantiles of each resample, a row a level: its values are counted one by one."""
        if not len(ordered):
            return np.full((len(levels), self.resamples), np.nan)
        running = np.cumsum(self._weights[:, blocks], axis=1)
        ranks = np.multiply.outer(np.array(levels), running[:, -1] - 1)
        ends = []
        for side in (np.floor(ranks), np.ceil(ranks)):
            found = [(running <= rank[:, None]).sum(axis=1) for rank in side]
            ends.append(ordered[np.minimum(found, len(ordered) - 1)])
        drawn = ends[0] + (ranks - np.floor(ranks)) * (ends[1] - ends[0])
        return np.where(ranks >= 0, drawn, np.nan)


def _crossings(counts: Floats, marks: Ints, level: float) -> Floats:
    """The rank at which each resample, a row of `counts` up to and with `marks`, has as many values
    as lie below its quantile; NaN for one without values."""
    rows, total = np.arange(len(counts)), counts[:, -1]
    wanted = level * (total - 1) + 1
    right = np.clip((counts < wanted[:, None]).sum(axis=1), 1, len(marks) - 1)
    before, after = counts[rows, right - 1], counts[rows, right]
    share = np.clip(divided(wanted - before, after - before), 0, 1)
    left = marks[right - 1]
    return np.where(total > 0, left + share * (marks[right] - left), np.nan)


def type7(ordered: Floats, ranks: Floats) -> Floats:
    """The values at ranks from 0, linear between two; NaN at NaN."""
    lower = np.floor(np.nan_to_num(ranks)).astype(np.int64)
    upper = np.minimum(lower + 1, len(ordered) - 1)
    found: Floats = ordered[lower] + (ranks - lower) * (ordered[upper] - ordered[lower])
    return found
