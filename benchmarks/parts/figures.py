"""Medians, 95th percentiles, and ratios with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Ratios of two variants, each with its 95 % interval.

    `median` and `p95` are ratios of the variants' own percentiles; `paired` is the median of
    the ratios turn by turn, which how much utterances differ does not blur.
    """

    n: int
    median: float
    median_interval: tuple[float, float]
    p95: float
    p95_interval: tuple[float, float]
    paired: float
    paired_interval: tuple[float, float]


def quantile(values: Sequence[float], percent: float) -> float:
    """The percentile, interpolated; NaN of nothing."""
    return float(np.percentile(values, percent)) if values else float("nan")


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """`above` by `below`; the two are paired, and pairs are drawn again for the interval."""
    pairs = np.array([above, below], dtype=np.float64)
    count = pairs.shape[1]
    draws = np.random.default_rng(1).integers(0, count, (RESAMPLES, count))
    drawn = pairs[:, draws]
    return Ratio(
        n=count,
        median=_ratios(pairs, 50).item(),
        median_interval=_interval(_ratios(drawn, 50)),
        p95=_ratios(pairs, 95).item(),
        p95_interval=_interval(_ratios(drawn, 95)),
        paired=float(np.median(pairs[0] / pairs[1])),
        paired_interval=_interval(np.median(drawn[0] / drawn[1], axis=-1)),
    )


def _ratios(pairs: NDArray[np.float64], percent: float) -> NDArray[np.float64]:
    above, below = np.percentile(pairs, percent, axis=-1)
    return np.asarray(above / below)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
