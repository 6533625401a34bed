"""Comparison: how two Clusters, modes or Runs differ, turn by turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnlab.bench.measuring.distributions import normal_cdf
from turnlab.bench.measuring.measures import Measured, Subject
from turnlab.bench.measuring.metric_list import JUDGED
from turnlab.bench.measuring.metrics import MetricName, parse_metric
from turnlab.bench.measuring.pairing import PairedEstimate, paired_estimate
from turnlab.bench.verdicts.claims import Difference, headline, sentence_of
from turnlab.errors import RunsDiffer
from turnlab.runs import Run

COMPARED = (
    *(
        f"{metric}.{statistic}"
        for metric in ("voice_to_voice", "first_text", "first_sound", "end")
        for statistic in ("p50", "p95")
    ),
    *("wer", "cost_per_turn", "completed", "heard", "cpu.mean"),
)
"""The metrics that are compared, in this order; after them what a judge gave both."""

FEWEST_GROUPS = 6
"""Fewer different turns prove no difference: that all of five go one way happens by chance more
often than once in twenty times, 2 * (1/2)**5 = 0.0625."""

TOLERANCE = 0.05
"""A regression of time or cost is worse by more than this share of what it was."""

RISK = 0.05
"""How likely anything at all is called a change for which there is none."""

_SURE = 1.959964
"""How many standard deviations an end of an interval of 95 % is away."""

POINTS = 0.005
"""A regression of a ratio is worse by more than this: half a percentage point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How subject `b` differs from subject `a`, over the turns that both have."""

    a: Subject
    b: Subject
    names: tuple[str, str]
    """What the sentences call the two: by what they differ in."""
    rows: tuple[Difference, ...]
    sentence: str

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """What has become worse."""
        return tuple(row for row in self.rows if row.regression)


def compare(a: Measured, b: Measured, *, tolerance: float = TOLERANCE) -> Comparison:
    """How b differs from a, paired by turn and repetition; what is claimed is significant.

    A pair counts towards a figure if both sides have it: one of which a side failed counts towards
    `completed` alone. Raises RunsDiffer if the two are the same, or share no turn.
    """
    names = names_of(a.subject, b.subject)
    keys = [set(zip(each.turn_ids, each.repeats.tolist(), strict=True)) for each in (a, b)]
    if not keys[0] & keys[1]:
        raise RunsDiffer(f"{names[0]} and {names[1]} share no turn; there is nothing to compare.")
    judged = sorted(key for key in a.columns if key.startswith(JUDGED) and key in b.columns)
    rows = shown_by_all(
        [_difference(a, b, parse_metric(each), names, tolerance) for each in (*COMPARED, *judged)]
    )
    return Comparison(
        a=a.subject, b=b.subject, names=names, rows=rows, sentence=headline(rows, names)
    )


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise RunsDiffer unless all are Runs of one dataset, as it is."""
    first = runs[0]
    for other in runs[1:]:
        if other.dataset_hash != first.dataset_hash:
            changed = "the same dataset, which was changed in between"
            told = f"{first.dataset} and {other.dataset}"
            raise RunsDiffer(
                f"{first.id} and {other.id} are of "
                f"{changed if first.dataset == other.dataset else 'different datasets'} ({told}); "
                "only Runs of the same turns can be compared."
            )


def other_conditions(runs: Sequence[Run]) -> list[str]:
    """What Runs ran under that the first one did not, in words: figures may differ for it alone."""
    first, *others = map(_conditions, runs)
    return [
        f"{run.id} had {', '.join(unlike)}, {runs[0].id} had not; "
        "figures may differ for that alone."
        for run, own in zip(runs[1:], others, strict=True)
        if (unlike := [f"{name} {own[name]}" for name in first if own[name] != first[name]])
    ]


def _conditions(run: Run) -> dict[str, Any]:
    asked, host = run.asked, run.pins.get("host", {})
    return {
        "the pace": asked.get("pace"),
        "turns at once:": asked.get("concurrency"),
        "the processor": host.get("processor"),
        "cores:": host.get("cores"),
    }


def names_of(a: Subject, b: Subject) -> tuple[str, str]:
    """What to call the two: by Cluster, mode or Run, whatever tells them apart.

    Raises RunsDiffer if nothing does.
    """
    if a == b:
        raise RunsDiffer(f"{a} of {a.run_id} is the same on both sides; name something else.")
    if a.cluster != b.cluster and a.mode == b.mode:
        return a.cluster, b.cluster
    if a.cluster != b.cluster:
        return str(a), str(b)
    if a.run_id == b.run_id:
        return a.mode, b.mode
    mode = a.mode != b.mode
    first, second = (f"{each.run_id} ({each.mode})" if mode else each.run_id for each in (a, b))
    return first, second


def _difference(
    a: Measured, b: Measured, name: MetricName, names: tuple[str, str], tolerance: float
) -> Difference:
    found = paired_estimate(a, b, name)
    enough = found.groups >= _needed(name)
    low, high = (found.low, found.high) if enough else (None, None)
    significant = low is not None and high is not None and not low <= 0 <= high
    difference = Difference(
        metric=name.text,
        title=name.title,
        unit=name.metric.unit,
        better=name.metric.better,
        a=found.first,
        b=found.second,
        difference=found.difference,
        low=low,
        high=high,
        ratio=found.ratio,
        n=found.n,
        groups=found.groups,
        significant=significant,
        regression=significant and _worse_by(found, name) > _tolerated(found, name, tolerance),
    )
    absent = found.why_absent or f"too few turns to tell ({found.groups} of {_needed(name)})"
    return replace(difference, sentence=sentence_of(difference, names, absent))


def shown_by_all(rows: Sequence[Difference]) -> tuple[Difference, ...]:
    """The rows, of which only those remain regressions that are shown by Holm's test of all.

    Of a dozen metrics of equal sides one differs significantly now and then. S. Holm, "A simple
    sequentially rejective multiple test procedure", 1979: the most certain must be so at 5 % over
    the number of metrics, the next at 5 % over one less, and so on until one is not.
    """
    chances = sorted((_chance(row), at) for at, row in enumerate(rows) if row.low is not None)
    kept = set()
    for rank, (chance, at) in enumerate(chances):
        if chance * (len(chances) - rank) > RISK:
            break
        kept.add(at)
    return tuple(
        replace(row, regression=row.regression and at in kept) for at, row in enumerate(rows)
    )


def _chance(row: Difference) -> float:
    """How likely so large a difference is where there is none, from its interval: D. G. Altman,
    J. M. Bland, "How to obtain the P value from a confidence interval", 2011, with the end of
    the interval that is nearer to 0."""
    if not row.difference or row.low is None or row.high is None:
        return 1.0
    reach = abs(row.difference - (row.low if row.difference > 0 else row.high))
    return 2 * normal_cdf(-abs(row.difference) / reach * _SURE) if reach else 0.0


def _needed(name: MetricName) -> int:
    """How many different turns a claim takes: at a percentile, one must be expected beyond it."""
    beyond = 1 if name.level is None else math.ceil(round(1 / (1 - name.level), 6))
    return max(FEWEST_GROUPS, beyond)


def _worse_by(found: PairedEstimate, name: MetricName) -> float:
    sign = 1 if name.metric.better == "less" else -1
    return sign * (found.difference or 0.0)


def _tolerated(found: PairedEstimate, name: MetricName, tolerance: float) -> float:
    return POINTS if name.metric.unit == "ratio" else tolerance * (found.first or 0.0)
