"""Predictions as a page: distributions, whose time it is, the curve of capacity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from turnlab.bench.measuring.statistics import quantile
from turnlab.bench.predict.advice import Advice
from turnlab.bench.predict.capacity import Capacity
from turnlab.bench.predict.curve import capacity_curve
from turnlab.bench.predict.path import KINDS
from turnlab.bench.predict.prediction import Prediction
from turnlab.bench.predict.told import (
    conditions,
    critical,
    headline,
    notes,
    saved,
    verdict,
    with_ends,
)
from turnlab.bench.predict.validation import LEVELS, Check, Validation
from turnlab.bench.predict.workload import Floats
from turnlab.reports.page import facts_html, page_html, section
from turnlab.reports.run_charts import shares
from turnlab.reports.run_report import SubjectReport
from turnlab.reports.run_values import number
from turnlab.reports.svg import drawing, element, text
from turnlab.reports.words import escaped

_STYLES = ("run.css",)
_FOOT = "<p>Made by turnlab predict. What is predicted was not measured.</p>"
_MOST_POINTS = 400

_LEADS = {
    True: "Every error is within what is tolerated.",
    False: "Some errors are too large.",
    None: "No error is surely too large, but of some there are too few turns to tell.",
}


def prediction_page(
    found: Prediction, advice: Advice | None = None, capacity: Capacity | None = None
) -> str:
    """A self-contained page."""
    rulings = "".join(
        f'<li class="{each.outcome}"><p>{escaped(each.sentence)}</p></li>' for each in found.rulings
    )
    body = [
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
    title = f"{found.question.cluster}, predicted"
    return page_html(title, headline(found), "".join(body), _FOOT, styles=_STYLES)


def validation_page(found: Validation) -> str:
    """Measured beside predicted, for every Cluster of the Run."""
    body = "".join(map(_check, found.checks))
    title = f"{found.run_id}, predicted and measured"
    return page_html(title, _LEADS[found.right], body, _FOOT, styles=_STYLES)


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
        (name.removeprefix("voice_to_voice."), with_ends(figure))
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
            saved(each.faster_p50_s),
            saved(each.faster_p95_s),
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
            "?" if each.kept is None else "yes" if each.kept else "no",
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


def _check(check: Check) -> str:
    pair = [_subject("measured", check.measured), _subject("predicted", check.predicted)]
    rows = []
    for level in LEVELS:
        error = check.errors[level]
        told = "-" if error.value is None else f"{error.value * 100:+.1f} %"
        allowed = f"{check.tolerated(level) * 100:.0f} %"
        values = (quantile(check.measured, level), quantile(check.predicted, level))
        name = f"p{level * 100:g}"
        measured, predicted = (number(value, "s") for value in values)
        rows.append((name, measured, predicted, told, allowed, verdict(check.right(level))))
    head = ("", "measured, s", "predicted, s", "off by", "tolerated", "")
    content = f"<p>{escaped(check.sentence)}</p>{_table(head, rows)}"
    content += "".join(f"<p>note: {escaped(note)}</p>" for note in check.notes)
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
