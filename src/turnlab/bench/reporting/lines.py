"""Judgements and comparisons as plain values for pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from turnlab.bench.measuring.measures import Subject
from turnlab.bench.measuring.metrics import parse_metric
from turnlab.bench.reporting.components import figure
from turnlab.bench.verdicts.claims import Difference
from turnlab.bench.verdicts.comparison import Comparison
from turnlab.bench.verdicts.verdict import Judgement
from turnlab.reports.run_report import ComparisonReport, DifferenceLine, Ruling


def ruling(judgement: Judgement, names: Mapping[Subject, str]) -> Ruling:
    """A judgement as the page has it."""
    subject, blame = judgement.subject, judgement.blame
    return Ruling(
        subject=names[subject] if subject else "",
        limit=judgement.limit.text,
        metric=judgement.limit.metric,
        unit=parse_metric(judgement.limit.metric).metric.unit,
        bound=judgement.limit.bound,
        outcome=str(judgement.outcome),
        figure=figure(judgement.estimate),
        sentence=judgement.sentence,
        blame=blame.sentence if blame else "",
    )


def comparison_report(found: Comparison, names: Mapping[Subject, str]) -> ComparisonReport:
    """A comparison as the page has it, without what neither side has."""
    rows = (row for row in found.rows if row.a is not None or row.b is not None)
    return ComparisonReport(
        a=names[found.a],
        b=names[found.b],
        sentence=_where(found, names) + found.sentence,
        differences=tuple(map(_difference, rows)),
        worse="worse" if found.a.run_id == found.b.run_id else "regression",
    )


def _where(found: Comparison, names: Collection[Subject]) -> str:
    """What the sentence leaves out since both sides share it: only where others do not."""
    shared = [
        getattr(found.a, key)
        for key in ("cluster", "mode")
        if getattr(found.a, key) == getattr(found.b, key)
        and len({getattr(each, key) for each in names}) > 1
    ]
    return f"{', '.join(shared)}: " if shared else ""


def _difference(row: Difference) -> DifferenceLine:
    return DifferenceLine(
        metric=row.metric,
        title=row.title,
        unit=row.unit,
        a=row.a,
        b=row.b,
        difference=row.difference,
        low=row.low,
        high=row.high,
        ratio=row.ratio,
        regression=row.regression,
        sentence=row.sentence,
        better=row.better,
    )
