"""Who is to blame for a limit that is broken, and how much they would have to give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metrics import MetricName, sample
from turnlab.bench.measuring.resampling import Floats, Ints
from turnlab.bench.verdicts.findings import how_many_keep, with_failed
from turnlab.bench.verdicts.words import percentile
from turnlab.chunks import Transcript
from turnlab.clusters.budget import Limit
from turnlab.profiles import SpanKind
from turnlab.reports.run_values import amount
from turnlab.tracks import TrackStatus

NEAREST = 0.05
"""What a Component takes at a percentile is its mean over this share of turns, those nearest."""

FEWEST_NEAREST = 5
"""Of turns, where NEAREST would be fewer; but never more than lie beyond the percentile, twice."""

_HALVINGS = 40
_ERRORS = {"wer": ("word_errors", "words"), "cer": ("character_errors", "characters")}

Parts = Mapping[tuple[str, str], Floats]
"""What a time consists of, by Component and kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Who would have to give the least of its own for the figure to keep the limit."""

    component: str
    """Empty where it is not known which one."""
    kind: str
    """What its time goes into, such as `model`; or `cost`, `errors`, `failed`."""
    share_s: float | None
    """What it takes of the figure, in seconds; None where the figure is none of time."""
    must_give_s: float | None
    """How much of that would have to go; None where that alone is not enough, or of no use."""
    sentence: str


def blame(measured: Measured, limit: Limit, name: MetricName) -> Blame | None:
    """Who is to blame that a subject breaks a limit; None where that cannot be told.

    Of time: the Component and kind whose time would have to shrink by the smallest share, alone,
    until the figure as measured is at the limit. Of errors in the transcript: who transcribes. Of
    cost: the costliest. Of failures: who fails most often.
    """
    if name.metric.name == "completed" or not measured.having(TrackStatus.COMPLETED).any():
        return _of_failures(measured)
    if name.metric.name in _ERRORS:
        return _of_errors(measured, limit, name)
    if name.metric.unit == "usd":
        return _of_cost(measured, limit, name)
    return _of_time(measured, limit, name) if name.metric.unit == "s" else None


def _of_failures(measured: Measured) -> Blame | None:
    if not measured.failures:
        return None
    (component, code), count = measured.failures.most_common(1)[0]
    total = measured.failures.total()
    who = component or "an unknown Component"
    return Blame(
        component=component,
        kind="failed",
        share_s=None,
        must_give_s=None,
        sentence=f"{who} failed in {count} of the {total} turns that failed ({code}).",
    )


def _of_errors(measured: Measured, limit: Limit, name: MetricName) -> Blame | None:
    who = _transcriber(measured)
    errors, words = (measured.columns.get(key) for key in _ERRORS[name.metric.name])
    if who is None or errors is None or words is None:
        return None
    made, among = float(np.nansum(errors)), float(np.nansum(words[~np.isnan(errors)]))
    fewer = max(1, math.ceil(made - limit.bound * among))
    told = f"{who} makes {made:.0f} errors in {among:.0f} {_ERRORS[name.metric.name][1]}"
    sentence = f"{told}; it would have to make {fewer} fewer."
    return Blame(component=who, kind="errors", share_s=None, must_give_s=None, sentence=sentence)


def _transcriber(measured: Measured) -> str | None:
    """Who writes the Transcript, or the only one of which is not known what it makes."""
    makes = {name: each.produces for name, each in measured.components.items()}
    writes = [name for name, kind in makes.items() if kind == Transcript.kind]
    found = writes or [name for name, kind in makes.items() if not kind]
    return found[0] if len(found) == 1 else None


def _of_cost(measured: Measured, limit: Limit, name: MetricName) -> Blame | None:
    done = measured.having(TrackStatus.COMPLETED)
    charged = {who: each.cost[done] for who, each in measured.components.items()}
    costs = {
        who: float(np.nanmean(cost))
        for who, cost in charged.items()
        if not np.isnan(cost).all() and name.component in ("", who)
    }
    value = sample(measured, name).value()
    total = sum(costs.values())
    if not total or not value:
        return None
    who = max(costs, key=lambda component: costs[component])
    less = total * (1 - limit.bound / value)
    share = less / costs[who]
    remedy = f"it would have to be {amount(less, 'usd')} ({share * 100:.0f} %) cheaper"
    if share >= 1:
        remedy = "that alone, even for nothing, would not be enough"
    told = f"{who} costs {amount(costs[who], 'usd')} of the {amount(total, 'usd')} of a turn"
    sentence = f"{told}; {remedy}."
    return Blame(component=who, kind="cost", share_s=None, must_give_s=None, sentence=sentence)


def _of_time(measured: Measured, limit: Limit, name: MetricName) -> Blame | None:
    values = with_failed(measured, sample(measured, name).values, name)
    there = ~np.isnan(values)
    values = values[there]
    if not _kept(np.where(np.isfinite(values), 0.0, values), limit, name):
        return _of_failures(measured)  # no time at all would still be too late too often
    if name.component:
        return _of_its_own(values, limit, name)
    parts = {key: np.nan_to_num(part[there]) for key, part in _parts(measured, name).items()}
    if not parts:
        return _longest(measured, name)
    changes = {key: _least_change(values, part, limit, name) for key, part in parts.items()}
    return _told(values, parts, changes, limit, name)


def _parts(measured: Measured, name: MetricName) -> Parts:
    """What the metric is a sum of; nothing for what is no sum."""
    key = name.metric.name
    match key:
        case "voice_to_voice":
            return {(who, str(kind)): part for (who, kind), part in measured.stages.items()}
        case "first_sound":
            stages = measured.stages.items()
            return {(w, str(k)): part for (w, k), part in stages if k is not SpanKind.PLAYOUT}
        case "model" | "transfer" | "queue" | "wait" | "cpu":
            return {(who, key): getattr(each, key) for who, each in measured.components.items()}
    return {}


def _of_its_own(values: Floats, limit: Limit, name: MetricName) -> Blame:
    """Of a limit on a Component: the figure is its time and nothing else."""
    whole_s, failed = _figure_s(values, name), int(np.isinf(values).sum())
    gives_s = whole_s - limit.bound
    if failed or gives_s <= 0:  # then more of its turns must keep the limit than the figure says
        own = np.where(np.isfinite(values), values, 0.0)
        gives_s = _least_change(values, own, limit, name) * whole_s
    key, takes = name.metric.name, _seconds(whole_s)
    remedy = f"it would have to be {_seconds(gives_s)} s ({gives_s / whole_s * 100:.0f} %) faster"
    sentence = (
        f"{name.component} ({key}) takes {takes} s {_where(name)}; {remedy}{_beside(failed)}."
    )
    return Blame(
        component=name.component,
        kind=key,
        share_s=whole_s,
        must_give_s=gives_s,
        sentence=sentence,
    )


def _figure_s(values: Floats, name: MetricName) -> float:
    """The figure of the turns that were heard."""
    heard = values[np.isfinite(values)]
    return float(heard.mean() if name.level is None else np.quantile(heard, name.level))


def _where(name: MetricName) -> str:
    return f"at the {percentile(name)}" if name.level is not None else "on average"


def _beside(failed: int) -> str:
    return f", as {failed} failed turns count as over it" if failed else ""


def _kept(values: Floats, limit: Limit, name: MetricName) -> bool:
    """Whether the figure of these values, as they are, is within the limit."""
    if name.level is None:
        return limit.keeps(float(values[np.isfinite(values)].mean()))
    over = len(values) - how_many_keep(limit, values)
    return over <= (1 - name.level) * len(values) + 1e-9


def _least_change(values: Floats, part: Floats, limit: Limit, name: MetricName) -> float:
    """The least share of `part` that would have to go; infinite if all of it is not enough."""
    if not part.any() or not _kept(values - part, limit, name):
        return math.inf
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _kept(values - middle * part, limit, name) else (middle, high)
    return high


def _told(
    values: Floats,
    parts: Parts,
    changes: Mapping[tuple[str, str], float],
    limit: Limit,
    name: MetricName,
) -> Blame:
    near = _nearest(values, name)
    takes_s = {key: float(part[near].mean()) for key, part in parts.items()}
    # Of those that would have to change by the same share, the one that takes most.
    component, kind = who = min(parts, key=lambda key: (changes[key], -takes_s[key]))
    takes, whole = _seconds(takes_s[who]), _seconds(_figure_s(values, name))
    told = f"{component} ({kind}) takes {takes} s of the {whole} s {_where(name)}"
    change = changes[who]
    gives = _seconds(change * takes_s[who])
    remedy = f"it would have to be {gives} s ({change * 100:.0f} %) faster"
    if math.isinf(change):
        remedy = f"that alone, even in no time, would not be enough for {limit}"
    return Blame(
        component=component,
        kind=kind,
        share_s=takes_s[who],
        must_give_s=None if math.isinf(change) else change * takes_s[who],
        sentence=f"{told}; {remedy}{_beside(int(np.isinf(values).sum()))}.",
    )


def _nearest(values: Floats, name: MetricName) -> Ints:
    """The turns nearest to the percentile, all that were heard for a mean."""
    heard = np.flatnonzero(np.isfinite(values))
    if name.level is None:
        return heard
    distance = np.abs(values[heard] - np.quantile(values[heard], name.level))
    about = round(2 * (1 - name.level) * len(heard))
    count = max(1, min(about, max(FEWEST_NEAREST, round(NEAREST * len(heard)))))
    return heard[np.argsort(distance, kind="stable")[:count]]


def _longest(measured: Measured, name: MetricName) -> Blame | None:
    """Of a time that is no sum of others: the Component that works longest in such turns."""
    column = "first_output" if name.metric.name == "first_text" else "total"
    values = sample(measured, name).values
    near = _nearest(values, name)
    takes_s = {who: getattr(each, column)[near] for who, each in measured.components.items()}
    known = {who: float(np.nanmean(of)) for who, of in takes_s.items() if not np.isnan(of).all()}
    if not known:
        return None
    who = max(known, key=lambda component: known[component])
    until = "first output" if column == "first_output" else "end"
    sentence = f"{who} takes longest, {_seconds(known[who])} s from its beginning to its {until}."
    return Blame(
        component=who, kind="model", share_s=known[who], must_give_s=None, sentence=sentence
    )


def _seconds(value: float) -> str:
    """To the hundredth, to the thousandth where that would be less than two digits."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
