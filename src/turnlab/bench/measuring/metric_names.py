"""How metrics are named in budgets and reports."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from turnlab.bench.measuring.metric_list import COMPONENT_METRICS, METRICS, Metric, judged
from turnlab.errors import InvalidBudget

__all__ = [
    "COMPONENT_METRICS",
    "DEPTHS",
    "METRICS",
    "STATISTICS",
    "Metric",
    "MetricName",
    "component_names",
    "parse_metric",
    "standard_names",
]

STATISTICS = ("p50", "p90", "p95", "p99", "mean")
"""What is reported of a metric that has a value a turn; budgets may name any pN."""

DEPTHS = (1, 3, 5)
"""The k at which `retrieval.hit@k` is reported; budgets may name any."""

_WITH_STATISTIC = re.compile(r"(.+)\.(p(?!0+(?:\.0*)?$)\d{1,2}(?:\.\d{1,3})?|mean)")
_DEPTH = re.compile(r"retrieval\.hit@([1-9]\d{0,2})")
_JUDGED = re.compile(r"judge\.([a-z][a-z0-9_]{0,63})")
_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class MetricName:
    """What a name such as `speech2text.model.p95` says."""

    text: str
    metric: Metric
    component: str = ""
    """Empty for a metric of the whole turn."""
    statistic: str = ""
    """Such as `p95` or `mean`; empty for metrics that are one figure."""
    depth: int = 0
    """The k of `retrieval.hit@k`; 0: all that were retrieved."""

    @property
    def level(self) -> float | None:
        """The quantile, such as 0.95; None if it is none."""
        return float(self.statistic[1:]) / 100 if self.statistic.startswith("p") else None

    @property
    def title(self) -> str:
        """What to call it on a page."""
        whose = f"{self.component}: " if self.component else ""
        told = f", {self.statistic}" if self.statistic else ""
        at = f" among the first {self.depth}" if self.depth else ""
        return f"{whose}{self.metric.title}{at}{told}"

    def __str__(self) -> str:
        return self.text


def parse_metric(text: str) -> MetricName:
    """What a metric's name says. Raises InvalidBudget that names the nearest ones."""
    text = text.strip()
    if found := _DEPTH.fullmatch(text):
        return MetricName(text=text, metric=METRICS["retrieval.hit"], depth=int(found[1]))
    if found := _JUDGED.fullmatch(text):
        return MetricName(text=text, metric=judged(found[1]))
    if (metric := METRICS.get(text)) and metric.statistic != "percentile":
        return MetricName(text=text, metric=metric)
    if found := _WITH_STATISTIC.fullmatch(text):
        component, _, name = found[1].rpartition(".")
        metric = (COMPONENT_METRICS if component else METRICS).get(name)
        if metric and metric.statistic == "percentile":
            return MetricName(text=text, metric=metric, component=component, statistic=found[2])
    raise InvalidBudget(_unknown(text))


_ASKED_FOR = ("cost_per_hour_of_speech", "cost_per_hour_of_reply")
"""Not reported unless somebody asks."""


def standard_names() -> Iterator[str]:
    """Every metric of a whole turn as it is reported, in the order of METRICS."""
    for metric in METRICS.values():
        if metric.name not in _ASKED_FOR:
            yield from _reported(metric, metric.name)


def component_names(component: str) -> Iterator[str]:
    """The same of one Component."""
    for metric in COMPONENT_METRICS.values():
        yield from _reported(metric, f"{component}.{metric.name}")


def _reported(metric: Metric, name: str) -> Iterator[str]:
    if metric.statistic == "percentile":
        yield from (f"{name}.{statistic}" for statistic in STATISTICS)
        return
    yield name
    if name == "retrieval.hit":
        yield from (f"{name}@{depth}" for depth in DEPTHS)


def _unknown(text: str) -> str:
    shown = repr(text[:_SHOWN])
    if text in METRICS:
        return f"{shown} has a value a turn: say which is meant, such as {text}.p95 or {text}.mean."
    whose, _, rest = text.partition(".")
    of_component = [f"{whose}.{name}.p95" for name in COMPONENT_METRICS] if rest else []
    names = [*standard_names(), *METRICS, *of_component]
    near = difflib.get_close_matches(text[:_SHOWN], names, n=3)
    if near:
        return f"There is no metric {shown}; did you mean {' or '.join(near)}?"
    return f"There is no metric {shown}; there are {', '.join(METRICS)}."
