"""Predictions at a terminal: readable in 80 columns."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from turnlab.bench.measuring.statistics import quantile
from turnlab.bench.predict.advice import Advice
from turnlab.bench.predict.capacity import Capacity
from turnlab.bench.predict.prediction import Prediction
from turnlab.bench.predict.told import critical, ends, headline, notes, saved, verdict
from turnlab.bench.predict.validation import LEVELS, Check, Validation
from turnlab.reports.run_values import number
from turnlab.reports.terminal import Line

_STYLES = {"pass": "bold green", "fail": "bold red", "undecided": "bold yellow"}
_NO_LINES = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}


def prediction_view(
    found: Prediction, advice: Advice | None = None, capacity: Capacity | None = None
) -> RenderableType:
    """Figures, verdicts, whose time it is, and what would help."""
    parts: list[RenderableType] = [Line(headline(found), "bold"), _figures(found)]
    for ruling in found.rulings:
        parts.append(Line(ruling.sentence, _STYLES[ruling.outcome]))
    parts += [Line(critical(found)), _components(found)]
    if advice is not None:
        parts += [Line(advice.sentence), _options(advice)]
    if capacity is not None:
        parts += [Line(capacity.sentence, "bold"), _curve(capacity)]
    parts += [Line(f"note: {each}", "dim") for each in notes(found)]
    return Group(*parts)


def _table(*columns: str) -> Table:
    table = Table(**_NO_LINES)  # type: ignore[arg-type]
    for number_, name in enumerate(columns):
        table.add_column(name, justify="right" if number_ else "left", no_wrap=number_ > 0)
    return table


def _figures(found: Prediction) -> RenderableType:
    table = _table("voice to voice, s", "predicted", "95 % interval")
    for name, figure in found.figures.items():
        if figure.value is not None:
            told = number(figure.value, "s")
            table.add_row(name.removeprefix("voice_to_voice."), told, ends(figure))
    table.add_row("mean", number(found.mean_s, "s"), "")
    return table


def _components(found: Prediction) -> RenderableType:
    table = _table("Component", "share", "work", "crowded", "waits", "10 % faster: p50", "p95")
    for each in found.shares:
        waits_s = each.seconds["queue"] + each.seconds["transfer"]
        table.add_row(
            each.component,
            f"{each.share * 100:.0f} %",
            number(each.seconds["model"], "s"),
            number(each.seconds["crowding"], "s"),
            number(waits_s, "s"),
            saved(each.faster_p50_s),
            saved(each.faster_p95_s),
        )
    return table


def _options(advice: Advice) -> RenderableType:
    table = _table("change", "p50, s", "p95, s", "USD a turn", "in budget")
    for each in advice.options:
        cost = "?" if each.cost_usd is None else f"{each.cost_usd:.4f}" if each.cost_usd else "0"
        kept = "?" if each.kept is None else "yes" if each.kept else "no"
        table.add_row(each.what, number(each.p50_s, "s"), number(each.p95_s, "s"), cost, kept)
    return table


def _curve(capacity: Capacity) -> RenderableType:
    table = _table("conversations", "p50, s", "p95, s", "turns a minute", "in budget")
    for each in capacity.points:
        kept = "yes" if each.kept else "no"
        table.add_row(
            str(each.at_once),
            number(each.p50_s, "s"),
            number(each.p95_s, "s"),
            f"{each.per_minute:.1f}",
            kept if capacity.limits else "-",
        )
    return table


def validation_view(found: Validation) -> RenderableType:
    """Measured, predicted, and by how much it is off, a table a Cluster."""
    parts: list[RenderableType] = []
    for check in found.checks:
        parts += [Line(check.name, "bold"), _errors(check), Line(check.sentence)]
    parts += [
        Line(f"note: {check.name}: {note}", "dim") for check in found.checks for note in check.notes
    ]
    return Group(*parts)


def _errors(check: Check) -> RenderableType:
    table = _table("", "measured", "predicted", "off by", "tolerated", "")
    for level in LEVELS:
        error = check.errors[level]
        name = f"p{level * 100:g}"
        if error.value is None:
            table.add_row(name, "", "", "", "", "too few to tell")
            continue
        table.add_row(
            name,
            number(quantile(check.measured, level), "s"),
            number(quantile(check.predicted, level), "s"),
            f"{error.value * 100:+.1f} %",
            f"{check.tolerated(level) * 100:.0f} %",
            verdict(check.right(level)),
        )
    return table
