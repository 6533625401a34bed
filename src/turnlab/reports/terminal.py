"""Turns for people at a terminal: readable in 80 columns, without colour, and in pure ASCII."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from turnlab.profiles import Span, SpanKind
from turnlab.reports.kinds import LOOKS
from turnlab.reports.numbers import (
    groups,
    latencies_s,
    summary,
)
from turnlab.reports.rows import (
    Row,
    cost_text,
    discrepancy,
    ending,
    ms_text,
    total_s,
    waterfall_rows,
)
from turnlab.reports.turn import TurnReport
from turnlab.reports.words import clean, plain_ascii, shortened

_NAME_CELLS = 28
_OUTCOME_STYLES = {"pass": "bold green", "fail": "bold red"}


@dataclass(frozen=True, slots=True)
class Line:
    """A text from anywhere: no markup, no control characters, ASCII where the console needs it."""

    text: str
    style: str = ""
    cells: int | None = None
    """Cut and padded to so many, where given."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The text in the console's alphabet."""
        yield self._text(options)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As narrow as its longest word, as wide as all of it."""
        return Measurement.get(console, options, self._text(options))

    def _text(self, options: ConsoleOptions) -> Text:
        text = shortened(clean(self.text), self.cells or len(self.text) + 1)
        if options.ascii_only:
            text = plain_ascii(text)
        return Text(set_cell_size(text, self.cells) if self.cells else text, style=self.style)


@dataclass(frozen=True, slots=True)
class Bar:
    """Spans on an axis of `end_s` seconds as wide as there is room; every span is seen."""

    spans: Sequence[Span]
    end_s: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line of blocks, a pattern and a colour for each kind."""
        text = Text(no_wrap=True)
        for kind in self._cells(options.max_width):
            text.append(*_block(kind, options.ascii_only))
        text.rstrip()
        yield text

    def _cells(self, width: int) -> list[SpanKind | None]:
        cells: list[SpanKind | None] = [None] * width
        for span in self.spans:
            first = min(int(self._at(span.start_s) * width), width - 1)
            last = max(round(self._at(span.end_s) * width), first + 1)
            cells[first:last] = [span.kind] * (min(last, width) - first)
        return cells

    def _at(self, seconds: float) -> float:
        return min(max(seconds / self.end_s, 0.0), 1.0) if self.end_s else 0.0


def _block(kind: SpanKind | None, ascii_only: bool) -> tuple[str, Style]:
    if kind is None:
        return " ", Style.null()
    look = LOOKS[kind]
    return look.ascii if ascii_only else look.block, Style(color=look.colour)


def turn_view(turn: TurnReport) -> RenderableType:
    """Transcript, reply, waterfall and verdict of one turn; its error instead, if it failed."""
    parts: list[RenderableType] = [turn_heading(turn), Text(), said(turn)]
    if turn.spans:
        parts += [Text(), waterfall(turn)]
    if turn.charged:
        parts += [Text(), Line(cost_text(turn))]
    if turn.error:
        parts += [Text(), error_line(turn.error)]
    if turn.verdict:
        parts += [Text(), verdict_line(turn.verdict)]
    return Group(*parts)


def turn_heading(turn: TurnReport) -> RenderableType:
    """The name of the turn, how it was run, and how it ended."""
    how = ", ".join(filter(None, (turn.mode, turn.pace)))
    return Line(f"{turn.name} ({how}): {ending(turn)}", "bold")


def said(turn: TurnReport) -> RenderableType:
    """What the user said and what was replied."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for who, text in (("You", turn.transcript), *turn.context, ("Reply", turn.reply)):
        table.add_row(Line(who, "dim"), Line(text) if text else Line("(nothing)", "dim"))
    return table


def waterfall(turn: TurnReport) -> RenderableType:
    """The critical path, from the last voiced sample to the first audible one."""
    end_s = max((span.end_s for span in turn.spans), default=0.0)
    table = _waterfall_grid()
    for row in waterfall_rows(turn.spans):
        table.add_row(*_waterfall_cells(row, end_s))
    total = Text(ms_text(total_s(turn)), style="bold")
    table.add_row(Line("Voice to voice", "bold"), total, "", Line(discrepancy(turn)))
    return table


def _waterfall_grid() -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=_NAME_CELLS, no_wrap=True)
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, width=11)
    table.add_column(ratio=1, no_wrap=True)
    return table


def _waterfall_cells(row: Row, end_s: float) -> list[RenderableType]:
    colour = LOOKS[row.spans[0].kind].colour
    kind = row.kind if row.kind in LOOKS else "mixed"
    return [
        Line(row.name, cells=_NAME_CELLS),
        Text(row.amount),
        Line(kind, colour),
        Bar(row.spans, end_s),
    ]


def verdict_line(verdict: Mapping[str, Any]) -> RenderableType:
    """Such as `PASS  Fast enough to talk to: ...`."""
    outcome = str(verdict.get("outcome", ""))
    table = Table.grid(padding=(0, 2))
    table.add_row(
        Line(outcome.upper() or "VERDICT", _OUTCOME_STYLES.get(outcome, "bold")),
        Line(str(verdict.get("sentence", ""))),
    )
    return table


def error_line(error: Mapping[str, str]) -> RenderableType:
    """Such as `module_timeout  A Component took longer than ...`."""
    table = Table.grid(padding=(0, 2))
    table.add_row(Line(error.get("code", "error"), "bold red"), Line(error.get("message", "")))
    return table


def modes_table(turns: Sequence[TurnReport]) -> RenderableType:
    """Latency of several turns, a row per mode; turns that do not count are only counted."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("mode", no_wrap=True)
    for name in ("turns", "median", "p95", "worst", "left out"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, group in groups(turns).items():
        table.add_row(Line(name), *mode_cells(group))
    return table


def mode_cells(group: Sequence[TurnReport]) -> list[Line]:
    """Turns that count, their median, p95 and worst latency, and turns left out."""
    found = summary(latencies_s(group))
    times = (found.median_s, found.p95_s, found.max_s) if found else (None, None, None)
    n = found.n if found else 0
    return [Line(text) for text in (str(n), *map(ms_text, times), str(len(group) - n))]


def turns_table(turns: Sequence[TurnReport]) -> RenderableType:
    """A line per utterance: how each mode ended on it, and what was replied first."""
    grouped = groups(turns)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column("turn", no_wrap=True)
    for name in grouped:
        table.add_column(name.replace(", ", "\n"), justify="right", max_width=24)
    table.add_column("reply", ratio=1)
    for name in dict.fromkeys(turn.name for turn in turns):
        ended = [[t for t in group if t.name == name] for group in grouped.values()]
        cells = [Line("\n".join(ending(turn) for turn in found)) for found in ended]
        first = next(turn for found in ended for turn in found)
        table.add_row(Line(name, cells=24), *cells, Line(shortened(first.reply, 120)))
    return table


def indented(part: RenderableType) -> RenderableType:
    """The part, two columns further in."""
    return Padding(part, (0, 0, 0, 2))
