"""The curve of capacity as a picture: voice to voice by the number of conversations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from turnlab.bench.predict.capacity import Capacity, Point
from turnlab.reports.svg import drawing, element, plot, text

_TOP, _HEIGHT, _FEET = 16.0, 180.0, 40.0
_WIDTH = 1_000.0
"""Of plots, whatever the page is wide."""

_APART = 0.07
"""Of the width: what two numbers beneath the axis need."""


def capacity_curve(capacity: Capacity) -> str:
    """p50 and p95 by the number of conversations, of which the axis is logarithmic."""
    points = capacity.points
    most = max(each.at_once for each in points)
    top_s = max(each.p95_s for each in points) * 1.05 or 1.0
    parts = [_level(share * top_s, top_s) for share in (0.0, 0.5, 1.0)]
    parts.append(_line(points, "p50", lambda each: each.p50_s, most, top_s))
    parts.append(_line(points, "p95", lambda each: each.p95_s, most, top_s))
    parts += [_tick(count, most) for count in ticks(most)]
    note = "conversations at once"
    parts.append(text(note, class_="tick", x="0%", y=_TOP + _HEIGHT + 30))
    if capacity.most:
        x = f"{_along(capacity.most, most) * 100:.1f}%"
        parts.append(element("line", class_="limit", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT))
    return drawing(
        "".join(parts),
        height=_TOP + _HEIGHT + _FEET,
        title="Voice to voice by conversations at once",
        desc=capacity.sentence,
    )


def ticks(most: int) -> list[int]:
    """1, 2, 5, 10 and so on below `most`, and that; none so near another that they overlap."""
    found = [most]
    powers = range(math.floor(math.log10(most)), -1, -1)
    for count in [step * 10**power for power in powers for step in (5, 2, 1)]:
        if count < found[-1] and _along(found[-1], most) - _along(count, most) >= _APART:
            found.append(count)
    return found[::-1]


def _along(count: int, most: int) -> float:
    """Where on the axis, from 0 to 1."""
    return math.log(count) / math.log(most) if most > 1 else 0.0


def _line(
    points: Sequence[Point],
    name: str,
    value: Callable[[Point], float],
    most: int,
    top_s: float,
) -> str:
    places = "L".join(
        f"{_along(each.at_once, most) * _WIDTH:.1f} {_HEIGHT * (1 - value(each) / top_s):.1f}"
        for each in points
    )
    look = "s0" if name == "p50" else "s1"
    line = plot(f"M{places}", y=_TOP, height=_HEIGHT, class_=f"curve {look}")
    last = _TOP + _HEIGHT * (1 - value(points[-1]) / top_s)
    return line + text(name, class_="tick", x="100%", y=last - 4, text_anchor="end")


def _tick(count: int, most: int) -> str:
    along = _along(count, most)
    anchor = "start" if count == 1 else "end" if count == most else "middle"
    at = f"{along * 100:.1f}%"
    return text(str(count), class_="tick", x=at, y=_TOP + _HEIGHT + 14, text_anchor=anchor)


def _level(seconds: float, top_s: float) -> str:
    y = _TOP + _HEIGHT * (1 - seconds / top_s)
    line = element("line", class_="grid", x1=0, x2="100%", y1=y, y2=y)
    return line + text(f"{seconds:.2f} s", class_="tick", x=0, y=y - 3)
