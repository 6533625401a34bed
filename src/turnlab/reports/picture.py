"""A standalone SVG for a README: the median turns of several modes on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

from turnlab.profiles import SpanKind
from turnlab.reports.kinds import LOOKS, kinds_css
from turnlab.reports.numbers import groups, latencies_s, median_turn, summary
from turnlab.reports.rows import Row, ms_text, waterfall_rows
from turnlab.reports.svg import Scale, axis, bar, element, rule, text
from turnlab.reports.turn import TurnReport
from turnlab.reports.waterfall import description
from turnlab.reports.words import escaped

_WIDTH, _MARGIN, _PLOT_LEFT, _PLOT_RIGHT = 880, 28, 268, 786
_SHOWN = {kind for kind in LOOKS if kind is not SpanKind.MODEL}
"""Kinds that are spelt out after the Component; inference goes by its label."""
_TOP, _ROW, _HEAD, _GAP = 62, 24, 34, 14

_CSS = """
svg { color: #1d2126; font: 14px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.paper { fill: #fbfbfa; stroke: #d9dde2; }
text { fill: currentColor; }
.title { font-size: 19px; font-weight: 650; }
.head { font-size: 16px; font-weight: 650; }
.soft, .tick { opacity: .7; }
.tick { font-size: 12.5px; }
.grid { stroke: currentColor; stroke-opacity: .12; }
.mark { stroke: currentColor; stroke-width: 1.5; stroke-dasharray: 5 4; }
@media (prefers-color-scheme: dark) {
  svg { color: #e6e9ec; }
  .paper { fill: #15181c; stroke: #343a41; }
}
""" + kinds_css()


def readme_svg(
    turns: Sequence[TurnReport],
    *,
    title: str = "From the end of the question to the first sound of the reply",
) -> str:
    """The median turn of each mode, the fastest first, as a complete SVG file in UTF-8.

    It brings its own colours for light and dark. Raises ValueError if no turn counts.
    """
    chosen = _medians(turns)
    if not chosen:
        raise ValueError("No turn completed with spans; there is nothing to draw.")
    scale = _scale(chosen)
    panels, bottom = _panels(chosen, scale)
    note = "ms after the last voiced sample; the turn at the median of each mode"
    ground = axis(scale, top=_TOP, bottom=bottom, unit_note=note)
    heading = text(title, class_="title", x=_MARGIN, y=38)
    height = bottom + 76
    return _file(heading + ground + panels + _legend(chosen, height - 16), height, title, chosen)


def _medians(turns: Sequence[TurnReport]) -> list[tuple[str, TurnReport, list[TurnReport]]]:
    found = []
    for name, group in groups(turns).items():
        turn = median_turn(each for each in group if each.spans)
        if turn is not None:
            found.append((name, turn, group))
    return sorted(found, key=lambda each: each[1].voice_to_voice_s or 0.0)


def _scale(chosen: Sequence[tuple[str, TurnReport, list[TurnReport]]]) -> Scale:
    longest_s = max(turn.spans[-1].end_s for _, turn, _ in chosen)
    return Scale(start_s=0.0, end_s=longest_s, left=_PLOT_LEFT, right=_PLOT_RIGHT, unit="")


def _panels(
    chosen: Sequence[tuple[str, TurnReport, list[TurnReport]]], scale: Scale
) -> tuple[str, float]:
    """The panels one under the other, and where they end."""
    parts, y = [], float(_TOP)
    for name, turn, group in chosen:
        rows = waterfall_rows(turn.spans)
        parts.append(_head(name, turn, group, y))
        parts += [_row(row, scale, y + _HEAD + _ROW * i) for i, row in enumerate(rows)]
        end = y + _HEAD + _ROW * len(rows)
        parts.append(rule(scale, turn.spans[-1].end_s, top=y + 6, bottom=end, class_="mark"))
        y = end + _GAP
    return "".join(parts), y


def _head(name: str, turn: TurnReport, group: Sequence[TurnReport], y: float) -> str:
    found = summary(latencies_s(group))
    n = found.n if found else 0
    of = element("tspan", escaped(f"median of {n} turns"), class_="soft", dx=8)
    words = escaped(f"{name} {ms_text(turn.voice_to_voice_s)}")
    return element("text", words + of, class_="head", x=_MARGIN, y=y + 22)


def _row(row: Row, scale: Scale, y: float) -> str:
    kind = element("tspan", escaped(row.kind), class_="soft", dx=6) if row.kind in _SHOWN else ""
    label = element("text", escaped(row.name, most=32) + kind, x=_MARGIN, y=y + 14)
    bars = "".join(
        bar(scale, s.kind, s.start_s, s.end_s, y=y + 3, height=14, tip=f"{row.name}: {row.amount}")
        for s in row.spans
    )
    amount = text(row.amount, x=_WIDTH - _MARGIN, y=y + 14, text_anchor="end")
    return label + bars + amount


def _legend(chosen: Sequence[tuple[str, TurnReport, list[TurnReport]]], y: float) -> str:
    present = {span.kind for _, turn, _ in chosen for span in turn.spans}
    parts, x = [], float(_MARGIN)
    for kind in (kind for kind in LOOKS if kind in present):
        parts.append(element("rect", class_=f"k-{kind}", x=x, y=y - 10, width=11, height=11, rx=2))
        parts.append(text(kind, x=x + 17, y=y))
        x += 17 + 8.0 * len(kind) + 22
    return "".join(parts)


def _file(
    content: str,
    height: float,
    title: str,
    chosen: Sequence[tuple[str, TurnReport, list[TurnReport]]],
) -> str:
    desc = ". ".join(
        f"{name} {ms_text(turn.voice_to_voice_s)}: {description(waterfall_rows(turn.spans))}"
        for name, turn, _ in chosen
    )
    about = element("title", escaped(title)) + element("desc", escaped(desc))
    paper = element(
        "rect", class_="paper", rx=10, x=0.5, y=0.5, width=_WIDTH - 1, height=height - 1
    )
    size = {"viewBox": f"0 0 {_WIDTH} {height:g}", "width": f"{_WIDTH}", "height": f"{height:g}"}
    body = about + element("style", _CSS) + paper + content
    return element("svg", body, xmlns="http://www.w3.org/2000/svg", role="img", **size) + "\n"
