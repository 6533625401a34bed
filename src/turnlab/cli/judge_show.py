"""What `turnlab judge` found, on the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnlab.bench.judging.agreement import Agreement
from turnlab.bench.judging.report import CriterionFigure, Result
from turnlab.bench.measuring.metrics import Estimate
from turnlab.reports.words import clean

SHOWN = 10
"""Replies that were not judged that the terminal gets; --json has all."""


def print_result(result: Result, console: Console) -> None:
    """Print means, agreement with people, and what became of the replies."""
    name, rubric = clean(result.model), clean(result.rubric.name)
    scale = result.rubric.scale
    console.print(Text(f"{result.run_id} judged by {name}: {rubric}, {scale.min} to {scale.max}"))
    for subject in dict.fromkeys((each.cluster, each.mode) for each in result.figures):
        console.print(Text(f"{subject[0]} ({subject[1]})", style="bold"), soft_wrap=True)
        console.print(
            _means([each for each in result.figures if (each.cluster, each.mode) == subject])
        )
    for each in result.agreements:
        _print_agreement(each, console)
    if result.of_other_replies:
        console.print(
            f"{result.of_other_replies} scores of the dataset were given to other replies than "
            "these, or on another scale: they are left out."
        )
    _print_counts(result, console)


def _means(rows: list[CriterionFigure]) -> Table:
    heads = ("  Criterion", "Mean", "95 %", "Replies", "How often each score")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        often = ", ".join(f"{score}: {count}x" for score, count in row.scores.items())
        mean = f"{row.mean.value:.2f}"
        table.add_row(f"  {row.criterion}", mean, _ends(row.mean, _two), str(row.mean.n), often)
    return table


def _print_agreement(found: Agreement, console: Console) -> None:
    people = "1 person" if found.people == 1 else f"{found.people} people"
    head = f"{found.criterion}: {found.replies} replies were scored by the model and by {people}"
    console.print(Text(head, style="bold"))
    for name, (words, form) in _WORDS.items():
        if name in found.figures:
            console.print(Text(f"  {words}: {_told(found.figures[name], form)}"))


def _told(figure: Estimate, form: Callable[[float], str]) -> str:
    if figure.value is None:
        return figure.why_absent
    return f"{form(figure.value)} ({_ends(figure, form)})"


def _ends(figure: Estimate, form: Callable[[float], str]) -> str:
    if figure.low is None or figure.high is None:
        return figure.note or "-"
    return f"{form(figure.low)} to {form(figure.high)}"


def _two(value: float) -> str:
    return f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


_WORDS: dict[str, tuple[str, Callable[[float], str]]] = {
    "alpha": ("Krippendorff's alpha, model and people", _two),
    "alpha_of_people": ("Krippendorff's alpha, people among themselves", _two),
    "spearman": ("Spearman's correlation with their mean", _two),
    "exact": ("the same score", _percent),
    "within_one": ("at most one apart", _percent),
    "bias": ("the model gives more (+) or less (-) by", _signed),
}


def _print_counts(result: Result, console: Console) -> None:
    counts = result.counts
    console.print(
        Text(f"{counts.judged} judged now, {counts.judged_before} before, {counts.left} left.")
    )
    if counts.refused:
        console.print(f"{counts.refused} not sent: their users refused that anything leaves.")
    if counts.without_text:
        console.print(f"{counts.without_text} have no text that is kept.")
    if counts.usage.input_tokens is not None:
        cost = "price unknown" if result.cost_usd is None else f"{result.cost_usd:.4f} USD"
        read, made = counts.usage.input_tokens, counts.usage.output_tokens or 0
        console.print(f"{read:,} tokens read, {made:,} written: {cost}.")
    if counts.not_judged:
        console.print(Text(f"{len(counts.not_judged)} could not be judged:", style="red"))
    for each in counts.not_judged[:SHOWN]:
        console.print(Text(f"  {each.track_id}"), soft_wrap=True)
        console.print(Text(f"    {clean(each.reason)}"))
    if len(counts.not_judged) > SHOWN:
        console.print(f"  and {len(counts.not_judged) - SHOWN} more; --json lists them")
