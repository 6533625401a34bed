"""Predictions at a terminal: readable in 80 columns."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from turnlab.bench.predict.advice import Advice
from turnlab.bench.predict.capacity import Capacity
from turnlab.bench.predict.prediction import Prediction
from turnlab.bench.predict.told import critical, headline, notes
from turnlab.bench.predict.validation import LEVELS, TOLERANCES, Validation
from turnlab.bench.statistics import quantile
from turnlab.reports.run_values import number, with_interval
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
            whole = with_interval(figure, "s")
            told = number(figure.value, "s")
            ends = whole.removeprefix(f"{told} s").strip(" ()")
            table.add_row(name.removeprefix("voice_to_voice."), told, ends or "-")
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
            f"{-each.faster_p50_s * 1000:+.0f} ms",
            f"{-each.faster_p95_s * 1000:+.0f} ms",
        )
    return table


def _options(advice: Advice) -> RenderableType:
    table = _table("change", "p50, s", "p95, s", "USD a turn", "in budget")
    for each in advice.options:
        cost = "?" if each.cost_usd is None else f"{each.cost_usd:.4f}" if each.cost_usd else "0"
        kept = "yes" if each.kept else "no"
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
    """Measured, predicted, and by how much it is off."""
    table = _table("Cluster", "", "measured", "predicted", "off by", "tolerated", "")
    for check in found.checks:
        for level in LEVELS:
            error = check.errors[level]
            if error.value is None:
                table.add_row(check.name, f"p{level * 100:g}", "", "", error.why, "", "")
                continue
            table.add_row(
                check.name,
                f"p{level * 100:g}",
                number(quantile(check.measured, level), "s"),
                number(quantile(check.predicted, level), "s"),
                f"{error.value * 100:+.1f} %",
                f"{TOLERANCES[check.sort][LEVELS.index(level)] * 100:.0f} %",
                "right" if check.right(level) else "WRONG",
            )
    lines = [Line(check.sentence) for check in found.checks]
    told = [Line(f"note: {note}", "dim") for check in found.checks for note in check.notes]
    return Group(table, *lines, *told)
