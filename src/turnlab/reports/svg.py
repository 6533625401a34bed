"""Shapes, text and time axes in SVG. Content is escaped here, and only here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from turnlab.profiles import SpanKind
from turnlab.reports.words import escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Seconds on an axis from `left` to `right`, in per cent of the width or in user units.

    Per cent let a picture follow its page while its text keeps its size.
    """

    start_s: float
    end_s: float
    left: float = 0.0
    right: float = 100.0
    unit: str = "%"

    def x(self, seconds: float) -> str:
        """Where a moment lies; the nearer end of the axis for one beyond it."""
        return f"{self._at(seconds):.2f}{self.unit}"

    def stretch(self, start_s: float, end_s: float) -> dict[str, str]:
        """Where a stretch lies, as `x` and `width`; never so short that it cannot be seen."""
        least = 0.004 * (self.right - self.left)
        width = max(self._at(end_s) - self._at(start_s), least)
        left = min(self._at(start_s), self.right - width)
        return {"x": f"{left:.2f}{self.unit}", "width": f"{width:.2f}{self.unit}"}

    def _at(self, seconds: float) -> float:
        share = (seconds - self.start_s) / ((self.end_s - self.start_s) or 1.0)
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def holds(self, seconds: float) -> bool:
        """Whether a moment lies on the axis."""
        return self.start_s <= seconds <= self.end_s

    def anchor(self, seconds: float) -> str:
        """The text-anchor that keeps a label at this moment inside the picture."""
        share = (self._at(seconds) - self.left) / (self.right - self.left)
        return "start" if share < 0.06 else "end" if share > 0.94 else "middle"

    def ticks(self, most: int = 6) -> list[float]:
        """Round moments in seconds: steps of 1, 2 or 5 times a power of ten."""
        raw = max(self.end_s - self.start_s, 1e-6) / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw * 0.999)
        first = math.ceil(self.start_s / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.end_s / step + 1e-9) + 1)]


def element(tag: str, content: str = "", **attributes: object) -> str:
    """`<tag a="b">content</tag>`; content is markup, attributes are escaped, `a_b` reads `a-b`."""
    listed = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
        if value not in (None, "")
    )
    return f"<{tag}{listed}>{content}</{tag}>"


def text(words: str, **attributes: object) -> str:
    """A text element that holds the words, escaped."""
    return element("text", escaped(words), **attributes)


def bar(
    scale: Scale, kind: SpanKind, start_s: float, end_s: float, *, y: float, height: float, tip: str
) -> str:
    """A bar in the colour of its kind, with a tip for the pointer."""
    return element(
        "rect",
        element("title", escaped(tip)),
        class_=f"k-{kind}",
        y=y,
        height=height,
        rx=1.5,
        **scale.stretch(start_s, end_s),
    )


def rule(scale: Scale, seconds: float, *, top: float, bottom: float, class_: str) -> str:
    """An upright line at a moment."""
    x = scale.x(seconds)
    return element("line", class_=class_, x1=x, x2=x, y1=top, y2=bottom)


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}"


def axis(
    scale: Scale,
    *,
    top: float,
    bottom: float,
    unit_note: str = "",
    label: Callable[[float], str] = _milliseconds,
) -> str:
    """Faint lines at round moments with their milliseconds beneath, and a note on the unit.

    `label` says something else of a moment than its milliseconds.
    """
    ticks = scale.ticks()
    lines = [rule(scale, tick, top=top, bottom=bottom, class_="grid") for tick in ticks]
    labels = [
        text(
            label(tick),
            class_="tick",
            x=scale.x(tick),
            y=bottom + 14,
            text_anchor=scale.anchor(tick),
        )
        for tick in ticks
    ]
    note = text(unit_note, class_="tick", x=scale.x(scale.start_s), y=bottom + 30)
    return "".join([*lines, *labels, note if unit_note else ""])


def plot(path: str, *, y: float, height: float, class_: str) -> str:
    """A path in a box of 1000 by `height` units that is stretched to the picture's width."""
    return element(
        "svg",
        element("path", d=path, vector_effect="non-scaling-stroke"),
        class_=class_,
        y=y,
        width="100%",
        height=height,
        viewBox=f"0 0 1000 {height:g}",
        preserveAspectRatio="none",
    )


def drawing(content: str, *, height: float, title: str, desc: str) -> str:
    """An inline SVG as wide as its place, named and described for those who cannot see it."""
    about = element("title", escaped(title)) + element("desc", escaped(desc))
    return element(
        "svg",
        about + content,
        class_="drawing",
        role="img",
        aria_label=f"{title}. {desc}",
        width="100%",
        height=round(height),
    )
