"""What turns say about one limit: within, over, or too few to tell, with what it is based on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from turnlab.bench.measuring.evidence import (
    MOST_TURNS,
    RISK,
    Bounds,
    Floats,
    Ints,
    effective_turns,
    percentile_bounds,
    turns_until,
)
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metrics import Estimate, MetricName, estimate, sample
from turnlab.bench.measuring.statistics import binomial_interval
from turnlab.bench.verdicts.outcome import Finding, Outcome, absent
from turnlab.bench.verdicts.words import bound, called, percentile, with_ends
from turnlab.clusters.budget import Comparison, Limit
from turnlab.tracks import TrackStatus

__all__ = [
    "FEWEST_GROUPS",
    "LATENCIES",
    "Outcome",
    "decide",
    "find",
    "of_percentile",
    "with_failed",
]

FEWEST_GROUPS = 10
"""A mean of fewer independent turns is not judged: they say too little of how much turns vary."""


LATENCIES = ("voice_to_voice", "first_text", "first_sound", "end")
"""What a turn has only if its reply was heard."""


def decide(limit: Limit, low: float | None, high: float | None) -> Outcome:
    """Pass if the whole interval keeps the limit, fail if none of it does; None is an open end."""
    worst, best = (high, low) if limit.upper else (low, high)
    if worst is not None and limit.keeps(worst):
        return Outcome.PASS
    if best is not None and not limit.keeps(best):
        return Outcome.FAIL
    return Outcome.UNDECIDED


def find(measured: Measured, limit: Limit, name: MetricName) -> Finding:
    """What the turns of one subject say about a limit on `name`."""
    found = sample(measured, name)
    groups = measured.groups()
    if name.level is not None and name.metric.unit == "s":
        values = with_failed(measured, found.values, name)
        return of_percentile(values, groups, limit, name, found.why_absent)
    if found.value() is None:
        return absent(found.why_absent)
    if name.level is not None:
        return of_percentile(found.values, groups, limit, name)
    if found.share:
        return _of_share(found.values[found.there], groups[found.there], limit, name)
    if name.metric.statistic == "peak":
        return _of_peak(estimate(measured, name), limit, name)
    finding = _of_mean(estimate(measured, name), limit, name)
    if name.metric.unit != "s":
        return finding
    late = with_failed(measured, np.zeros(len(measured)), name)
    return _with_lost(finding, int(np.isinf(late).sum()), name)


def with_failed(measured: Measured, values: Floats, name: MetricName) -> Floats:
    """A failed turn is over any limit of time, and so is one whose reply was never heard."""
    late = measured.having(TrackStatus.FAILED)
    if not name.component and name.metric.name in LATENCIES:
        late |= measured.having(TrackStatus.COMPLETED) & ~measured.counts
    elif np.isnan(values).all():
        return values  # measured nowhere: not what failed turns could be late with
    return np.where(late, math.inf, values)


def of_percentile(
    values: Floats, groups: Ints, limit: Limit, name: MetricName, why_absent: str = ""
) -> Finding:
    """A value a turn, NaN for those that are left out, infinity for those over any limit."""
    there = ~np.isnan(values)
    values, groups = values[there], groups[there]
    heard = values[np.isfinite(values)]
    if not len(values):
        return absent(why_absent or "there are no values")
    if not heard.size:
        return _unheard(len(values))
    share = name.level or 0.0
    bounds = percentile_bounds(values, groups, share)
    outcome = decide(limit, bounds.low, bounds.high)
    within = how_many_keep(limit, values)
    value = _quantile(values, share)
    more = None
    if outcome is Outcome.UNDECIDED:
        more = turns_until(1 - within / len(values), 1 - share, bounds.effective)
    found = _estimate(value, bounds, len(values), groups)
    lost = len(values) - len(heard)
    if value is None:
        answered = float(np.quantile(heard, share))
        told = f"no time at all: so many failed; of those answered {answered:.3f} s"
    else:
        told = with_ends(found, name)
    facts = (
        f"{called(name)} is within {bound(limit, name)} in {within} of {len(values)} turns"
        f"{_beside(lost, bounds, len(values))}, its {percentile(name)} {told}"
    )
    return Finding(
        outcome=outcome,
        estimate=found,
        facts=facts,
        turns=len(values),
        within=within,
        more_turns=more,
    )


def _quantile(values: Floats, share: float) -> float | None:
    """The quantile (type 7); None where that is infinite."""
    upper = np.sort(values)[math.ceil(share * (len(values) - 1))]
    return float(np.quantile(values, share)) if math.isfinite(upper) else None


def _unheard(turns: int) -> Finding:
    facts = f"no reply was heard in {turns} turns" if turns > 1 else "no reply was heard"
    nothing = Estimate(None, n=turns, why_absent=facts)
    return Finding(outcome=Outcome.FAIL, estimate=nothing, facts=facts, turns=turns, within=0)


def how_many_keep(limit: Limit, values: Floats) -> int:
    """How many of the values keep an upper limit."""
    keeps = np.less_equal if limit.comparison is Comparison.AT_MOST else np.less
    return int(keeps(values, limit.bound).sum())


def _beside(failed: int, bounds: Bounds, turns: int) -> str:
    """A remark where some failed, and where repetitions count for less than turns of their own."""
    told = [f"{failed} failed"] if failed else []
    if bounds.effective < 0.99 * turns:
        alike = "since repetitions and turns of one conversation are alike"
        told.append(f"they count as {bounds.effective:.0f}, {alike}")
    return f" ({'; '.join(told)})" if told else ""


def _estimate(value: float | None, bounds: Bounds, turns: int, groups: Ints) -> Estimate:
    low, high = (end if math.isfinite(end) else None for end in (bounds.low, bounds.high))
    return Estimate(value, low, high, n=turns, groups=len(np.unique(groups)))


def _of_share(hits: Floats, groups: Ints, limit: Limit, name: MetricName) -> Finding:
    """The share of turns with a 1, by the exact binomial interval of an effective number."""
    turns, right, effective = len(hits), int(hits.sum()), effective_turns(hits, groups)
    low, high = binomial_interval(right / turns * effective, effective, 1 - 2 * RISK)
    outcome, bounds = decide(limit, low, high), Bounds(low, high, effective)
    more = None
    if outcome is Outcome.UNDECIDED:
        more = turns_until(1 - right / turns, 1 - limit.bound, effective)
    found = _estimate(right / turns, bounds, turns, groups)
    facts = (
        f"{right} of {turns} are {called(name)}{_beside(0, bounds, turns)}, "
        f"{with_ends(found, name)}, the limit {bound(limit, name)}"
    )
    return Finding(outcome=outcome, estimate=found, facts=facts, turns=turns, more_turns=more)


def _of_mean(found: Estimate, limit: Limit, name: MetricName) -> Finding:
    """A mean or a ratio of sums, by its bootstrap interval."""
    few = found.groups < FEWEST_GROUPS
    outcome = Outcome.UNDECIDED if few else decide(limit, found.low, found.high)
    facts = (
        f"{called(name)} is {with_ends(found, name)} over {found.n} turns, "
        f"the limit {bound(limit, name)}"
    )
    more = _more_for_mean(found, limit) if outcome is Outcome.UNDECIDED else None
    return Finding(outcome=outcome, estimate=found, facts=facts, turns=found.n, more_turns=more)


def _with_lost(finding: Finding, lost: int, name: MetricName) -> Finding:
    """Of a mean time: turns that failed would have taken longer than any, nobody knows how long.
    So it may be over its limit, but is never proved to be within it."""
    if not lost or finding.outcome is Outcome.FAIL:
        return finding
    turns, they = ("1 turn", "it") if lost == 1 else (f"{lost} turns", "they")
    whole = name.text.removesuffix(f".{name.statistic}")
    barred = (
        f"{turns} failed or stayed silent, and nobody knows how long {they} would have taken: "
        f"set a limit on {whole}.p95"
    )
    return replace(finding, outcome=Outcome.UNDECIDED, more_turns=None, barred=barred)


def _more_for_mean(found: Estimate, limit: Limit) -> int | None:
    """Until the interval, which narrows as one over the root of the turns, leaves the limit."""
    wanting = max(0, FEWEST_GROUPS - found.groups)
    if found.value is None or found.low is None or found.high is None:
        return wanting or None
    apart = limit.bound - found.value
    half = found.high - found.value if apart > 0 else found.value - found.low
    if not apart:
        return None
    more = max(wanting, math.ceil(found.groups * ((half / apart) ** 2 - 1)), 1)
    return more if more <= MOST_TURNS else None


def _of_peak(found: Estimate, limit: Limit, name: MetricName) -> Finding:
    """The most that was ever measured: it holds for these turns, whatever others may bring."""
    kept = found.value is not None and limit.keeps(found.value)
    facts = (
        f"{called(name)} is {with_ends(found, name)} over {found.n} turns, "
        f"the limit {bound(limit, name)}"
    )
    outcome = Outcome.PASS if kept else Outcome.FAIL
    return Finding(outcome=outcome, estimate=found, facts=facts, turns=found.n)
