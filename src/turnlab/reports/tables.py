"""The tables of the page, and what they need of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from turnlab.profiles import SpanKind
from turnlab.reports.kinds import LOOKS
from turnlab.reports.numbers import (
    Stage,
    even,
    first_speech_s,
    latencies_s,
    ratio_of_medians,
    rounded,
    summary,
)
from turnlab.reports.rows import ms_text
from turnlab.reports.turn import TurnReport
from turnlab.reports.words import escaped


def html_table(
    what: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    names: int = 1,
    foot: Sequence[str] = (),
    stacked: bool = False,
) -> str:
    """A table of markup, called `what`; the first `names` columns hold words.

    On a narrow screen the first cell of a `stacked` one lies above the others.
    """
    body = "".join(_line(row, names) for row in rows)
    end = f"<tfoot>{_line(foot, names)}</tfoot>" if foot else ""
    top = "".join(_cell("th", cell, i < names, "col") for i, cell in enumerate(head))
    how = f' class="stacked" style="--columns: {_narrow(names, len(head))}"' if stacked else ""
    table = f"<table{how}><thead><tr>{top}</tr></thead><tbody>{body}</tbody>{end}</table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{what}">{table}</div>'


def _narrow(names: int, count: int) -> str:
    """The columns under the first cell on a narrow screen: words need more room than figures."""
    words, figures = names - 1, count - names
    wide = f"repeat({words}, minmax(0, 1.5fr)) " if words else ""
    return f"{wide}repeat({max(figures, 1)}, minmax(0, 1fr))"


def _line(cells: Sequence[str], names: int) -> str:
    first = _cell("th", cells[0], True, "row")
    others = (_cell("td", cell, i < names) for i, cell in enumerate(cells[1:], 1))
    return f"<tr>{first}{''.join(others)}</tr>"


def _cell(tag: str, content: str, name: bool, scope: str = "") -> str:
    attributes = (' class="name"' if name else "") + (f' scope="{scope}"' if scope else "")
    return f"<{tag}{attributes}>{content}</{tag}>"


def modes_html(grouped: Mapping[str, Sequence[TurnReport]], budget_s: float | None) -> str:
    """Latency per group: only turns that count, with the number of those left out."""
    head = ["mode", "turns", "median", "p95", "fastest", "worst", "first Speech"]
    head += [f"within {ms_text(budget_s)}"] if budget_s else []
    rows = [_mode_row(name, turns, budget_s) for name, turns in grouped.items()]
    return html_table("Latency by mode", [*head, "left out"], rows)


def _mode_row(name: str, turns: Sequence[TurnReport], budget_s: float | None) -> list[str]:
    seconds = latencies_s(turns)
    found = summary(seconds)
    first = summary(s for s in map(first_speech_s, turns) if s is not None)
    times = (found.median_s, found.p95_s, found.min_s, found.max_s) if found else (None,) * 4
    cells = [escaped(name), str(len(seconds)), *map(ms_text, times)]
    cells.append(ms_text(first.median_s if first else None))
    if budget_s:
        cells.append(f"{sum(s <= budget_s for s in seconds)} of {len(seconds)}")
    return [*cells, str(len(turns) - len(seconds))]


def ratio_sentence(grouped: Mapping[str, Sequence[TurnReport]]) -> str:
    """How many times faster the faster of two groups is, on what both completed; else nothing."""
    if len(grouped) != 2:
        return ""
    (a, first), (b, second) = grouped.items()
    first, second = even(first, second)
    ratio = ratio_of_medians(latencies_s(second), latencies_s(first))
    if not ratio:
        return ""
    fast, slow, times = (a, b, ratio) if ratio >= 1 else (b, a, 1 / ratio)
    return (
        f"At the median, {fast} answers {times:.2f} times as fast as {slow}: "
        f"{len(first)} turns of each, on the same utterances."
    )


def stages_html(stages: Mapping[str, Sequence[Stage]]) -> str:
    """Mean milliseconds and share of each Component and kind, a pair of columns per group."""
    tables = {name: {(s.component, s.kind): s for s in group} for name, group in stages.items()}
    tables = {name: table for name, table in tables.items() if table}
    keys = _in_order(key for table in tables.values() for key in table)
    columns = [column for table in tables.values() for column in _columns(table, keys)]
    head = [
        "component",
        "kind",
        *(f"{escaped(n)} {of}" for n in tables for of in ("mean", "share")),
    ]
    names = [[escaped(component, most=60), _kind(kind)] for component, kind in keys]
    rows = [[*name, *(column[i] for column in columns)] for i, name in enumerate(names)]
    foot = ["sum", "", *(column[-1] for column in columns)]
    return html_table("Mean time by stage", head, rows, names=2, foot=foot) if keys else ""


def _in_order(keys: Iterable[tuple[str, SpanKind]]) -> list[tuple[str, SpanKind]]:
    """Each once, those of a Component together, in order of appearance."""
    once = list(dict.fromkeys(keys))
    components = list(dict.fromkeys(component for component, _ in once))
    return sorted(once, key=lambda key: components.index(key[0]))


def _columns(
    table: Mapping[tuple[str, SpanKind], Stage], keys: Sequence[tuple[str, SpanKind]]
) -> tuple[list[str], list[str]]:
    """Milliseconds and per cents, each with its sum at the end, rounded so that they add up."""
    ms = rounded([table[key].mean_s * 1000 if key in table else 0.0 for key in keys])
    shares = rounded([table[key].mean_share * 100 if key in table else 0.0 for key in keys])
    return (
        [_amount(n, "ms", key in table) for n, key in zip(ms, keys, strict=True)]
        + [f"{sum(ms)} ms"],
        [_amount(n, "%", key in table) for n, key in zip(shares, keys, strict=True)]
        + [f"{sum(shares)} %"],
    )


def _amount(n: int, unit: str, there: bool) -> str:
    return f"{n or '&lt;1'} {unit}" if there else ""


def _kind(kind: SpanKind) -> str:
    return f'<i class="swatch k-{kind}"></i>{kind}'


def legend_html() -> str:
    """What the colours mean."""
    items = (f"<li>{_kind(kind)}: {escaped(look.meaning)}</li>" for kind, look in LOOKS.items())
    return f'<ul class="key">{"".join(items)}</ul>'


def tasks_html(turn: TurnReport) -> str:
    """Each Task with its status and the milliseconds of its points after the last voiced sample."""
    head = ["component", "task", "status", "created", "first input", "first output", "end", "model"]
    rows = []
    for task in turn.tasks:
        status = f"{task.status}: {task.error_code}" if task.error_code else task.status
        points = [task.point_s(n) for n in ("created", "first_input", "first_output", "end")]
        times = [ms_text(None if at is None else at - turn.zero_s) for at in points]
        names = [escaped(each, most=80) for each in (task.name, task.task_name, status)]
        rows.append([*names, *times, ms_text(task.model_s)])
    return html_table("Tasks", head, rows, names=3) if rows else ""
