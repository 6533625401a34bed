"""Figures as people read them, the same on the page and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping

from turnlab.reports.run_report import Figure, Meaning

NOTHING = "–"  # noqa: RUF001
_TO = "–"  # noqa: RUF001


def known(value: float | None) -> float | None:
    """The value, or None for what is no finite number."""
    return value if value is not None and math.isfinite(value) else None


def number(value: float | None, unit: str) -> str:
    """The number alone, to about three digits: seconds, US dollars, per cent, MiB."""
    value = known(value)
    if value is None:
        return NOTHING
    match unit:
        case "ratio":
            return _plain(value * 100, 1)
        case "usd":
            return _dollars(value)
        case "mib":
            return f"{value:,.0f}"
        case "score":
            return _plain(value, 2)
        case _:
            return _plain(value, 3)


def _plain(value: float, digits: int) -> str:
    """Fewer digits after the point for larger numbers; no minus before a zero."""
    size = abs(value)
    digits = digits if size < 10 else max(digits - 1, 1) if size < 100 else max(digits - 2, 0)
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not float(text) else text


def _dollars(value: float) -> str:
    if abs(value) < 0.0001:
        return f"{value:.2g}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}"


_UNITS = {"s": " s", "ratio": " %", "mib": " MiB", "usd": " USD"}


def amount(value: float | None, unit: str) -> str:
    """Such as `0.618 s`, `12.3 %`, `0.0042 USD`, `812 MiB`; a dash for nothing."""
    text = number(value, unit)
    return text if text == NOTHING else text + _UNITS.get(unit, "")


def bound(value: float, unit: str) -> str:
    """A limit with its unit, in no more digits than it was given with: `1 s`, `2.5 %`."""
    return f"{100 * value if unit == 'ratio' else value:g}{_UNITS.get(unit, '')}"


def interval(figure: Figure, unit: str) -> str:
    """Such as `0.601–0.633`, `from 0.601` if one end is open; nothing where there is none."""  # noqa: RUF002
    low, high = number(figure.low, unit), number(figure.high, unit)
    match figure.low, figure.high:
        case None, None:
            return ""
        case _ if low == high:
            return ""
        case _, None:
            return f"from {low}"
        case None, _:
            return f"up to {high}"
        case _:
            return f"{low}{_TO}{high}"


def with_interval(figure: Figure | None, unit: str) -> str:
    """Such as `0.618 s (0.601–0.633)`."""  # noqa: RUF002
    if figure is None:
        return NOTHING
    between = interval(figure, unit)
    return amount(figure.value, unit) + (f" ({between})" if between else "")


def signed(value: float | None, unit: str, *, bare: bool = False) -> str:
    """A difference with its sign; those of ratios are percentage points. `bare`: no unit."""
    value = known(value)
    if value is None:
        return NOTHING
    text = number(value, unit)
    sign = "+" if value > 0 and text.strip("0.") else ""
    if bare:
        return sign + text
    return sign + text + (" points" if unit == "ratio" else _UNITS.get(unit, ""))


def title_of(name: str, meanings: Mapping[str, Meaning]) -> str:
    """A figure's name for people, such as `Voice to voice, p95`."""
    return meanings[name].title if name in meanings else name


def unit_of(name: str, meanings: Mapping[str, Meaning]) -> str:
    """The unit of a figure; seconds for those that are not among the meanings."""
    return meanings[name].unit if name in meanings else "s"
