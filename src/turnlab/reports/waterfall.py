"""SVG of one turn: its critical path, and beneath it what each Task did meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from turnlab.reports.kinds import kinds_css
from turnlab.reports.rows import Row, ending, ms_text, total_text, waterfall_rows
from turnlab.reports.svg import Scale, axis, bar, drawing, element, rule, text
from turnlab.reports.turn import TaskReport, TurnReport
from turnlab.reports.words import escaped as text_of
from turnlab.reports.words import shortened

ROW = 36
"""Height of a row in pixels: a line of text and a bar under it."""
_BAR_Y, _BAR_HEIGHT = 18, 10
_CAPTION = 26
_AXIS = 40
_MOST_TASKS = 24
_LINE = 44
"""Characters of one line of text on the narrowest screen, 320 pixels of it."""

CSS = """
.drawing { display: block; overflow: visible; font: 13px system-ui, sans-serif; }
.drawing text { fill: currentColor; font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--paper, Canvas); stroke-width: 4px; stroke-linejoin: round; }
.drawing .caption { font-weight: 600; }
.drawing .soft, .drawing .tick { opacity: 1; fill-opacity: .68; }
.drawing .tick { font-size: 12px; }
.drawing .grid { stroke: currentColor; stroke-opacity: .12; }
.drawing .lane { fill: currentColor; fill-opacity: .06; }
.drawing .task { fill: currentColor; fill-opacity: .38; }
.drawing .mark { stroke: currentColor; stroke-width: 2; }
.drawing .limit { stroke: currentColor; stroke-width: 1.5; stroke-dasharray: 5 4; }
.drawing .dot { fill: currentColor; fill-opacity: .6; }
""" + kinds_css()


def waterfall_svg(turn: TurnReport) -> str:
    """Inline SVG; 0 is the last voiced sample. Needs `CSS` on its page; follows light and dark.

    Tasks may begin during the speech and go on long after the first sound: what lies beyond
    the axis is cut off there; an arrow and the figures above the bar say so.
    """
    rows, tasks = waterfall_rows(turn.spans), turn.tasks[:_MOST_TASKS]
    scale = _scale(turn, tasks)
    path_height = _CAPTION + ROW * len(rows) if rows else 0
    bottom = path_height + (_CAPTION + ROW * len(tasks) if tasks else 0)
    content = [
        axis(scale, top=_CAPTION, bottom=bottom, unit_note="ms after the last voiced sample"),
        _first_sound(turn, scale, bottom),
        _path(turn, rows, scale),
        _tasks(turn, tasks, scale, path_height),
    ]
    return drawing(
        "".join(content),
        height=bottom + _AXIS,
        title=f"Waterfall of {shortened(turn.name, 80)}: {ending(turn)}",
        desc=description(rows),
    )


def description(rows: Sequence[Row]) -> str:
    """The rows in words, for those who cannot see the picture."""
    return "; ".join(f"{row.name} ({row.kind}) {row.amount}" for row in rows[:40])


def _scale(turn: TurnReport, tasks: Sequence[TaskReport]) -> Scale:
    """The critical path takes at least half of the axis, however long the Tasks went on."""
    moments = [0.0, *(span.end_s for span in turn.spans)]
    for task in tasks:
        moments += [at for at in _points(turn, task) if at is not None]
    heard_s = turn.spans[-1].end_s if turn.spans else None
    if heard_s is None:
        return Scale(start_s=min(moments), end_s=max(moments) or 1.0)
    start_s = max(min(moments), -0.25 * heard_s)
    return Scale(start_s=start_s, end_s=min(max(moments), 1.5 * heard_s) or 1.0)


def _path(turn: TurnReport, rows: Sequence[Row], scale: Scale) -> str:
    if not rows:
        return ""
    parts = [line_of_text("Critical path", total_text(turn), 0, "caption")]
    for number, row in enumerate(rows):
        y = _CAPTION + ROW * number
        parts += [
            line_of_text(row.name, row.amount, y, soft=row.kind),
            lane(y),
            bars(row, scale, y),
        ]
    return "".join(parts)


def bars(row: Row, scale: Scale, y: float) -> str:
    """The spans of a row on the axis."""
    return "".join(
        bar(
            scale,
            span.kind,
            span.start_s,
            span.end_s,
            y=y + _BAR_Y,
            height=_BAR_HEIGHT,
            tip=f"{span.component} {span.label} {span.kind}: {ms_text(span.start_s)} to "
            f"{ms_text(span.end_s)}",
        )
        for span in row.spans
    )


def lane(y: float) -> str:
    """The faint ground of a row, which ties the name to the figure."""
    return element(
        "rect", class_="lane", x="0", y=y + _BAR_Y, width="100%", height=_BAR_HEIGHT, rx=1.5
    )


def line_of_text(left: str, right: str, y: float, class_: str = "", *, soft: str = "") -> str:
    """A name at the left edge, something softer after it, and figures at the right edge."""
    name = shortened(left, 30)
    rest = shortened(soft, max(2, _LINE - len(name) - len(right))) if soft else ""
    tip = element("title", text_of(soft)) if rest != soft else ""
    after = element("tspan", text_of(rest), class_="soft", dx=6) if soft else ""
    name = tip + text_of(name) + after
    return element("text", name, class_=class_, x=0, y=y + 13) + text(
        right, class_=class_, x="100%", y=y + 13, text_anchor="end"
    )


def _points(turn: TurnReport, task: TaskReport) -> tuple[float | None, ...]:
    """Created, first output and end, in seconds after the last voiced sample."""
    points = (task.point_s(name) for name in ("created", "first_output", "end"))
    return tuple(None if at is None else at - turn.zero_s for at in points)


def _tasks(turn: TurnReport, tasks: Sequence[TaskReport], scale: Scale, top: float) -> str:
    if not tasks:
        return ""
    left_out = len(turn.tasks) - len(tasks)
    note = f"{left_out} more not drawn" if left_out else "| first output"
    parts = [line_of_text("Tasks, from creation to end", note, top, "caption")]
    for number, task in enumerate(tasks):
        parts.append(_task(turn, task, scale, top + _CAPTION + ROW * number))
    return "".join(parts)


def _task(turn: TurnReport, task: TaskReport, scale: Scale, y: float) -> str:
    created_s, first_s, end_s = _points(turn, task)
    status = "" if task.status == "completed" else task.status
    parts = [line_of_text(task.name, _task_times(first_s, end_s, scale), y, soft=status), lane(y)]
    if created_s is not None:
        until_s = scale.end_s if end_s is None else end_s
        parts.append(_task_bar(scale, created_s, until_s, y))
    if first_s is not None and scale.holds(first_s):
        top = y + _BAR_Y
        parts.append(rule(scale, first_s, top=top - 2, bottom=top + 12, class_="mark"))
    return "".join(parts)


def _task_times(first_s: float | None, end_s: float | None, scale: Scale) -> str:
    named = (("first output", first_s), ("end", end_s))
    times = ", ".join(f"{name} {ms_text(at)}" for name, at in named if at is not None)
    return times + (" →" if end_s is not None and end_s > scale.end_s else "")


def _task_bar(scale: Scale, start_s: float, end_s: float, y: float) -> str:
    return element(
        "rect",
        element("title", text_of(f"{ms_text(start_s)} to {ms_text(end_s)}")),
        class_="task",
        y=y + _BAR_Y,
        height=_BAR_HEIGHT,
        rx=1.5,
        **scale.stretch(start_s, end_s),
    )


def _first_sound(turn: TurnReport, scale: Scale, bottom: float) -> str:
    """Upright dashes at the first audible sample."""
    if not turn.spans:
        return ""
    return rule(scale, turn.spans[-1].end_s, top=_CAPTION, bottom=bottom, class_="limit")
