"""The critical path as rows to be drawn, the same in the terminal, on the page and in pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from turnlab.profiles import Span
from turnlab.reports.numbers import rounded
from turnlab.reports.turn import TurnReport

_SMALL_S = 0.001
_TOLERANCE_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a waterfall: the spans of one Component, kind and label.

    `ms` is rounded so that the rows of a turn add up to its rounded total.
    """

    name: str
    kind: str
    ms: int
    spans: tuple[Span, ...]

    @property
    def amount(self) -> str:
        """Its length for people, such as `150 ms`."""
        return milliseconds_text(self.ms)


def milliseconds_text(ms: int) -> str:
    """Such as `150 ms`, and `<1 ms` for what is rounded to nothing."""
    return f"{ms} ms" if ms else "<1 ms"


def ms_text(seconds: float | None) -> str:
    """A time of day-to-day size such as `412 ms`; a dash for None."""
    return "–" if seconds is None else f"{round(seconds * 1000)} ms"  # noqa: RUF001


def cost_text(turn: TurnReport) -> str:
    """What providers charge for the turn, or for which of its Tasks that is not known."""
    unknown = [task.name for task in turn.charged if task.cost_usd is None]
    if unknown:
        return f"Cost not known: there is no price for {', '.join(unknown)}."
    return f"Cost {turn.cost_usd or 0:.6f} US dollars."


def waterfall_rows(spans: Sequence[Span]) -> list[Row]:
    """Rows in order of appearance; those under 1 ms share the last one, if there are several."""
    grouped: dict[tuple[str, str, str], list[Span]] = defaultdict(list)
    for span in spans:
        grouped[span.component, span.kind, span.label].append(span)
    lines = [
        (" ".join(filter(None, (c, label))), kind, s) for (c, kind, label), s in grouped.items()
    ]
    lines = _folded(lines)
    amounts = rounded([_sum_s(line[2]) * 1000 for line in lines])
    return [
        Row(name=name, kind=kind, ms=ms, spans=tuple(of))
        for (name, kind, of), ms in zip(lines, amounts, strict=True)
    ]


def _folded(lines: list[tuple[str, str, list[Span]]]) -> list[tuple[str, str, list[Span]]]:
    small = [line for line in lines if _sum_s(line[2]) < _SMALL_S]
    if len(small) < 2:
        return lines
    kinds = ", ".join(dict.fromkeys(kind for _, kind, _ in small))
    together = [span for _, _, spans in small for span in spans]
    large = [line for line in lines if _sum_s(line[2]) >= _SMALL_S]
    return [*large, (f"{len(small)} steps under 1 ms", kinds, together)]


def _sum_s(spans: Sequence[Span]) -> float:
    return sum(span.duration_s for span in spans)


def total_s(turn: TurnReport) -> float:
    """The sum of the spans in seconds."""
    return _sum_s(turn.spans)


def discrepancy(turn: TurnReport) -> str:
    """A remark if the measured latency is over 1 ms from the sum of the spans; else nothing."""
    measured_s = turn.voice_to_voice_s
    if measured_s is None or abs(total_s(turn) - measured_s) <= _TOLERANCE_S:
        return ""
    return f"measured: {ms_text(measured_s)}"


def total_text(turn: TurnReport) -> str:
    """The sum of the rows, with the remark where it is not what was measured."""
    remark = discrepancy(turn)
    return f"total {ms_text(total_s(turn))}" + (f" ({remark})" if remark else "")


def ending(turn: TurnReport) -> str:
    """How the turn went: its latency, or its status and the code of its error."""
    if turn.counts:
        return ms_text(turn.voice_to_voice_s)
    code = (turn.error or {}).get("code", "")
    status = "no reply heard" if turn.status == "completed" else turn.status
    return f"{status}: {code}" if code else status
