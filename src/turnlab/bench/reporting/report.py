"""The report on Runs, made of what was measured, judged and compared: plain values for pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from turnlab.bench.judging.scores import JudgeScores
from turnlab.bench.measuring.measures import Measured, Subject
from turnlab.bench.reporting.lines import comparison_report, ruling
from turnlab.bench.reporting.meanings import accuracy_names, meanings
from turnlab.bench.reporting.pinned import pins_of, unfinished
from turnlab.bench.reporting.subject import subject_report
from turnlab.bench.reporting.telling import MOST_TRACKS, Rows, landmarks, telling
from turnlab.bench.verdicts.comparison import (
    Comparison,
    check_comparable,
    compare,
    other_conditions,
)
from turnlab.bench.verdicts.verdict import Judgement
from turnlab.errors import RunsDiffer
from turnlab.reports.run_report import (
    ComparisonReport,
    RunReport,
    SubjectReport,
    ToldTurn,
)
from turnlab.reports.run_words import headline
from turnlab.reports.turn import TurnReport
from turnlab.runs import Run

Tell = Callable[[Sequence[str]], Iterable[TurnReport]]
"""The full reports of the Tracks with these ids."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that a report is made of."""

    runs: Sequence[Run]
    measured: Sequence[Measured]
    judgements: Sequence[Judgement]
    comparisons: Sequence[Comparison] = ()
    not_compared: str = ""
    """Why not, where there is something that cannot be."""
    scores: JudgeScores | None = None
    """What a judge gave the replies, if one did."""


def run_report(
    found: Findings,
    tell: Tell,
    *,
    most_tracks: int = MOST_TRACKS,
    made_at: datetime | None = None,
) -> RunReport:
    """The report, with at most `most_tracks` Tracks told one by one.

    `tell` is asked once, for the turns of note first and then for the others.
    """
    names = subject_names(found)
    rows = telling(found.measured, most_tracks)
    marks = [landmarks(measured) for measured in found.measured]
    told = _told(found, names, marks, rows, tell)
    subjects = tuple(
        subject_report(
            measured,
            names[measured.subject],
            budget_s=_budget_s(found.judgements, measured.subject),
            scores=found.scores,
            told={name: told[measured.track_ids[row]] for name, row in marked.items()},
            rows=own.tolist(),
        )
        for measured, marked, own in zip(found.measured, marks, rows, strict=True)
    )
    rulings = tuple(ruling(each, names) for each in found.judgements)
    refused = [_refused(found, names)] if found.not_compared and len(names) > 1 else []
    return RunReport(
        title=_title(found.runs),
        headline=headline(subjects, rulings),
        subjects=subjects,
        rulings=rulings,
        comparisons=(*(comparison_report(each, names) for each in found.comparisons), *refused),
        turns=tuple(_listed(found.measured, rows, told)),
        meanings=meanings(_figure_names(found, subjects), found.scores),
        accuracy=accuracy_names(found.scores),
        pins=pins_of(found.runs, made_at or datetime.now(UTC)),
        remarks=(*unfinished(found.runs), *other_conditions(found.runs)),
    )


def compared(runs: Sequence[Run], measured: Sequence[Measured]) -> tuple[list[Comparison], str]:
    """What there is to compare, and why not where that cannot be.

    Each subject with the first one of the same Cluster and mode, in a Run before its own; else with
    the first of the same mode, else with the first of all.
    """
    found, refused = [], ""
    try:
        check_comparable(runs)
    except RunsDiffer as error:
        return [], error.message
    for number, each in enumerate(measured[1:], 1):
        try:
            found.append(compare(_before(number, measured), each))
        except RunsDiffer as error:
            refused = error.message
    return found, refused


def _before(number: int, measured: Sequence[Measured]) -> Measured:
    """What the subject at a place is compared with."""
    own, earlier = measured[number].subject, measured[:number]
    same = (e for e in earlier if (e.subject.cluster, e.subject.mode) == (own.cluster, own.mode))
    alike = (e for e in earlier if e.subject.mode == own.mode)
    return next(same, next(alike, measured[0]))


def subject_names(found: Findings) -> dict[Subject, str]:
    """What each subject is called: with its Run where there are several."""
    several = len({measured.subject.run_id for measured in found.measured}) > 1
    runs = {run.id: run.name or run.id for run in found.runs}
    return {
        each.subject: f"{each.subject}, {runs.get(each.subject.run_id, each.subject.run_id)}"
        if several
        else str(each.subject)
        for each in found.measured
    }


def _title(runs: Sequence[Run]) -> str:
    told = " and ".join(f"{run.name or run.id} on {run.dataset}" for run in runs[:4])
    return f"Turnlab: {told}"


def _told(
    found: Findings,
    names: Mapping[Subject, str],
    marks: Sequence[dict[str, int]],
    rows: Sequence[Rows],
    tell: Tell,
) -> dict[str, ToldTurn]:
    """The Tracks that are told, by id."""
    places = [
        (m, row) for m, marked in zip(found.measured, marks, strict=True) for row in marked.values()
    ]
    places += [
        (m, row) for m, own in zip(found.measured, rows, strict=True) for row in own.tolist()
    ]
    by_id = {measured.track_ids[row]: (measured, row) for measured, row in places}
    return {
        turn.track_id: _told_turn(*by_id[turn.track_id], names, turn) for turn in tell(list(by_id))
    }


def _told_turn(
    measured: Measured, row: int, names: Mapping[Subject, str], turn: TurnReport
) -> ToldTurn:
    errors, words = (measured.columns.get(key) for key in ("word_errors", "words"))
    wer = None
    if errors is not None and words is not None and np.isfinite(errors[row]) and words[row] > 0:
        wer = float(errors[row] / words[row])
    return ToldTurn(
        subject=names[measured.subject],
        turn_id=measured.turn_ids[row],
        repeat=int(measured.repeats[row]),
        turn=turn,
        wer=wer,
    )


def _listed(
    measured: Sequence[Measured], rows: Sequence[Rows], told: Mapping[str, ToldTurn]
) -> Iterable[ToldTurn]:
    """Those with a failed Track first, then by the slowest of each turn of the dataset."""
    worst: dict[str, float] = {}
    for each, own in zip(measured, rows, strict=True):
        latency = np.where(each.counts, each.columns["voice_to_voice"], np.inf)
        for row in own.tolist():
            turn_id = each.turn_ids[row]
            worst[turn_id] = max(worst.get(turn_id, 0.0), float(latency[row]))
    listed = [
        told[each.track_ids[row]]
        for each, own in zip(measured, rows, strict=True)
        for row in own.tolist()
    ]
    return sorted(listed, key=lambda turn: (-worst[turn.turn_id], turn.turn_id, turn.repeat))


def _budget_s(judgements: Sequence[Judgement], subject: Subject) -> float | None:
    """The strictest limit on voice-to-voice latency."""
    bounds = [
        each.limit.bound
        for each in judgements
        if each.subject == subject
        and each.limit.upper
        and each.limit.metric.startswith("voice_to_voice.")
    ]
    return min(bounds, default=None)


def _refused(found: Findings, names: Mapping[Subject, str]) -> ComparisonReport:
    first, second = (names[each.subject] for each in found.measured[:2])
    return ComparisonReport(
        a=first, b=second, sentence="", differences=(), refused=found.not_compared
    )


def _figure_names(found: Findings, subjects: Sequence[SubjectReport]) -> list[str]:
    """Every figure that is told of anywhere, once."""
    names = [name for subject in subjects for name in subject.figures]
    names += [each.limit.metric for each in found.judgements]
    names += [line.metric for each in found.comparisons for line in each.rows]
    return list(dict.fromkeys(names))
