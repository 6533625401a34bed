"""How figures, metrics and limits are called in sentences."""

from __future__ import annotations

from turnlab.bench.measuring.metrics import Estimate, MetricName
from turnlab.clusters.budget import Limit
from turnlab.reports.run_values import amount, number

_UNITS = {"s": " s", "usd": " USD", "mib": " MiB"}


def called(name: MetricName) -> str:
    """A metric in the middle of a sentence, such as `voice to voice`, `speech2text's inference`."""
    title = name.metric.title.lower()
    at = f" among the first {name.depth}" if name.depth else ""
    mean = "mean " if name.statistic == "mean" else ""
    if name.component:
        return f"{name.component}'s {mean}{title}"
    the = "the " if name.metric.statistic != "percentile" and name.metric.better == "less" else ""
    return f"{the}{mean}{title}{at}"


def percentile(name: MetricName) -> str:
    """Such as `median`, `95th percentile`."""
    if name.level is None:
        return name.statistic
    order = name.statistic[1:]
    if name.level == 0.5:
        return "median"
    plain = "." in order or order[-2:] in ("11", "12", "13")
    ending = "th" if plain else {"1": "st", "2": "nd", "3": "rd"}.get(order[-1], "th")
    return f"{order}{ending} percentile"


def bound(limit: Limit, name: MetricName) -> str:
    """The number of a limit with its unit, such as `0.8 s`, `10 %`."""
    if name.metric.unit == "ratio":
        return f"{limit.bound * 100:g} %"
    return f"{limit.bound:g}{_UNITS.get(name.metric.unit, '')}"


def with_ends(found: Estimate, name: MetricName) -> str:
    """A figure and its interval, such as `0.812 s (0.741-0.953)`."""
    unit = name.metric.unit
    low, high = (number(end, unit) for end in (found.low, found.high))
    told = amount(found.value, unit)
    match found.low, found.high:
        case None, None:
            return told
        case None, _:
            return f"{told} (at most {high})"
        case _, None:
            return f"{told} ({low} or more)"
    return f"{told} ({low}-{high})"
