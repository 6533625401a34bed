"""The verdicts on top of the page, and how the subjects differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnlab.reports.run_charts import gauge, swatch
from turnlab.reports.run_report import ComparisonReport, DifferenceLine, Meaning, Ruling, RunReport
from turnlab.reports.run_terms import breakable, term
from turnlab.reports.run_values import NOTHING, amount, known, signed, with_interval
from turnlab.reports.run_words import SIGNS, outcome_of, word_of
from turnlab.reports.tables import html_table
from turnlab.reports.words import escaped


def badge(rulings: Sequence[Ruling]) -> str:
    """Their outcome as a word with a sign, so that its colour need not be seen."""
    outcome, word = outcome_of(rulings), word_of(rulings)
    sign = SIGNS.get(outcome, "?")
    return f'<span class="badge {escaped(outcome, most=20)}">{sign} {escaped(word, most=40)}</span>'


def verdicts_html(report: RunReport) -> str:
    """Each subject with what became of each of its limits."""
    parts = []
    for number_, subject in enumerate(report.subjects):
        rulings = [each for each in report.rulings if each.subject == subject.name]
        if rulings:
            items = "".join(_ruling(each, report.meanings) for each in rulings)
            name = f"{swatch(number_)}{breakable(subject.name)}"
            head = f"<h3>{name} {badge(rulings)}</h3>"
            parts.append(f'{head}<ul class="rulings">{items}</ul>')
    return "".join(parts)


def _ruling(ruling: Ruling, meanings: Mapping[str, Meaning]) -> str:
    name = term(ruling.metric, meanings)
    told = f'<code class="soft">{escaped(ruling.limit, most=200)}</code>'
    figure = with_interval(ruling.figure, ruling.unit)
    sentence = breakable(ruling.sentence)
    blame = f'<p class="blame">{escaped(ruling.blame, most=1000)}</p>' if ruling.blame else ""
    return (
        f'<li class="{escaped(ruling.outcome, most=20)}"><div class="head">{badge([ruling])}'
        f" <b>{name}</b> {told} <span>{escaped(figure)}</span></div>{gauge(ruling)}"
        f"<p>{sentence}</p>{blame}</li>"
    )


def comparisons_html(
    comparisons: Sequence[ComparisonReport], meanings: Mapping[str, Meaning]
) -> str:
    """The sentence of each comparison and its table of differences."""
    return "".join(_comparison(each, meanings) for each in comparisons)


def _comparison(found: ComparisonReport, meanings: Mapping[str, Meaning]) -> str:
    about = f"{breakable(found.b)} against {breakable(found.a)}"
    if found.refused:
        return f"<h3>{about}</h3><p>{breakable(found.refused)}</p>"
    head = ["", "", "B less A", "A", "B", "times"]
    rows = [_difference(each, found.worse, meanings) for each in found.differences]
    what = f"Differences, {escaped(found.b, most=160)} against {escaped(found.a, most=160)}"
    table = html_table(what, head, rows, names=2, stacked=True) if rows else ""
    key = f"A is {breakable(found.a)}, B is {breakable(found.b)}."
    sentence = f"<p>{breakable(found.sentence)}</p>"
    return f'<h3>{about}</h3>{sentence}{table}<p class="soft small">{key}</p>'


def _difference(line: DifferenceLine, worse: str, meanings: Mapping[str, Meaning]) -> list[str]:
    low, high = signed(line.low, line.unit, bare=True), signed(line.high, line.unit, bare=True)
    wide = NOTHING not in (low, high) and low != high
    between = f'<span class="between">{low} to {high}</span>' if wide else ""
    ratio = known(line.ratio)
    return [
        term(line.metric, meanings, line.title),
        _standing(line, worse),
        signed(line.difference, line.unit) + between,
        amount(line.a, line.unit),
        amount(line.b, line.unit),
        NOTHING if ratio is None else f"{ratio:.2f}",
    ]


def _standing(line: DifferenceLine, worse: str) -> str:
    """What the interval says of the difference."""
    low, high = known(line.low), known(line.high)
    if line.regression:
        return f'<span class="badge fail">✕ {escaped(worse)}</span>'
    if low is None or high is None:
        return '<span class="soft">too few turns</span>'
    if low == high == 0:
        return '<span class="soft">the same</span>'
    if low <= 0 <= high:
        return '<span class="soft">no clear difference</span>'
    good = high < 0 if line.better == "less" else low > 0
    return '<span class="badge pass">✓ better</span>' if good else "a little worse"
