"""The tables of the page about a Run: figures, the summary and detail views, failures, means."""

from __future__ import annotations

import math
from collections.abc import Sequence

from turnlab.reports.run_charts import swatch
from turnlab.reports.run_report import (
    LATENCIES,
    PERCENTILES,
    TIMES,
    ComponentLine,
    DetailRow,
    Figure,
    RunReport,
    Spread,
    SubjectReport,
)
from turnlab.reports.run_terms import breakable, term
from turnlab.reports.run_values import NOTHING, amount, interval, number, unit_of
from turnlab.reports.tables import html_table
from turnlab.reports.words import escaped, shortened

MEANS = ("cost_per_turn", "cost_per_hour", "cpu.mean", "memory")
"""What a turn took of the machine and of the purse."""


def named(number_: int, subject: SubjectReport) -> str:
    """A subject with its colour."""
    return f"{swatch(number_)}{breakable(subject.name)}"


def figures_html(report: RunReport) -> str:
    """A table per metric of latency: percentiles with their intervals, a row per subject."""
    return "".join(_figures(report, metric) for metric in LATENCIES) + _notes(report.subjects)


def times_html(report: RunReport) -> str:
    """The same of what the Tasks of a turn took, and of each Component."""
    whole = "".join(_figures(report, metric) for metric in TIMES)
    parts = "".join(_component_times(i, s) for i, s in enumerate(report.subjects))
    return f"{whole}{parts}"


def _component_times(number_: int, subject: SubjectReport) -> str:
    rows = [
        [breakable(line.name), metric, *(cell(line.figures.get(n), "s") for n in names)]
        for line in subject.components
        for metric in TIMES
        for names in [[f"{metric}.{percentile}" for percentile in PERCENTILES]]
        if _known(line.figures.get(names[0]))
    ]
    if not rows:
        return ""
    table = html_table("Time by Component", ["", "", *PERCENTILES], rows, names=2, stacked=True)
    return f"<h3>{named(number_, subject)}, by Component, seconds</h3>{table}"


def _figures(report: RunReport, metric: str) -> str:
    shown = [(i, s) for i, s in enumerate(report.subjects) if f"{metric}.p50" in s.figures]
    if not any(s.figures[f"{metric}.p50"].value is not None for _, s in shown):
        return ""
    names = [f"{metric}.{percentile}" for percentile in PERCENTILES]
    rows = [
        [named(i, s), str(s.figures[names[0]].n), *(cell(s.figures.get(n), "s") for n in names)]
        for i, s in shown
    ]
    head = ["", "turns", *PERCENTILES]
    title = term(metric, report.meanings)
    return f"<h3>{title}, seconds</h3>" + html_table(escaped(metric), head, rows, stacked=True)


def cell(figure: Figure | None, unit: str) -> str:
    """A figure over its interval; a tip says why one is missing or open."""
    if figure is None or figure.value is None:
        why = escaped(figure.why) if figure else ""
        return f'<span title="{why}">{NOTHING}</span>' if why else NOTHING
    tip = f' title="{escaped(figure.note)}"' if figure.note else ""
    between = interval(figure, unit)
    under = f'<span class="between"{tip}>{escaped(between)}</span>' if between else ""
    return f"{number(figure.value, unit)}{under}"


def _notes(subjects: Sequence[SubjectReport]) -> str:
    figures = [
        figure
        for subject in subjects
        for metric in LATENCIES
        for percentile in PERCENTILES
        if (figure := subject.figures.get(f"{metric}.{percentile}"))
    ]
    shown = list(dict.fromkeys(figure.note for figure in figures if figure.note))[:3]
    said = "".join(f" Open intervals: {escaped(note, most=200)}." for note in shown[:1])
    return (
        '<p class="soft small">Beneath each figure: the interval that holds it in 95 of 100 such '
        f"Runs, by resampling whole turns with all their repetitions.{said}</p>"
    )


def summary_html(report: RunReport) -> str:
    """A row per Cluster with its Tracks, and one for each of its Components."""
    head = ["", "Tracks", "completed", "ratio", "model", "transfer", "total"]
    rows: list[list[str]] = []
    for i, subject in enumerate(report.subjects):
        done = subject.statuses.get("completed", 0)
        ratio = subject.figures.get("completed")
        told = amount(ratio.value, "ratio") if ratio else NOTHING
        counts = [f"{subject.tracks:,}", f"{done:,}", told]
        rows.append([named(i, subject), *counts, "", "", _spread(subject.total)])
        rows += [_component(each) for each in subject.components]
    return html_table("Summary by Cluster", head, rows, stacked=True) + (
        '<p class="soft small">Mean and standard deviation, in seconds; of a Cluster the total is '
        "the sum of model and transfer time of its Tasks, of a Component the time from claim to "
        "end.</p>"
    )


def _component(line: ComponentLine) -> list[str]:
    alias = f' <span class="soft">{escaped(line.task_name, most=80)}</span>'
    name = escaped(line.name, most=80) + (alias if line.task_name != line.name else "")
    spreads = (line.model, line.transfer, line.total)
    return [f'<span class="inner">{name}</span>', "", "", "", *map(_spread, spreads)]


def _spread(spread: Spread | None) -> str:
    if spread is None or not math.isfinite(spread.mean_s):
        return NOTHING
    mean = number(spread.mean_s, "s")
    if not math.isfinite(spread.deviation_s):
        return mean
    return f'{mean}<span class="between">± {number(spread.deviation_s, "s")}</span>'


def details_html(report: RunReport) -> str:
    """A folded table per subject with a row per Track: what each Task took."""
    return "".join(_details(i, subject) for i, subject in enumerate(report.subjects))


def _details(number_: int, subject: SubjectReport) -> str:
    if not subject.details:
        return ""
    each = [f"{escaped(c.name, most=40)} {of}" for c in subject.components for of in _OF]
    head = ["turn", "Track", "status", *each, "total"]
    table = html_table(f"Tracks of {escaped(subject.name)}", head, map(_track, subject.details))
    shown = len(subject.details)
    count = f"{shown:,} of {subject.tracks:,}" if shown < subject.tracks else f"{shown:,}"
    summary = f"<b>{named(number_, subject)}</b> <span>{count} Tracks</span>"
    return f"<details><summary>{summary}</summary>{table}</details>"


_OF = ("model", "transfer")


def _track(row: DetailRow) -> list[str]:
    times = [_bare(seconds) for pair in row.tasks for seconds in pair]
    status = f"{row.status}: {row.error}" if row.error else row.status
    turn = f"{shortened(row.turn_id, 60)} #{row.repeat}"
    cells = (turn, "…" + row.track_id[-8:], status)
    return [*(escaped(cell, most=80) for cell in cells), *times, _bare(row.total_s)]


def _bare(seconds: float) -> str:
    return f"{seconds:.3f}" if math.isfinite(seconds) else ""


def endings_html(report: RunReport) -> str:
    """How the Tracks of each subject ended; those that were cut short are in no other figure."""
    present = dict.fromkeys(s for subject in report.subjects for s in subject.statuses)
    rows = [
        [named(i, subject), *(f"{subject.statuses.get(each, 0):,}" for each in present)]
        for i, subject in enumerate(report.subjects)
    ]
    table = html_table("How Tracks ended", ["", *map(escaped, present)], rows, stacked=True)
    return table + _failures(report.subjects)


def _failures(subjects: Sequence[SubjectReport]) -> str:
    rows = [
        [
            named(i, subject),
            f"<code>{breakable(code)}</code>",
            breakable(component or "not known"),
            f"{count:,}",
            f"{100 * count / subject.tracks:.1f} %",
        ]
        for i, subject in enumerate(subjects)
        for component, code, count in subject.failures[:20]
    ]
    if not rows:
        return "<p>No turn failed.</p>"
    head = ["", "error", "Component", "turns", "share"]
    return "<h3>Failures</h3>" + html_table("Failures by code", head, rows, names=3, stacked=True)


def means_html(report: RunReport) -> str:
    """Cost, processor time and memory of a turn, and what of it each Component took."""
    names = [n for n in MEANS if any(_known(s.figures.get(n)) for s in report.subjects)]
    if not names:
        return _absent(report)
    meanings, rows = report.meanings, []
    head = ["", *(f"{term(n, meanings)} {UNITS[unit_of(n, meanings)]}" for n in names)]
    for i, subject in enumerate(report.subjects):
        cells = (cell(subject.figures.get(n), unit_of(n, meanings)) for n in names)
        rows.append([named(i, subject), *cells])
        rows += [_load(line, names) for line in subject.components if line.cpu_s or line.cost_usd]
    return html_table("Cost and load", head, rows, stacked=True) + _absent(report)


def _load(line: ComponentLine, names: Sequence[str]) -> list[str]:
    own = {"cost_per_turn": (line.cost_usd, "usd"), "cpu.mean": (line.cpu_s, "s")}
    name = f'<span class="inner">{escaped(line.name, most=80)}</span>'
    return [name, *(number(*own[each]) if each in own else "" for each in names)]


UNITS = {"s": "(s)", "usd": "(USD)", "mib": "(MiB)", "ratio": "(%)", "score": ""}
"""In the heads of tables."""


def _absent(report: RunReport) -> str:
    """What could not be measured, and why, each reason once."""
    found: dict[str, str] = {}
    for subject in report.subjects:
        for metric, why in subject.absent.items():
            found.setdefault(metric, why)
    items = "".join(
        f"<li>{term(metric, report.meanings)}: {escaped(why, most=300)}</li>"
        for metric, why in found.items()
    )
    return f'<p class="soft">Not measured:</p><ul class="soft small">{items}</ul>' if items else ""


def _known(figure: Figure | None) -> bool:
    return figure is not None and figure.value is not None
