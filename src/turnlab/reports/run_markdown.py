"""The report on one or several Runs as Markdown for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from turnlab.reports.numbers import rounded
from turnlab.reports.rows import milliseconds_text
from turnlab.reports.run_report import LATENCIES, PERCENTILES, Ruling, RunReport, SubjectReport
from turnlab.reports.run_values import (
    NOTHING,
    amount,
    known,
    signed,
    title_of,
    unit_of,
    with_interval,
)
from turnlab.reports.run_words import SIGNS, word_of
from turnlab.reports.words import clean, escaped, shortened

MOST_BYTES = 60_000
"""GitHub takes 65,536 characters in a comment."""

_MOST_ROWS = 60
_MARKUP = re.compile(r"([\\`*_\[\]|~#$])")
_WWW = re.compile(r"\b(www)\.", re.IGNORECASE)
_FOLD = "<details><summary>{}</summary>\n\n{}\n\n</details>"


def markdown(report: RunReport) -> str:
    """The report in at most MOST_BYTES of GitHub's Markdown: what does not fit is left out, from
    the end, and that is said."""
    parts = [f"## {plain(report.headline)}\n\n{plain(report.title)}"]
    left_out = []
    for name, part in _parts(report):
        if part and _size([*parts, part]) <= MOST_BYTES:
            parts.append(part)
        elif part:
            left_out.append(name)
    if left_out:
        parts.append(f"Left out, for want of room: {', '.join(left_out)}.")
    return "\n\n".join(parts) + "\n"


def _size(parts: Sequence[str]) -> int:
    return len("\n\n".join(parts).encode()) + 200  # room for what says what was left out


def plain(text: object, *, most: int = 400) -> str:
    """Text that came from outside: shown as it is, whatever Markdown or HTML it looks like."""
    told = _MARKUP.sub(r"\\\1", shortened(clean(str(text)), most))
    return _quiet(told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _quiet(text: str) -> str:
    """Nobody is told by an @, and no address becomes a link."""
    quiet = text.replace("@", "@\u200b").replace("://", ":\u200b//")
    return _WWW.sub("\\1\u200b.", quiet)


def _parts(report: RunReport) -> list[tuple[str, str]]:
    return [
        ("remarks", "\n".join(f"- {plain(each)}" for each in report.remarks)),
        ("verdicts", _verdicts(report)),
        ("comparison", _comparison(report)),
        ("figures", _figures(report)),
        ("failures", _failures(report.subjects)),
        ("differences", _differences(report)),
        ("stages", _stages(report.subjects)),
        ("what it belongs to", _pins(report)),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1) -> str:
    """Cells are Markdown; the first `names` columns hold words, the others figures."""
    kept = list(rows)
    ruler = ["---"] * names + ["---:"] * (len(head) - names)
    lines = [head, ruler, *kept[:_MOST_ROWS]]
    told = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    more = len(kept) - _MOST_ROWS
    return told + (f"\n\n{more} more rows are on the page." if more > 0 else "")


def _verdicts(report: RunReport) -> str:
    if not report.rulings:
        return ""
    rows = [
        [
            f"{SIGNS.get(ruling.outcome, '?')} {plain(word_of([ruling]))}",
            plain(ruling.subject),
            plain(ruling.limit),
            with_interval(ruling.figure, ruling.unit),
        ]
        for ruling in report.rulings
    ]
    told = [_told(ruling) for ruling in report.rulings if ruling.outcome != "pass"]
    table = _table(["verdict", "Cluster", "limit", "measured"], rows, names=3)
    return "\n\n".join(filter(None, (table, "\n".join(told[:_MOST_ROWS]))))


def _told(ruling: Ruling) -> str:
    blame = f" {plain(ruling.blame)}" if ruling.blame else ""
    return f"- **{plain(ruling.subject)}** {plain(ruling.sentence)}{blame}"


def _comparison(report: RunReport) -> str:
    found = report.comparisons[:_MOST_ROWS]
    return "\n".join(f"- {plain(each.sentence or each.refused, most=600)}" for each in found)


def _figures(report: RunReport) -> str:
    head = ["seconds", "", "turns", *PERCENTILES]
    rows = []
    for metric in LATENCIES:
        for subject in report.subjects:
            found = [subject.figures.get(f"{metric}.{p}") for p in PERCENTILES]
            if found[0] is not None and found[0].value is not None:
                cells = (with_interval(figure, "s").replace(" s", "") for figure in found)
                name = plain(title_of(metric, report.meanings))
                rows.append([name, plain(subject.name), f"{found[0].n:,}", *cells])
    others = _others(report)
    return "\n\n".join(filter(None, (_table(head, rows, names=2) if rows else "", others)))


def _others(report: RunReport) -> str:
    """Completed turns, accuracy, cost and load."""
    names = ["completed", *report.accuracy, "cost_per_turn", "cost_per_hour", "cpu.mean", "memory"]
    there = [name for name in names if any(_there(s, name) for s in report.subjects)]
    if not there:
        return ""
    head = ["", *(plain(title_of(name, report.meanings)) for name in there)]
    rows = [
        [
            plain(s.name),
            *(with_interval(s.figures.get(n), unit_of(n, report.meanings)) for n in there),
        ]
        for s in report.subjects
    ]
    return _table(head, rows)


def _there(subject: SubjectReport, name: str) -> bool:
    figure = subject.figures.get(name)
    return figure is not None and figure.value is not None


def _failures(subjects: Sequence[SubjectReport]) -> str:
    rows = [
        [plain(code), plain(component or "not known"), plain(subject.name), f"{count:,}"]
        for subject in subjects
        for component, code, count in subject.failures[:10]
    ]
    return _table(["failure", "Component", "Cluster", "turns"], rows, names=3) if rows else ""


def _differences(report: RunReport) -> str:
    folds = []
    for found in [each for each in report.comparisons if each.differences][:6]:
        rows = [
            [
                plain(line.title) + (f" ({plain(found.worse)})" if line.regression else ""),
                amount(line.a, line.unit),
                amount(line.b, line.unit),
                signed(line.difference, line.unit),
                _between(line.low, line.high, line.unit),
            ]
            for line in found.differences
        ]
        table = _table(["", "A", "B", "B less A", "95 % interval"], rows)
        absent = [each.sentence for each in found.differences if each.difference is None]
        told = "\n".join(f"- {plain(each)}" for each in absent if each)
        # Markdown is not read in here: HTML alone is to be escaped.
        about = _quiet(escaped(f"{found.b} (B) against {found.a} (A)", most=400))
        folds.append(_FOLD.format(about, f"{table}\n\n{told}" if told else table))
    return "\n\n".join(folds)


def _between(low: float | None, high: float | None, unit: str) -> str:
    if known(low) is None or known(high) is None:
        return NOTHING
    return f"{signed(low, unit, bare=True)} to {signed(high, unit, bare=True)}"


def _stages(subjects: Sequence[SubjectReport]) -> str:
    rows = []
    for subject in subjects:
        means = rounded([stage.mean_s * 1000 for stage in subject.stages])
        for stage, ms in zip(subject.stages, means, strict=True):
            if ms:
                told = (f"{stage.component} {stage.kind}", subject.name)
                share = f"{100 * stage.mean_share:.0f} %"
                rows.append([*map(plain, told), milliseconds_text(ms), share])
    if not rows:
        return ""
    table = _table(["on the critical path", "Cluster", "mean", "share"], rows, names=2)
    return _FOLD.format("Where the time goes", table)


def _pins(report: RunReport) -> str:
    lines = []
    for pins in report.pins:
        lines.append(f"**{plain(pins.heading)}**\n")
        lines += [f"- {plain(name)}: {plain(value)}" for name, value in pins.facts.items()]
        lines += [f"- again: {plain(pins.command, most=1_000)}"] if pins.command else []
        lines.append("")
    return _FOLD.format("What the figures belong to", "\n".join(lines))
