"""Small pictures over many turns: how latencies spread, and what a median turn consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from turnlab.reports.numbers import Summary, counted, latencies_s, median_turn, summary
from turnlab.reports.rows import Row, ms_text, waterfall_rows
from turnlab.reports.svg import Scale, axis, drawing, element, rule, text
from turnlab.reports.turn import TurnReport
from turnlab.reports.waterfall import line_of_text
from turnlab.reports.words import escaped

_ROW, _TOP, _AXIS = 62, 22, 40
_MOST_DOTS = 500
_BAR_HEIGHT = 26
_NUMBERED_SHARE = 0.04


def strip_plot(grouped: Mapping[str, Sequence[TurnReport]], budget_s: float | None) -> str:
    """A dot per turn that counts, a row per group, a tick at the median, the budget as dashes."""
    named = [(name, turns, found) for name, turns in grouped.items() if (found := _found(turns))]
    if not named:
        return ""
    longest_s = max([found.max_s for _, _, found in named] + [budget_s or 0.0])
    scale = Scale(start_s=0.0, end_s=longest_s * 1.04)
    bottom = _TOP + _ROW * len(named)
    parts = [axis(scale, top=_TOP, bottom=bottom, unit_note="ms, voice to voice")]
    parts.append(_budget(scale, budget_s, bottom))
    for number, (name, turns, found) in enumerate(named):
        parts.append(_strip(name, turns, found, scale, _TOP + _ROW * number))
    desc = "; ".join(f"{name}: {_figures(found)}" for name, _, found in named)
    return drawing("".join(parts), height=bottom + _AXIS, title="Latency of each turn", desc=desc)


def _found(turns: Sequence[TurnReport]) -> Summary | None:
    return summary(latencies_s(turns))


def _figures(found: Summary) -> str:
    span = f"{round(found.min_s * 1000)} to {ms_text(found.max_s)}"
    return f"median {ms_text(found.median_s)}, {span}"


def _strip(name: str, turns: Sequence[TurnReport], found: Summary, scale: Scale, y: float) -> str:
    dots = [_dot(turn, scale, y + 38 + 6 * (i % 3 - 1)) for i, turn in enumerate(_sample(turns))]
    median = rule(scale, found.median_s, top=y + 24, bottom=y + 52, class_="mark")
    return line_of_text(name, "", y + 4, soft=_figures(found)) + "".join(dots) + median


def _sample(turns: Sequence[TurnReport]) -> list[TurnReport]:
    """At most so many, evenly taken from the fastest to the slowest, so that a page stays small."""
    ranked = sorted(counted(turns), key=lambda turn: turn.voice_to_voice_s or 0.0)
    n = min(len(ranked), _MOST_DOTS)
    return [ranked[round(i * (len(ranked) - 1) / max(n - 1, 1))] for i in range(n)]


def _dot(turn: TurnReport, scale: Scale, y: float) -> str:
    at_s = turn.voice_to_voice_s or 0.0
    tip = element("title", f"{escaped(turn.name, most=80)}: {ms_text(at_s)}")
    return element("circle", tip, class_="dot", cx=scale.x(at_s), cy=y, r=4)


def _budget(scale: Scale, budget_s: float | None, bottom: float) -> str:
    if not budget_s:
        return ""
    x, anchor = scale.x(budget_s), scale.anchor(budget_s)
    label = text(f"budget {ms_text(budget_s)}", class_="tick", x=x, y=14, text_anchor=anchor)
    return rule(scale, budget_s, top=_TOP, bottom=bottom, class_="limit") + label


def stacked_bars(grouped: Mapping[str, Sequence[TurnReport]]) -> str:
    """The median turn of each group as a numbered bar with its key; bars share one scale."""
    chosen = {name: median_turn(t for t in turns if t.spans) for name, turns in grouped.items()}
    turns = {name: turn for name, turn in chosen.items() if turn is not None}
    return bars_html(
        [
            (name, ms_text(turn.voice_to_voice_s), turn.name, waterfall_rows(turn.spans))
            for name, turn in turns.items()
        ]
    )


def bars_html(bars: Sequence[tuple[str, str, str, Sequence[Row]]]) -> str:
    """Numbered bars with their keys on one scale: name, amount, what it is of, rows of each."""
    longest_s = max((sum(map(_length_s, rows)) for _, _, _, rows in bars), default=0.0)
    scale = Scale(start_s=0.0, end_s=longest_s)
    return "".join(_stacked(*each, scale) for each in bars)


def _length_s(row: Row) -> float:
    return sum(span.duration_s for span in row.spans)


def _stacked(name: str, amount: str, what: str, rows: Sequence[Row], scale: Scale) -> str:
    about = f"{name}: {what}"
    desc = "; ".join(f"{row.name} ({row.kind}) {row.amount}" for row in rows)
    picture = drawing(_segments(rows, scale), height=_BAR_HEIGHT, title=about, desc=desc)
    told = escaped(name).replace("_", "_<wbr>")
    caption = f"<b>{told}</b> {amount}"
    of = f'<span class="soft">{escaped(what, most=80)}</span>'
    key = "".join(_key(number, row) for number, row in enumerate(rows, 1))
    key = f'<ol class="key">{key}</ol>'
    return f"<figure><figcaption>{caption} {of}</figcaption>{picture}{key}</figure>"


def _segments(rows: Sequence[Row], scale: Scale) -> str:
    ends = list(accumulate(map(_length_s, rows)))
    starts = [0.0, *ends[:-1]]
    return "".join(
        _segment(number, row, scale, start_s, end_s)
        for number, (row, start_s, end_s) in enumerate(zip(rows, starts, ends, strict=True), 1)
    )


def _segment(number: int, row: Row, scale: Scale, start_s: float, end_s: float) -> str:
    kind = row.spans[0].kind
    tip = element("title", escaped(f"{row.name} ({row.kind}) {row.amount}"))
    place = scale.stretch(start_s, end_s)
    shape = element("rect", tip, class_=f"k-{kind} part", height=_BAR_HEIGHT, **place)
    if end_s - start_s < _NUMBERED_SHARE * scale.end_s:
        return shape
    middle = scale.x((start_s + end_s) / 2)
    return shape + text(
        str(number), class_=f"on i-{kind}", x=middle, y=_BAR_HEIGHT / 2 + 5, text_anchor="middle"
    )


def _key(number: int, row: Row) -> str:
    swatch = f'<i class="swatch k-{row.spans[0].kind}"></i>'
    kind = f'<span class="soft">{escaped(row.kind)}</span>'
    name = escaped(row.name, most=60)
    return f"<li>{swatch}<b>{number}</b> {name} {kind} {escaped(row.amount)}</li>"
