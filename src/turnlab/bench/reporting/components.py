"""What a report tells of the Components of one Cluster in one mode."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.measuring.measures import ComponentMeasures, Measured, Values
from turnlab.bench.measuring.metrics import Estimate, component_estimates
from turnlab.reports.run_report import PERCENTILES, TIMES, ComponentLine, Figure, Spread
from turnlab.tracks import TrackStatus

INTERVALS_UP_TO = 2_000
"""Tracks of a subject: of more, the percentiles of Components are told without intervals, whose
resampling would take longer than all else."""


def figure(found: Estimate) -> Figure:
    """An estimate as the page has it."""
    return Figure(
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        why=found.why_absent,
        note=found.note,
    )


def component_lines(measured: Measured) -> tuple[ComponentLine, ...]:
    """Each Component in the Cluster's order, over the Tracks that completed."""
    done = measured.having(TrackStatus.COMPLETED)
    figures = _component_figures(measured, done)
    return tuple(
        _component(name, each, done, figures[name]) for name, each in measured.components.items()
    )


def _component_figures(measured: Measured, done: NDArray[np.bool_]) -> dict[str, dict[str, Figure]]:
    """By Component and by what it is of and its percentile; of many Tracks without intervals."""
    names = [f"{metric}.{percentile}" for metric in TIMES for percentile in PERCENTILES]
    if len(measured) <= INTERVALS_UP_TO:
        found = component_estimates(measured)
        return {
            each: {name: figure(found[f"{each}.{name}"]) for name in names}
            for each in measured.components
        }
    return {name: _quantiles(each, done) for name, each in measured.components.items()}


def _quantiles(measures: ComponentMeasures, done: NDArray[np.bool_]) -> dict[str, Figure]:
    levels = {percentile: float(percentile[1:]) / 100 for percentile in PERCENTILES}
    found = {}
    for metric in TIMES:
        values = getattr(measures, metric)[done]
        there = values[~np.isnan(values)]
        if there.size:
            points = np.quantile(there, list(levels.values())).tolist()
            for percentile, value in zip(levels, points, strict=True):
                found[f"{metric}.{percentile}"] = Figure(value=value, n=there.size)
    return found


def _component(
    name: str,
    measures: ComponentMeasures,
    done: NDArray[np.bool_],
    figures: Mapping[str, Figure],
) -> ComponentLine:
    return ComponentLine(
        name=name,
        figures=figures,
        task_name=measures.task_name,
        model=spread(measures.model[done]),
        transfer=spread(measures.transfer[done]),
        total=spread(measures.total[done]),
        cost_usd=_mean(measures.cost[done]),
        cpu_s=_mean(measures.cpu[done]),
    )


def spread(values: Values) -> Spread | None:
    """Mean and standard deviation; None of no values."""
    there = values[~np.isnan(values)]
    if not there.size:
        return None
    deviation = float(there.std(ddof=1)) if there.size > 1 else float("nan")
    return Spread(mean_s=float(there.mean()), deviation_s=deviation, n=there.size)


def _mean(values: Values) -> float | None:
    found = spread(values)
    return found.mean_s if found else None
