"""Pictures of distributions: a row per subject, the share of turns by time, a figure at its limit.

All are drawn from at most a few hundred points, however many turns there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turnlab.reports.run_report import Figure, Ruling, SubjectReport
from turnlab.reports.run_terms import breakable
from turnlab.reports.run_values import bound, interval, known, with_interval
from turnlab.reports.svg import Scale, axis, drawing, element, plot, rule, text
from turnlab.reports.words import escaped

LOOKS = 6
"""How many subjects look different; further ones begin again."""
_DOTS = 40
"""Up to so many turns are drawn one by one, more as the outline of a histogram."""
_BINS = 120
_POINTS = 240
_TOP, _AXIS = 22, 40
_ROW, _HILL = 54, 40


def seconds_label(seconds: float) -> str:
    """A tick in seconds, such as `0.25`."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") or "0"


def look(number: int) -> str:
    """The class of the colour of a subject by its place on the page."""
    return f"s{number % LOOKS}"


def spreads(subjects: Sequence[SubjectReport], metric: str, title: str) -> str:
    """How a metric spreads: a row per subject, its median and p95 with their intervals."""
    rows = [(i, s) for i, s in enumerate(subjects) if len(s.latencies.get(metric, ()))]
    if not rows:
        return ""
    budgets = [s.budget_s for _, s in rows if s.budget_s] if metric == "voice_to_voice" else []
    scale = Scale(start_s=0.0, end_s=_end_s([s.latencies[metric] for _, s in rows], budgets))
    limits = sorted(set(budgets))
    pictures = [_row(number, subject, metric, scale, limits) for number, subject in rows]
    foot = axis(scale, top=0, bottom=4, unit_note=f"s, {title}", label=seconds_label)
    labels = "".join(_limit_label(scale, each) for each in limits)
    head = f'<svg class="drawing" width="100%" height="18" aria-hidden="true">{labels}</svg>'
    ticks = f'<svg class="drawing" width="100%" height="44" aria-hidden="true">{foot}</svg>'
    return f'<div class="rows">{head if labels else ""}{"".join(pictures)}{ticks}</div>'


def _end_s(columns: Sequence[NDArray[np.float64]], budgets: Sequence[float]) -> float:
    """Where the axis ends: a few turns far out must not squeeze all others into a corner."""
    ends = [min(float(c[-1]), 1.5 * float(np.quantile(c, 0.99))) for c in columns]
    return max([*ends, *budgets]) * 1.04 or 1.0


def _figures(subject: SubjectReport, metric: str) -> str:
    told = ((p, subject.figures.get(f"{metric}.{p}")) for p in ("p50", "p95"))
    return ", ".join(f"{p} {with_interval(figure, 's')}" for p, figure in told if figure)


def _row(
    number: int, subject: SubjectReport, metric: str, scale: Scale, limits: Sequence[float]
) -> str:
    values = subject.latencies[metric]
    beyond = int((values > scale.end_s).sum())
    count = f"{len(values):,} turn{'s' * (len(values) != 1)}"
    told = f"{_figures(subject, metric)}; {count}" + (f", {beyond} beyond →" if beyond else "")
    shape = _dots if len(values) <= _DOTS else _hill
    lines = [rule(scale, tick, top=0, bottom=_ROW, class_="grid") for tick in scale.ticks()]
    lines += [rule(scale, limit, top=0, bottom=_ROW, class_="limit") for limit in limits]
    ground = element("line", class_="ground", x1=0, x2="100%", y1=_HILL, y2=_HILL)
    marks = [
        _mark(subject.figures.get(f"{metric}.{p}"), scale, _HILL + 3 + 6 * line)
        for line, p in enumerate(("p50", "p95"))
    ]
    content = "".join([*lines, shape(values, scale, look(number)), ground, *marks])
    picture = drawing(content, height=_ROW, title=subject.name, desc=told)
    name = f"{swatch(number)}<b>{breakable(subject.name)}</b>"
    caption = f'<figcaption>{name} <span class="soft">{escaped(told)}</span></figcaption>'
    return f"<figure>{caption}{picture}</figure>"


def _mark(figure: Figure | None, scale: Scale, y: float) -> str:
    """A tick at the figure and a beam as long as its interval."""
    if figure is None or known(figure.value) is None:
        return ""
    tick = rule(scale, figure.value or 0.0, top=0, bottom=_ROW, class_="mark")
    if not figure.bounded:
        return tick
    place = scale.stretch(*ends_of(figure, scale))
    tip = element("title", f"95 % interval {interval(figure, 's')} s")
    return element("rect", tip, class_="beam", y=y, height=4, rx=2, **place) + tick


def ends_of(figure: Figure, scale: Scale) -> tuple[float, float]:
    """Both ends of an interval; where one is open, that of the axis."""
    low = scale.start_s if figure.low is None else figure.low
    return low, scale.end_s if figure.high is None else figure.high


def _dots(values: NDArray[np.float64], scale: Scale, class_: str) -> str:
    spots = (
        element("circle", cx=scale.x(float(v)), cy=_HILL / 2 + 8 * (i % 3 - 1), r=4)
        for i, v in enumerate(values)
    )
    return element("g", "".join(spots), class_=f"spots {class_}")


def _hill(values: NDArray[np.float64], scale: Scale, class_: str) -> str:
    """The outline of a histogram, a little smoothed."""
    counts, _ = np.histogram(values, bins=_BINS, range=(scale.start_s, scale.end_s))
    kernel = np.array([1, 4, 7, 4, 1], dtype=np.float64)
    smooth = np.convolve(counts, kernel, mode="same")
    heights = smooth / (smooth.max() or 1.0) * (_HILL - 4)
    x = (np.arange(_BINS) + 0.5) * 1000 / _BINS
    line = " ".join(f"L{a:.0f} {_HILL - b:.1f}" for a, b in zip(x, heights, strict=True))
    return plot(f"M0 {_HILL} {line} L1000 {_HILL}Z", y=0, height=_HILL, class_=f"hill {class_}")


def _limit_label(scale: Scale, budget_s: float) -> str:
    label = f"limit {seconds_label(budget_s)} s"
    place = {"x": scale.x(budget_s), "text_anchor": scale.anchor(budget_s)}
    return text(label, class_="tick", y=14, **place)


def _budget(scale: Scale, budget_s: float, bottom: float) -> str:
    line = rule(scale, budget_s, top=_TOP, bottom=bottom, class_="limit")
    return line + _limit_label(scale, budget_s)


def shares(subjects: Sequence[SubjectReport], metric: str, title: str) -> str:
    """The share of turns that are answered by a moment; those that failed never are."""
    found = [(i, s.latencies[metric]) for i, s in enumerate(subjects) if metric in s.latencies]
    found = [(i, values) for i, values in found if len(values)]
    if not found:
        return ""
    height = 200.0
    budgets = {s.budget_s for s in subjects if s.budget_s} if metric == "voice_to_voice" else set()
    scale = Scale(start_s=0.0, end_s=_end_s([values for _, values in found], list(budgets)))
    bottom = _TOP + height
    parts = [axis(scale, top=_TOP, bottom=bottom, unit_note=f"s, {title}", label=seconds_label)]
    parts += [_level(share, height) for share in (0.5, 0.95)]
    parts += [_budget(scale, budget_s, bottom) for budget_s in sorted(budgets)]
    parts += [_curve(subjects[i], values, scale, height, i) for i, values in found]
    desc = "; ".join(f"{subjects[i].name}: {_figures(subjects[i], metric)}" for i, _ in found)
    name = f"Share of turns by {title}"
    picture = drawing("".join(parts), height=bottom + _AXIS, title=name, desc=desc)
    return picture + subjects_key(subjects)


def _level(share: float, height: float) -> str:
    y = _TOP + height * (1 - share)
    line = element("line", class_="grid", x1=0, x2="100%", y1=y, y2=y)
    return line + text(f"{share:.0%}".replace("%", " %"), class_="tick", x=0, y=y - 3)


def _curve(
    subject: SubjectReport,
    values: NDArray[np.float64],
    scale: Scale,
    height: float,
    number: int,
) -> str:
    """A staircase; of many turns, through evenly many of them."""
    n = len(values)
    ranks = np.unique(np.linspace(0, n - 1, min(n, _POINTS)).round().astype(np.int64))
    x = np.clip(values[ranks] / scale.end_s, 0, 1) * 1000
    y = (1 - (ranks + 1) / (n + subject.lost)) * height
    steps = "".join(f"H{a:.1f}V{b:.1f}" for a, b in zip(x, y, strict=True))
    class_ = f"curve {look(number)} d{number // LOOKS % 2}"
    return plot(f"M0 {height:g}{steps}", y=_TOP, height=height, class_=class_)


def subjects_key(subjects: Sequence[SubjectReport]) -> str:
    """Which colour stands for which subject."""
    items = (f"<li>{swatch(i)}{breakable(s.name)}</li>" for i, s in enumerate(subjects))
    return f'<ul class="key">{"".join(items)}</ul>'


def swatch(number: int) -> str:
    """A spot in the colour of a subject."""
    return f'<i class="swatch {look(number)}"></i>'


def gauge(ruling: Ruling) -> str:
    """Where the figure and its interval lie beside the limit; nothing without a figure."""
    values = (ruling.figure.value, ruling.figure.low, ruling.figure.high, ruling.bound)
    there = [value for value in values if known(value) is not None]
    if known(ruling.figure.value) is None:
        return ""
    least, most = min(v for v in there if v is not None), max(v for v in there if v is not None)
    room = 0.35 * (most - least) or 0.1 * abs(most) or 1.0
    scale = Scale(start_s=least - room, end_s=most + room)
    parts = [element("line", class_="ground", x1=0, x2="100%", y1=11, y2=11)]
    if ruling.figure.bounded:
        place = scale.stretch(*ends_of(ruling.figure, scale))
        parts.append(element("rect", class_="beam", y=8, height=6, rx=3, **place))
    at, line = scale.x(ruling.figure.value or 0.0), scale.x(ruling.bound)
    parts.append(element("circle", class_="at", cx=at, cy=11, r=5))
    parts.append(element("line", class_="limit", x1=line, x2=line, y1=1, y2=21))
    anchor = scale.anchor(ruling.bound)
    told = f"limit {bound(ruling.bound, ruling.unit)}"
    parts.append(text(told, class_="tick", x=line, y=34, text_anchor=anchor))
    desc = f"{with_interval(ruling.figure, ruling.unit)}, {told}"
    return drawing("".join(parts), height=38, title=ruling.limit, desc=desc)
