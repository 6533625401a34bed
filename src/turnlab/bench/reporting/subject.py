"""What a report tells of one Cluster in one mode: figures, stages, Components, how turns ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.judging.scores import JudgeScores, columns
from turnlab.bench.measuring.measures import Measured, Values
from turnlab.bench.measuring.metrics import (
    estimates,
)
from turnlab.bench.measuring.statistics import Resampling, interval
from turnlab.bench.reporting.components import component_lines, figure, spread
from turnlab.bench.reporting.telling import lost
from turnlab.reports.numbers import Stage
from turnlab.reports.run_report import (
    LATENCIES,
    DetailRow,
    Figure,
    SubjectReport,
    ToldTurn,
)
from turnlab.tracks import TrackStatus

SILENT = "of these without a sound"
UNFINISHED = "unfinished"


def subject_report(
    measured: Measured,
    name: str,
    *,
    budget_s: float | None,
    scores: JudgeScores | None,
    told: Mapping[str, ToldTurn],
    rows: Iterable[int],
) -> SubjectReport:
    """All that a page tells of the subject; `told` are its turns of note, `rows` those of its
    Tracks that are listed one by one."""
    subject = measured.subject
    return SubjectReport(
        name=name,
        cluster=subject.cluster,
        mode=subject.mode,
        run_id=subject.run_id,
        tracks=len(measured),
        statuses=statuses(measured),
        lost=int(lost(measured).sum()),
        latencies={metric: _sorted(measured, metric) for metric in LATENCIES},
        figures=_figures(measured) | _judged(measured, scores),
        budget_s=budget_s,
        stages=_stages(measured),
        components=component_lines(measured),
        total=spread(_work_s(measured)[_completed(measured)]),
        landmarks=told,
        failures=tuple((where, code, n) for (where, code), n in measured.failures.most_common()),
        absent=measured.absent,
        details=tuple(_details(measured, rows)),
    )


def statuses(measured: Measured) -> dict[str, int]:
    """How many Tracks ended how; those that a crash has left are `unfinished`."""
    ended = (TrackStatus.COMPLETED, TrackStatus.FAILED, TrackStatus.CANCELLED)
    counted = Counter(measured.statuses)
    found = {str(status): counted.pop(str(status), 0) for status in ended}
    silent = int((_completed(measured) & ~measured.counts).sum())
    more = {SILENT: silent, UNFINISHED: counted.total()}
    return found | {name: count for name, count in more.items() if count}


def _completed(measured: Measured) -> NDArray[np.bool_]:
    return measured.having(TrackStatus.COMPLETED)


def _sorted(measured: Measured, metric: str) -> Values:
    values = measured.columns[metric][measured.counts]
    return np.sort(values[~np.isnan(values)])


def _figures(measured: Measured) -> dict[str, Figure]:
    return {name: figure(found) for name, found in estimates(measured).items()}


def _judged(measured: Measured, scores: JudgeScores | None) -> dict[str, Figure]:
    """The mean score of each criterion, with its interval."""
    if scores is None:
        return {}
    resampling, found = Resampling(measured.groups()), {}
    for name, values in columns(scores, measured.track_ids).items():
        there = values[~np.isnan(values)]
        if there.size:
            ends = interval(resampling.means(values), resampling.groups_of(values))
            mean = float(there.mean())
            found[name] = Figure(
                value=mean, low=ends.low, high=ends.high, n=there.size, note=ends.note
            )
    return found


def _stages(measured: Measured) -> tuple[Stage, ...]:
    """The critical path by Component and kind, over turns that count."""
    if not measured.stages or not measured.counts.any():
        return ()
    seconds = np.array([column[measured.counts] for column in measured.stages.values()])
    totals = seconds.sum(axis=0)
    shares = np.divide(seconds, totals, out=np.zeros_like(seconds), where=totals > 0)
    facts = zip(
        measured.stages,
        seconds.mean(axis=1).tolist(),
        np.median(seconds, axis=1).tolist(),
        shares.mean(axis=1).tolist(),
        np.median(shares, axis=1).tolist(),
        strict=True,
    )
    return tuple(
        Stage(
            component=component,
            kind=kind,
            mean_s=mean,
            median_s=median,
            mean_share=mean_share,
            median_share=median_share,
        )
        for (component, kind), mean, median, mean_share, median_share in facts
    )


def _work_s(measured: Measured) -> Values:
    """Model and transfer seconds of all Tasks of each Track."""
    return measured.columns["model"] + np.nan_to_num(measured.columns["transfer"])


def _details(measured: Measured, rows: Iterable[int]) -> Iterable[DetailRow]:
    work = _work_s(measured)
    for row in rows:
        yield DetailRow(
            track_id=measured.track_ids[row],
            turn_id=measured.turn_ids[row],
            repeat=int(measured.repeats[row]),
            status=measured.statuses[row],
            error=measured.errors[row],
            tasks=tuple(
                (float(each.model[row]), float(each.transfer[row]))
                for each in measured.components.values()
            ),
            total_s=float(work[row]),
        )
