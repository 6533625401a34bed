"""Figures, verdicts and comparisons of Runs at a terminal: readable in 80 columns and in ASCII."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from turnlab.reports.run_report import (
    ComparisonReport,
    DifferenceLine,
    Figure,
    Ruling,
    SubjectReport,
)
from turnlab.reports.run_values import amount, interval, number, signed, with_interval
from turnlab.reports.run_words import word_of
from turnlab.reports.terminal import Line, indented

LATENCIES = (
    ("voice_to_voice", "voice to voice"),
    ("first_text", "first text"),
    ("first_sound", "first sound"),
    ("end", "end of reply"),
)
OTHERS = (
    ("wer", "WER", "ratio"),
    ("cer", "CER", "ratio"),
    ("retrieval.hit", "retrieved", "ratio"),
    ("emotion.accuracy", "emotions", "ratio"),
    ("cost_per_turn", "cost a turn", "usd"),
    ("cost_per_hour", "an hour of talk", "usd"),
    ("cpu.mean", "processor", "s"),
    ("memory", "memory", "mib"),
)
"""What is told in a row of facts: name, title, unit."""

_GAP = (0, 1, 0, 0)
_STYLES = {"pass": "bold green", "fail": "bold red", "undecided": "bold yellow"}


def figures_view(subjects: Sequence[SubjectReport]) -> RenderableType:
    """Each subject with how its turns ended, its latencies with their intervals, and the rest."""
    return Group(*(part for subject in subjects for part in _subject(subject)))


def _subject(subject: SubjectReport) -> list[RenderableType]:
    ended = ", ".join(f"{count} {status}" for status, count in subject.statuses.items() if count)
    parts: list[RenderableType] = [
        Line(subject.name, "bold"),
        indented(Line(f"{subject.tracks} turns: {ended}" if ended else "no turns")),
    ]
    if any(_known(subject, f"{name}.p50") for name, _ in LATENCIES):
        parts.append(_latencies(subject.figures))
    facts = [
        f"{title} {with_interval(subject.figures[name], unit)}"
        for name, title, unit in OTHERS
        if _known(subject, name)
    ]
    if facts:
        parts.append(indented(Line("; ".join(facts))))
    for component, code, count in subject.failures:
        parts.append(indented(Line(f"failed: {code} in {component or '?'} ({count})", "red")))
    return [*parts, Text()]


def _known(subject: SubjectReport, name: str) -> bool:
    return name in subject.figures and subject.figures[name].value is not None


def _latencies(figures: Mapping[str, Figure]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=_GAP, pad_edge=False)
    table.add_column("seconds", no_wrap=True)
    for title in ("p50", "p95", "p99"):
        table.add_column(title, justify="right", no_wrap=True)
    nothing = Figure(value=None)
    for name, title in LATENCIES:
        found = [figures.get(f"{name}.{which}", nothing) for which in ("p50", "p95", "p99")]
        table.add_row(title, *(Line(_seconds(each)) for each in found))
    return table


def _seconds(figure: Figure) -> str:
    between = interval(figure, "s")
    return amount(figure.value, "s").removesuffix(" s") + (f" ({between})" if between else "")


def verdicts_view(rulings: Sequence[Ruling]) -> RenderableType:
    """Each limit with what became of it and why; by subject, where there are several."""
    parts: list[RenderableType] = []
    for subject in dict.fromkeys(ruling.subject for ruling in rulings):
        parts += [Line(subject, "bold")] if subject else []
        for ruling in (each for each in rulings if each.subject == subject):
            parts.append(indented(_ruling(ruling)))
        parts.append(Text())
    return Group(*parts)


def _ruling(ruling: Ruling) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    word = word_of([ruling]).upper()
    style = _STYLES.get(ruling.outcome, "bold")
    table.add_row(Line(word, style), Line(ruling.limit, "bold"))
    told: list[RenderableType] = [table, indented(Line(ruling.sentence))]
    if ruling.blame:
        told.append(indented(Line(ruling.blame)))
    return Group(*told)


def comparison_view(found: ComparisonReport) -> RenderableType:
    """The sentence, the figures that it comes from, and what has become worse."""
    if found.refused:
        return Line(f"{found.b} cannot be compared with {found.a}: {found.refused}")
    parts: list[RenderableType] = [Line(found.sentence, "bold")]
    rows = [line for line in found.differences if line.difference is not None]
    if rows:
        parts += [_differences(rows), Line(f" A: {found.a}"), Line(f" B: {found.b}")]
    absent = [line.sentence for line in found.differences if line.difference is None]
    parts += [indented(Line(sentence)) for sentence in absent if sentence]
    worse = ", ".join(_called(line).rpartition(",")[0] for line in rows if line.regression)
    if worse:
        told = "Regressions" if found.worse == "regression" else "Worse"
        parts.append(Line(f" {told}: {worse}", "bold red"))
    return Group(*parts, Text())


def _differences(rows: Sequence[DifferenceLine]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=_GAP, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title in ("A", "B", "B less A", "95 of 100"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        figures = (number(each, row.unit) for each in (row.a, row.b))
        apart, low, high = (_signed(each, row) for each in (row.difference, row.low, row.high))
        ends = f"{low} to {high}" if row.low is not None else "too few turns"
        table.add_row(*map(Line, (_called(row), *figures, apart, ends)), _standing(row))
    return table


def _called(row: DifferenceLine) -> str:
    """With its unit, such as `voice to voice p50, s`."""
    unit = {"ratio": "%", "usd": "USD", "mib": "MiB"}.get(row.unit, row.unit)
    return f"{row.title.lower().replace(', ', ' ')}, {unit}"


def _signed(value: float | None, row: DifferenceLine) -> str:
    """Without its unit, which stands at the beginning of the row."""
    return signed(value, row.unit).partition(" ")[0]


def _standing(row: DifferenceLine) -> Line:
    """What the interval says of the difference."""
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return Line("")
    good = (row.high < 0) == (row.better == "less")
    return Line("better", "green") if good else Line("worse", "red")
