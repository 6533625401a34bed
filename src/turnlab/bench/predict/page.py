"""Predictions as a page: distributions, whose time it is, the curve of capacity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from turnlab.bench.predict.advice import Advice
from turnlab.bench.predict.capacity import Capacity, Point
from turnlab.bench.predict.path import KINDS
from turnlab.bench.predict.prediction import Prediction
from turnlab.bench.predict.told import conditions, critical, headline, notes
from turnlab.bench.predict.validation import LEVELS, TOLERANCES, Check, Validation
from turnlab.bench.predict.workload import Floats
from turnlab.bench.statistics import quantile
from turnlab.reports.page import facts_html, page_html, section
from turnlab.reports.run_charts import shares
from turnlab.reports.run_report import SubjectReport
from turnlab.reports.run_values import number, with_interval
from turnlab.reports.svg import drawing, element, plot, text
from turnlab.reports.words import escaped

_STYLES = ("run.css",)
_FOOT = "<p>Made by turnlab predict. What is predicted was not measured.</p>"
_TOP, _HEIGHT, _FEET = 16.0, 180.0, 40.0
_MOST_POINTS = 400


def prediction_page(
    found: Prediction, advice: Advice | None = None, capacity: Capacity | None = None
) -> str:
    """A self-contained page."""
    name = found.question.cluster
    rulings = "".join(
        f'<li class="{each.outcome}"><p>{escaped(each.sentence)}</p></li>' for each in found.rulings
    )
    body = [
        f'<p class="lead">{escaped(headline(found))}</p>',
        f'<ul class="rulings">{rulings}</ul>' if rulings else "",
        facts_html(
            {"conditions": conditions(found.question), "turns": f"{found.question.turns:,}"}
        ),
        section("Predicted latency", _latency(found)),
        section("Whose time it is", f"<p>{escaped(critical(found))}</p>{_components(found)}"),
    ]
    if advice is not None:
        body.append(section("What would help", _advice(advice)))
    if capacity is not None:
        body.append(section("How many at once", _capacity(capacity)))
    told = "".join(f"<li>{escaped(each)}</li>" for each in notes(found))
    body.append(section("To be known", f"<ul>{told}</ul>" if told else ""))
    heading = f"{name}, predicted"
    return page_html(heading, heading, "".join(body), _FOOT, styles=_STYLES)


def validation_page(found: Validation) -> str:
    """Measured beside predicted, for every Cluster of the Run."""
    lead = (
        "Every error is within what is tolerated." if found.right else "Some errors are too large."
    )
    body = [f'<p class="lead">{lead}</p>', *(_check(each) for each in found.checks)]
    heading = f"{found.run_id}, predicted and measured"
    return page_html(heading, heading, "".join(body), _FOOT, styles=_STYLES)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escaped(each)}</th>" for each in head)
    lines = "".join(_line(row) for row in rows)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _line(row: Sequence[str]) -> str:
    first, *others = row
    cells = "".join(f"<td>{escaped(each)}</td>" for each in others)
    return f'<tr><th scope="row">{escaped(first)}</th>{cells}</tr>'


def _latency(found: Prediction) -> str:
    rows = [
        (name.removeprefix("voice_to_voice."), with_interval(figure, "s"))
        for name, figure in found.figures.items()
        if figure.value is not None
    ]
    subject = _subject("predicted", found.played.voice_to_voice_s)
    return _table(("voice to voice", "seconds"), rows) + shares(
        [subject], "voice_to_voice", "voice to voice"
    )


def _subject(name: str, values: Floats) -> SubjectReport:
    finite = np.sort(values[np.isfinite(values)])
    return SubjectReport(
        name=name,
        cluster=name,
        mode="",
        run_id="",
        tracks=len(finite),
        statuses={},
        latencies={"voice_to_voice": finite},
    )


def _components(found: Prediction) -> str:
    rows = [
        (
            each.component,
            f"{each.share * 100:.0f} %",
            *(number(each.seconds[kind], "s") for kind in KINDS),
            f"{-each.faster_p50_s * 1000:+.0f} ms",
            f"{-each.faster_p95_s * 1000:+.0f} ms",
        )
        for each in found.shares
    ]
    head = ("Component", "share", *KINDS, "10 % faster: p50", "p95")
    return _table(head, rows)


def _advice(advice: Advice) -> str:
    rows = [
        (
            each.what,
            number(each.p50_s, "s"),
            number(each.p95_s, "s"),
            "?" if each.cost_usd is None else f"{each.cost_usd:.4f}",
            "yes" if each.kept else "no",
        )
        for each in advice.options
    ]
    head = ("change", "p50, s", "p95, s", "USD a turn", "in budget")
    return f"<p>{escaped(advice.sentence)}</p>{_table(head, rows)}"


def _capacity(capacity: Capacity) -> str:
    rows = [
        (
            str(each.at_once),
            number(each.p50_s, "s"),
            number(each.p95_s, "s"),
            f"{each.per_minute:.1f}",
            ("yes" if each.kept else "no") if capacity.limits else "",
        )
        for each in capacity.points
    ]
    head = ("conversations", "p50, s", "p95, s", "turns a minute", "in budget")
    return f"<p>{escaped(capacity.sentence)}</p>{capacity_curve(capacity)}{_table(head, rows)}"


def capacity_curve(capacity: Capacity) -> str:
    """p50 and p95 by the number of conversations."""
    points = capacity.points
    most = max(each.at_once for each in points)
    top_s = max(each.p95_s for each in points) * 1.05 or 1.0
    parts = [_level(share * top_s, top_s) for share in (0.0, 0.5, 1.0)]
    for number_, (name, value) in enumerate((("p50", _p50), ("p95", _p95))):
        line = "L".join(
            f"{p.at_once / most * 1000:.1f} {_HEIGHT * (1 - value(p) / top_s):.1f}" for p in points
        )
        parts.append(plot(f"M{line}", y=_TOP, height=_HEIGHT, class_=f"curve s{number_}"))
        last = _TOP + _HEIGHT * (1 - value(points[-1]) / top_s)
        parts.append(text(name, class_="tick", x="100%", y=last - 4, text_anchor="end"))
    for each in points:
        parts.append(
            text(
                str(each.at_once),
                class_="tick",
                x=f"{each.at_once / most * 100:.1f}%",
                y=_TOP + _HEIGHT + 14,
                text_anchor="end",
            )
        )
    note = "conversations at once"
    parts.append(text(note, class_="tick", x="0%", y=_TOP + _HEIGHT + 30))
    if capacity.most:
        x = f"{capacity.most / most * 100:.1f}%"
        rule = element("line", class_="limit", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT)
        parts.append(rule)
    return drawing(
        "".join(parts),
        height=_TOP + _HEIGHT + _FEET,
        title="Voice to voice by conversations at once",
        desc=capacity.sentence,
    )


def _p50(point: Point) -> float:
    return point.p50_s


def _p95(point: Point) -> float:
    return point.p95_s


def _level(seconds: float, top_s: float) -> str:
    y = _TOP + _HEIGHT * (1 - seconds / top_s)
    line = element("line", class_="grid", x1=0, x2="100%", y1=y, y2=y)
    return line + text(f"{seconds:.2f} s", class_="tick", x=0, y=y - 3)


def _check(check: Check) -> str:
    pair = [_subject("measured", check.measured), _subject("predicted", check.predicted)]
    rows = []
    for level in LEVELS:
        error = check.errors[level]
        told = "-" if error.value is None else f"{error.value * 100:+.1f} %"
        allowed = f"{TOLERANCES[check.sort][LEVELS.index(level)] * 100:.0f} %"
        values = (quantile(check.measured, level), quantile(check.predicted, level))
        name = f"p{level * 100:g}"
        rows.append((name, number(values[0], "s"), number(values[1], "s"), told, allowed))
    head = ("", "measured, s", "predicted, s", "off by", "tolerated")
    content = f"<p>{escaped(check.sentence)}</p>{_table(head, rows)}"
    content += shares(pair, "voice_to_voice", "voice to voice") + _pairs(check)
    return section(escaped(check.name), content)


def _pairs(check: Check) -> str:
    """Predicted quantiles over measured ones (a QQ plot): on the line where they are equal."""
    count = min(len(check.measured), _MOST_POINTS)
    at = (np.arange(count) + 0.5) / count
    measured, predicted = (np.quantile(v, at) for v in (check.measured, check.predicted))
    top_s = float(max(measured.max(), predicted.max())) * 1.03 or 1.0
    side = 240.0
    dots = "".join(
        element(
            "circle",
            cx=f"{m / top_s * side:.1f}",
            cy=f"{side - p / top_s * side:.1f}",
            r=3,
        )
        for m, p in zip(measured, predicted, strict=True)
    )
    parts = [
        element("line", class_="limit", x1=0, x2=side, y1=side, y2=0),
        element("line", class_="ground", x1=0, x2=side, y1=side, y2=side),
        element("line", class_="ground", x1=0, x2=0, y1=0, y2=side),
        element("g", dots, class_="spots s0"),
        text(f"measured, to {top_s:.2f} s", class_="tick", x=0, y=side + 16),
        text("predicted", class_="tick", x=4, y=12),
    ]
    return drawing(
        "".join(parts),
        height=side + 24,
        title="Quantiles, predicted by measured",
        desc=check.sentence,
    )
