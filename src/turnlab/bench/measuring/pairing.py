"""A metric of two Measured, paired turn by turn, so that differences between turns cancel out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metrics import NO_INTERVAL, MetricName, Sample, paired_samples, sample
from turnlab.bench.measuring.statistics import Interval, Resampling, divided, interval

MEDIAN = 0.5


@dataclass(frozen=True)
class PairedEstimate:
    """A metric in the turns that two sides share. Intervals hold 95 of 100, see statistics."""

    first: float | None
    second: float | None
    difference: float | None = None
    """`second - first`; of a median, the median of the differences turn by turn."""
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    """`second / first`; None where `first` is 0."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    n: int = 0
    """Turns that both sides have: the same turn of the dataset in the same repetition."""
    groups: int = 0
    why_absent: str = ""
    note: str = ""


def paired_estimate(
    first: Measured, second: Measured, name: MetricName | str, *, seed: int = 0
) -> PairedEstimate:
    """The difference and the ratio of a metric between two sides, with intervals.

    Both figures come from the same turns, and in each resample from the same draws of them. At the
    median the difference is the median of all differences turn by turn, which is not blurred by
    what turns differ in among themselves; it need not be the difference of the two medians. Raises
    InvalidBudget for a name that is none.
    """
    one, other, groups = paired_samples(first, second, name)
    values = one.value(), other.value()
    count, among = int(one.there.sum()), len(np.unique(groups[one.there]))
    if values[0] is None or values[1] is None:
        return replace(_of_one_side(first, second, one.name), n=count, groups=among)
    told = _intervals(one, other, Resampling(groups, seed=seed), among)
    return PairedEstimate(
        *values,
        difference=_difference(one, other, values[1] - values[0]),
        low=told[0].low,
        high=told[0].high,
        ratio=values[1] / values[0] if values[0] else None,
        ratio_low=told[1].low,
        ratio_high=told[1].high,
        n=count,
        groups=among,
        note=told[0].note,
    )


def _of_one_side(first: Measured, second: Measured, name: MetricName) -> PairedEstimate:
    """Where only one side has the figure: that of all its turns, and why the other has none."""
    sides = sample(first, name), sample(second, name)
    values = sides[0].value(), sides[1].value()
    lacking = [side.why_absent for side, value in zip(sides, values, strict=True) if value is None]
    if not lacking:  # each in turns that the other has not
        return PairedEstimate(None, None, why_absent="no turn has it on both sides")
    return PairedEstimate(*values, why_absent=lacking[0])


def _difference(one: Sample, other: Sample, of_values: float) -> float:
    """Turn by turn at the median, else that of the two values."""
    if not _turn_by_turn(one):
        return of_values
    return float(np.nanmedian(other.values - one.values))


def _turn_by_turn(one: Sample) -> bool:
    return one.name.level == MEDIAN and one.over is None


def _intervals(
    one: Sample, other: Sample, resampling: Resampling, groups: int
) -> tuple[Interval, Interval]:
    """Of the difference, and of the ratio."""
    if one.name.metric.statistic == "peak":
        return NO_INTERVAL, NO_INTERVAL
    draws = one.draws(resampling), other.draws(resampling)
    differences = draws[1] - draws[0]
    if _turn_by_turn(one):
        differences = resampling.quantiles(other.values - one.values, [MEDIAN])[0]
    return interval(differences, groups), interval(divided(draws[1], draws[0]), groups)
