"""Latency against accuracy against cost: who is beaten by nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from turnlab.reports.run_charts import ends_of, look, swatch
from turnlab.reports.run_report import Figure, Meaning, SubjectReport
from turnlab.reports.run_tables import UNITS, cell
from turnlab.reports.run_terms import breakable, term
from turnlab.reports.run_values import (
    amount,
    bound,
    known,
    title_of,
    unit_of,
)
from turnlab.reports.svg import Scale, axis, drawing, element, plot, text
from turnlab.reports.tables import html_table
from turnlab.reports.words import escaped

LATENCY = "voice_to_voice.p50"
COST = "cost_per_turn"
COMPLETED = "completed"
_TOP, _PLOT, _AXIS = 26, 230.0, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One subject with what it is judged by; `values` are such that less is better."""

    number: int
    """Its place on the page, from 0."""
    subject: SubjectReport
    values: tuple[float, ...]
    beaten_by: tuple[int, ...] = ()
    """Places of subjects that are no worse in anything and better in something."""


def axes(subjects: Sequence[SubjectReport], accuracy: Sequence[str]) -> list[str]:
    """What the subjects are judged by: latency, the first accuracy there is, cost; and how many
    turns completed if not all did, since a turn that failed is in none of the others."""
    found = [LATENCY, *(name for name in accuracy if _known_of_any(subjects, name))][:2]
    found = [name for name in (*found, COST) if _known_of_any(subjects, name)]
    return [*found, COMPLETED] if found and any(map(_lacks_turns, subjects)) else found


def _lacks_turns(subject: SubjectReport) -> bool:
    completed = _value(subject, COMPLETED)
    return completed is not None and completed < 1


def _known_of_any(subjects: Sequence[SubjectReport], name: str) -> bool:
    return any(_value(subject, name) is not None for subject in subjects)


def _value(subject: SubjectReport, name: str) -> float | None:
    figure = subject.figures.get(name)
    return known(figure.value) if figure else None


def points(
    subjects: Sequence[SubjectReport], names: Sequence[str], meanings: Mapping[str, Meaning]
) -> list[Point]:
    """The subjects of which all is known, each with those that beat it."""
    found = []
    for number, subject in enumerate(subjects):
        values = [_value(subject, name) for name in names]
        if None not in values and values:
            worse = (_upward(n, v or 0.0, meanings) for n, v in zip(names, values, strict=True))
            found.append((number, subject, tuple(worse)))
    return [
        Point(
            number=number,
            subject=subject,
            values=own,
            beaten_by=tuple(other for other, _, theirs in found if _beats(theirs, own)),
        )
        for number, subject, own in found
    ]


def _upward(name: str, value: float, meanings: Mapping[str, Meaning]) -> float:
    meaning = meanings.get(name)
    return -value if meaning and meaning.better == "more" else value


def _beats(theirs: Sequence[float], own: Sequence[float]) -> bool:
    pairs = list(zip(theirs, own, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def pareto_html(
    subjects: Sequence[SubjectReport], accuracy: Sequence[str], meanings: Mapping[str, Meaning]
) -> str:
    """Pictures of each pair of axes, a table, and what could not be measured."""
    names = axes(subjects, accuracy)
    found = points(subjects, names, meanings)
    # What is the same for all, such as a cost of nothing, tells them not apart.
    drawn = [name for name in names if name != COMPLETED]
    telling = [n for n in drawn if len({_value(p.subject, n) for p in found}) > 1]
    pictures = [_scatter(found, x, y, meanings) for x, y in combinations(telling, 2)]
    pairs = f'<div class="pairs">{"".join(pictures)}</div>' if pictures else ""
    shown = [LATENCY, *accuracy, COST, *(name for name in names if name == COMPLETED)]
    shown = [name for name in shown if _known_of_any(subjects, name)]
    told = _sentence(found, names, meanings) + _lacking(subjects)
    return told + pairs + _table(subjects, found, shown, meanings)


def _lacking(subjects: Sequence[SubjectReport]) -> str:
    """Who did not complete all turns, where figures of others may be of harder ones."""
    told = [
        f"{breakable(subject.name)} completed {amount(_value(subject, COMPLETED), 'ratio')}"
        for subject in subjects
        if _lacks_turns(subject)
    ]
    if not told or len(subjects) < 2:
        return ""
    return f"<p>{', '.join(told)} of its turns; the other figures leave out those that failed.</p>"


def _sentence(found: Sequence[Point], names: Sequence[str], meanings: Mapping[str, Meaning]) -> str:
    if len(found) < 2:
        return ""
    what = " and ".join(title_of(name, meanings).lower() for name in names)
    front = [point.subject.name for point in found if not point.beaten_by]
    verb = "is" if len(front) == 1 else "are"
    return (
        f"<p>{breakable(', '.join(front))} {verb} on the Pareto front of {escaped(what)}: "
        "no other is better in one of them without being worse in another.</p>"
    )


def _table(
    subjects: Sequence[SubjectReport],
    found: Sequence[Point],
    names: Sequence[str],
    meanings: Mapping[str, Meaning],
) -> str:
    by = {point.subject.name: point for point in found}
    head = ["", *(f"{term(name, meanings)} {UNITS[unit_of(name, meanings)]}" for name in names)]
    rows = []
    for number, subject in enumerate(subjects):
        cells = [cell(subject.figures.get(n), unit_of(n, meanings)) for n in names]
        name = f"{swatch(number)}{number + 1} {breakable(subject.name)}"
        rows.append([name, *cells, _standing(by.get(subject.name))])
    if len(subjects) == 1:
        rows = [row[:-1] for row in rows]
    else:
        head.append("Pareto front")
    return html_table("Latency, accuracy and cost", head, rows, stacked=True) if names else ""


def _standing(point: Point | None) -> str:
    if point is None:
        return '<span class="words">not all is known</span>'
    if not point.beaten_by:
        return "<b>on it</b>"
    return f'<span class="words">beaten by {point.beaten_by[0] + 1}</span>'


def _scatter(
    found: Sequence[Point], x_name: str, y_name: str, meanings: Mapping[str, Meaning]
) -> str:
    x_unit, y_unit = unit_of(x_name, meanings), unit_of(y_name, meanings)
    across = _scale([_figure(p, x_name) for p in found], right=100.0, unit="%")
    upward = _scale([_figure(p, y_name) for p in found], right=_PLOT, unit="")
    title = f"{title_of(y_name, meanings)} against {title_of(x_name, meanings)}"
    bottom = _TOP + _PLOT
    note = f"→ {title_of(x_name, meanings)}"
    content = [
        axis(
            across,
            top=_TOP,
            bottom=bottom,
            unit_note=note,
            label=lambda value: bound(round(value, 9), x_unit),
        ),
        _levels(upward, y_unit),
        text(f"↑ {title_of(y_name, meanings)}", class_="tick", x=0, y=14),
        _front(found, x_name, y_name, across, upward, meanings),
        *(_spot(p, x_name, y_name, across, upward, meanings) for p in found),
    ]
    desc = "; ".join(_told(p, (x_name, y_name), meanings) for p in found)
    picture = drawing("".join(content), height=bottom + _AXIS, title=title, desc=desc)
    return f"<figure><figcaption><b>{escaped(title)}</b></figcaption>{picture}</figure>"


def _told(point: Point, names: Sequence[str], meanings: Mapping[str, Meaning]) -> str:
    told = (amount(_value(point.subject, n), unit_of(n, meanings)) for n in names)
    return f"{point.number + 1} {point.subject.name}: {', '.join(told)}"


def _figure(point: Point, name: str) -> Figure:
    return point.subject.figures[name]


def _scale(figures: Sequence[Figure], *, right: float, unit: str) -> Scale:
    """An axis with some room around all figures and their intervals; from 0 if that is near."""
    ends = [v for f in figures for v in (f.value, f.low, f.high) if v is not None]
    ends = [value for value in ends if known(value) is not None]
    least, most = min(ends), max(ends)
    room = 0.12 * (most - least) or 0.1 * abs(most) or 1.0
    start = least - room
    if 0 <= least < 0.5 * most:
        start = -0.06 * most
    return Scale(start_s=start, end_s=most + room, right=right, unit=unit)


def _y(upward: Scale, value: float) -> float:
    return _TOP + _PLOT - float(upward.x(value))


def _levels(upward: Scale, unit: str) -> str:
    parts = []
    for tick in upward.ticks(4):
        y = _y(upward, tick)
        parts.append(element("line", class_="grid", x1=0, x2="100%", y1=y, y2=y))
        parts.append(text(bound(round(tick, 9), unit), class_="tick", x=0, y=y - 3))
    return "".join(parts)


def _spot(
    point: Point,
    x_name: str,
    y_name: str,
    across: Scale,
    upward: Scale,
    meanings: Mapping[str, Meaning],
) -> str:
    """A numbered dot, hollow where it is beaten, with its intervals as a cross."""
    x, y = _figure(point, x_name), _figure(point, y_name)
    cx, cy = across.x(x.value or 0.0), _y(upward, y.value or 0.0)
    class_ = f"{look(point.number)} {'beaten' if point.beaten_by else 'front'}"
    cross = ""
    if x.bounded:
        low, high = ends_of(x, across)
        cross += element("line", class_="arm", y1=cy, y2=cy, x1=across.x(low), x2=across.x(high))
    if y.bounded:
        low, high = (_y(upward, end) for end in ends_of(y, upward))
        cross += element("line", class_="arm", x1=cx, x2=cx, y1=low, y2=high)
    tip = element("title", escaped(_told(point, (x_name, y_name), meanings)))
    dot = element("circle", tip, cx=cx, cy=cy, r=10)
    number = text(str(point.number + 1), x=cx, y=cy + 4.5, text_anchor="middle")
    return element("g", cross + dot + number, class_=f"spot {class_}")


def _front(
    found: Sequence[Point],
    x_name: str,
    y_name: str,
    across: Scale,
    upward: Scale,
    meanings: Mapping[str, Meaning],
) -> str:
    """The staircase through those that nobody beats in these two metrics alone."""
    pairs = points([p.subject for p in found], (x_name, y_name), meanings)
    best = sorted((p for p in pairs if not p.beaten_by), key=lambda p: p.values)
    if len(best) < 2:
        return ""
    path = ""
    for point in best:
        x = float(across.x(_value(point.subject, x_name) or 0.0).rstrip("%")) * 10
        y = _y(upward, _value(point.subject, y_name) or 0.0) - _TOP
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    return plot(path, y=_TOP, height=_PLOT, class_="stairs")
