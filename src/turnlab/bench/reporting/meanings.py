"""What the figures of a report are, in words."""

from __future__ import annotations

from collections.abc import Iterable

from turnlab.bench.judging.scores import JudgeScores
from turnlab.bench.measuring.accuracy import METRICS_OF
from turnlab.bench.measuring.metrics import METRICS, Metric, parse_metric
from turnlab.reports.run_report import Meaning

_JUDGED = "judge."


def accuracy_names(scores: JudgeScores | None) -> tuple[str, ...]:
    """The figures that tell how right a Cluster is: what a judge gave, then error rates."""
    judged = [f"{_JUDGED}{criterion}" for criterion in (scores.by_criterion if scores else ())]
    return (*judged, *(name for names in METRICS_OF.values() for name in names))


def meanings(names: Iterable[str], scores: JudgeScores | None) -> dict[str, Meaning]:
    """What these figures are, and each metric itself under its own name."""
    judged = scores.by_criterion if scores else {}
    parsed = [parse_metric(name) for name in names if not name.startswith(_JUDGED)]
    metrics = {**METRICS, **{name.metric.name: name.metric for name in parsed}}
    return (
        {name: _meaning(metric, metric.title) for name, metric in metrics.items()}
        | {name.text: _meaning(name.metric, name.title) for name in parsed}
        | {f"{_JUDGED}{each}": _judge_meaning(each, scores) for each in judged}
    )


def _meaning(metric: Metric, title: str) -> Meaning:
    return Meaning(
        title=title,
        unit=metric.unit,
        formula=metric.formula,
        of=metric.name,
        better=metric.better,
    )


def _judge_meaning(criterion: str, scores: JudgeScores | None) -> Meaning:
    judge = scores.judge if scores else ""
    return Meaning(
        title=f"Judged {criterion}",
        unit="score",
        formula=f"mean score that {judge} gave the replies, by a rubric",
        of=f"{_JUDGED}{criterion}",
        better="more",
    )
