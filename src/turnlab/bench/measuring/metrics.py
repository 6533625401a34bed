"""Figures of what was measured, each with its interval; docs/reference/metrics.md defines them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.measuring.evidence import Evidence
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metric_list import JUDGED
from turnlab.bench.measuring.metric_names import (
    COMPONENT_METRICS,
    METRICS,
    Metric,
    MetricName,
    component_names,
    parse_metric,
    standard_names,
)
from turnlab.bench.measuring.resampling import in_order
from turnlab.bench.measuring.samples import Sample, paired_samples, sample
from turnlab.bench.measuring.statistics import (
    Interval,
    Resampling,
    interval,
    quantile_interval,
    share_interval,
)

__all__ = [
    "COMPONENT_METRICS",
    "METRICS",
    "NO_INTERVAL",
    "Estimate",
    "Metric",
    "MetricName",
    "Sample",
    "component_estimates",
    "estimate",
    "estimates",
    "paired_samples",
    "parse_metric",
    "sample",
]


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval that holds it in 95 of 100 such Runs."""

    value: float | None
    """In the metric's unit; None where there is none, and `why_absent` says why."""
    low: float | None = None
    high: float | None = None
    """None where the turns say nothing of that end, and `note` says why."""
    n: int = 0
    """How many turns it is made from."""
    groups: int = 0
    """How many of them are independent: turns of the dataset, or conversations."""
    why_absent: str = ""
    note: str = ""


def estimate(measured: Measured, name: MetricName | str, *, seed: int = 0) -> Estimate:
    """A metric of all turns, with its interval.

    Raises InvalidBudget for a name that is none. What has no value, for want of references for
    instance, is absent with a reason, never 0.
    """
    (found,) = _estimates(measured, [name], seed).values()
    return found


def estimates(measured: Measured, *, seed: int = 0) -> dict[str, Estimate]:
    """Every metric of the whole turn that is reported, by name, in the order of METRICS; then what
    a judge gave, where the replies were judged."""
    judged = sorted(name for name in measured.columns if name.startswith(JUDGED))
    return _estimates(measured, [*standard_names(), *judged], seed)


def component_estimates(measured: Measured, *, seed: int = 0) -> dict[str, Estimate]:
    """The same of every Component, such as `speech2text.model.p95`."""
    names = [name for each in measured.components for name in component_names(each)]
    return _estimates(measured, names, seed)


def _estimates(
    measured: Measured, names: Iterable[MetricName | str], seed: int
) -> dict[str, Estimate]:
    groups = measured.groups()
    resampling = Resampling(groups, seed=seed)
    alike: dict[tuple[str, str, int], list[MetricName]] = {}
    for name in names:
        asked = parse_metric(name) if isinstance(name, str) else name
        alike.setdefault((asked.component, asked.metric.name, asked.depth), []).append(asked)
    return {
        asked.text: found
        for each in alike.values()
        for asked, found in _of_column(sample(measured, each[0]), each, resampling, groups)
    }


def _of_column(
    column: Sample, names: Sequence[MetricName], resampling: Resampling, groups: NDArray[np.int64]
) -> Iterator[tuple[MetricName, Estimate]]:
    """Everything that is asked of one column, which is sorted and resampled once for it."""
    there = column.there
    own = groups[there]
    levels = [name.level for name in names if name.level is not None]
    order = in_order(column.values) if levels else np.flatnonzero(there)
    evidence = Evidence(column.values[order], groups[order])
    count, among = len(own), evidence.groups
    draws = dict(zip(levels, resampling.quantiles(column.values, levels, order), strict=True))
    for name in names:
        asked = replace(column, name=name)
        value = asked.value() if name.level is None else evidence.quantile(name.level)
        if value is None:
            yield name, Estimate(None, n=count, groups=among, why_absent=column.why_absent)
        elif name.level is not None:
            found = quantile_interval(draws[name.level], evidence, name.level)
            yield name, Estimate(value, found.low, found.high, count, among, note=found.note)
        else:
            found = _interval(asked, resampling, own, among)
            yield name, Estimate(value, found.low, found.high, count, among, note=found.note)


def _interval(
    sample: Sample, resampling: Resampling, groups: NDArray[np.int64], among: int
) -> Interval:
    """Of a figure that is no quantile; `groups` of the turns that have it, so many different."""
    if sample.name.metric.statistic == "peak":
        return NO_INTERVAL
    if sample.share:
        return share_interval(sample.values[sample.there], groups)
    return interval(sample.draws(resampling), among)


NO_INTERVAL = Interval(None, None, "a maximum has no interval: more turns can only raise it")
