"""Budgets: limits on what is measured, checked against the metrics that there are."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from turnlab.bench.measuring.metric_names import MetricName, parse_metric
from turnlab.clusters.budget import Limit, read_limit
from turnlab.errors import InvalidBudget

__all__ = ["Limit", "check_limit", "parse_limit", "parse_limits"]

_OPEN = ("wer", "cer")
"""Ratios that may be above 1: more words may be wrong than were said."""

_UNITS = {"s": "seconds", "usd": "US dollars", "ratio": "a ratio", "mib": "MiB", "score": "points"}


def parse_limit(text: str) -> Limit:
    """The limit that `text` writes, such as `voice_to_voice.p95 <= 1.0`, `wer <= 10%`.

    Raises InvalidBudget if it is none, with the nearest names where there is no such metric.
    """
    limit = read_limit(text)
    check_limit(limit)
    return limit


def parse_limits(texts: Iterable[str]) -> tuple[Limit, ...]:
    """The same of several, each once."""
    return tuple(dict.fromkeys(map(parse_limit, texts)))


def check_limit(limit: Limit, components: Collection[str] | None = None) -> MetricName:
    """What a limit is on, if it makes sense: metric, unit, direction, and size.

    `components` are the names that a Cluster has, where they are known. Raises InvalidBudget.
    """
    name = parse_metric(limit.metric)
    metric = name.metric
    if limit.unit not in ("", metric.unit):
        raise InvalidBudget(f"`{limit}`: {name} is measured in {_UNITS[metric.unit]}.")
    if limit.upper != (metric.better == "less"):
        sign = "<=" if metric.better == "less" else ">="
        raise InvalidBudget(f"`{limit}`: {metric.better} of {name} is better; write {sign}.")
    if metric.unit == "ratio" and limit.bound > 1:
        _check_ratio(limit, name)
    if metric.unit in ("s", "mib") and not limit.bound:
        raise InvalidBudget(f"`{limit}`: give a number above 0.")
    if components is not None and name.component and name.component not in components:
        near = difflib.get_close_matches(name.component, components, n=3)
        there = f"there are {', '.join(components)}."
        remedy = f"did you mean {' or '.join(near)}?" if near else there
        raise InvalidBudget(f"`{limit}`: there is no Component {name.component!r}; {remedy}")
    return name


def _check_ratio(limit: Limit, name: MetricName) -> None:
    """Refuse a ratio above 1 that cannot be, or is more likely to be meant in per cent."""
    per_cent = f"{limit.bound:g}%"
    meant = f"write {limit.bound / 100:g} or {per_cent}" if 2 <= limit.bound <= 100 else ""
    if name.metric.name not in _OPEN:
        remedy = "" if limit.unit or not meant else f"; {meant}"
        raise InvalidBudget(f"`{limit}`: {name} is a ratio of at most 1{remedy}.")
    if meant and not limit.unit:
        large = f"{limit.bound * 100:g}%"
        raise InvalidBudget(f"`{limit}`: that is {large}; {meant}, or {large} if it is meant.")
