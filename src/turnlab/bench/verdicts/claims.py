"""What is claimed of a difference, in plain words: only what is significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnlab.bench.measuring.metric_names import parse_metric
from turnlab.bench.verdicts.words import percentile
from turnlab.reports.run_values import amount, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How one metric differs. `difference`, `low` and `high` are b less a, in the metric's unit."""

    metric: str
    """With its statistic, such as `voice_to_voice.p50`."""
    title: str
    unit: str
    better: str
    """Whether `less` or `more` of it is better."""
    a: float | None
    b: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    """The interval holds 95 of 100; None where there are too few turns to tell."""
    ratio: float | None = None
    """b over a; None where a is 0."""
    n: int = 0
    """Pairs of turns that it follows from."""
    groups: int = 0
    """How many different turns of the dataset are among them."""
    significant: bool = False
    """Whether the interval leaves out 0."""
    regression: bool = False
    """Whether b is worse by more than is tolerated, and that is shown by a test of all metrics."""
    sentence: str = ""

    @property
    def absent(self) -> bool:
        """Whether a side has no such figure."""
        return self.difference is None


_WORDS = {
    "s": ("faster", "slower"),
    "usd": ("cheaper", "dearer"),
    "ratio": ("better", "worse"),
    "mib": ("smaller", "larger"),
    "score": ("better", "worse"),
}
"""By unit: what b is called where it is better, and where it is worse."""


def sentence_of(row: Difference, names: tuple[str, str], absent: str) -> str:
    """One metric in a sentence; `absent` says why nothing is claimed where there is no interval."""
    what = _what(row)
    if row.low is None or row.high is None:
        return f"Nothing can be said of {what}: {absent}."
    if not row.significant:
        return f"No difference could be shown in {what} (within {_within(row)})."
    if row.metric.startswith("cpu"):  # no turn is faster for it
        takes = f"{_size(row)} {'less' if _better(row) else 'more'} ({_between(row)})"
        return f"{names[1]} takes {takes} {what} than {names[0]}."
    return f"{names[1]} is {_claim(row)} in {what} than {names[0]}."


def headline(rows: Sequence[Difference], names: tuple[str, str]) -> str:
    """The comparison in a sentence, such as `B is 0.31 s faster (0.24-0.38), 2.1 points worse in
    WER, 3 x cheaper than A.`"""
    by_name = {row.metric: row for row in rows}
    claims = [*_of_time(by_name), *_of_others(by_name)]
    free = _free(by_name.get("cost_per_turn"), names)
    if claims:
        told = f"{names[1]} is {', '.join(claims)} than {names[0]}"
        return f"{told}; {free}." if free else f"{told}."
    if free:
        return f"{free}."
    between = f"between {names[0]} and {names[1]}"
    median = by_name.get("voice_to_voice.p50")
    if median is None or median.low is None:
        few = max((row.groups for row in rows), default=0)
        return f"Too few turns to tell a difference {between} ({few} in common)."
    return f"No difference could be shown {between} (within {_within(median)} at the median)."


def _of_time(rows: Mapping[str, Difference]) -> list[str]:
    """The median speaks for the speed; the 95th percentile is told of where it says otherwise."""
    median, tail = rows.get("voice_to_voice.p50"), rows.get("voice_to_voice.p95")
    told = []
    if median and median.significant:
        told.append(_claim(median))
    opposed = median and tail and _better(median) != _better(tail)
    if tail and tail.significant and (not told or opposed):
        told.append(f"{_claim(tail)} at the 95th percentile")
    return told


def _of_others(rows: Mapping[str, Difference]) -> list[str]:
    """Errors, cost and failures."""
    told = []
    wer, cost, done, heard = map(rows.get, ("wer", "cost_per_turn", "completed", "heard"))
    if wer and wer.significant:
        told.append(f"{_size(wer)} {_word(wer)} in WER")
    if cost and cost.significant and cost.a and cost.b:
        told.append(_cheaper(cost.a, cost.b))
    if done and done.significant:
        told.append(f"{_size(done)} {_word(done)} in completed turns")
    elif heard and heard.significant:
        told.append(f"{_size(heard)} {_word(heard)} in replies that were heard")
    return told


def _claim(row: Difference) -> str:
    """Such as `0.31 s faster (0.24-0.38)`."""
    return f"{_size(row)} {_word(row)} ({_between(row)})"


def _between(row: Difference) -> str:
    ends = sorted(abs(end or 0.0) for end in (row.low, row.high))
    return "-".join(_short(row, end) for end in ends)


def _cheaper(a: float, b: float) -> str:
    """By how many times, or by how many of a hundred where that is little."""
    word, times = ("cheaper", a / b) if b < a else ("dearer", b / a)
    if times < 1.5:
        return f"{abs(b / a - 1) * 100:.0f} % {word}"
    return f"{times:.0f} x {word}" if times >= 10 else f"{times:.2g} x {word}"


def _free(cost: Difference | None, names: tuple[str, str]) -> str:
    """Where one side costs nothing, which is no number of times cheaper."""
    if cost is None or not cost.significant or (cost.a and cost.b):
        return ""
    costly = amount(cost.a or cost.b, "usd")
    told = ("nothing", costly) if cost.a else (costly, "nothing")
    return f"{names[1]} costs {told[0]} a turn, {names[0]} {told[1]}"


def _what(row: Difference) -> str:
    """Such as `voice to voice at the median`, `WER`."""
    name = parse_metric(row.metric)
    title = {"wer": "WER", "cer": "CER"}.get(row.metric, name.metric.title.lower())
    return f"{title} at the {percentile(name)}" if name.level is not None else title


def _within(row: Difference) -> str:
    most = max(abs(end or 0.0) for end in (row.low, row.high))
    return f"{_short(row, most)} {_unit(row)}"


def _size(row: Difference) -> str:
    return f"{_short(row, abs(row.difference or 0.0))} {_unit(row)}"


def _better(row: Difference) -> bool:
    return ((row.difference or 0.0) < 0) == (row.better == "less")


def _word(row: Difference) -> str:
    good, bad = _WORDS[row.unit]
    return good if _better(row) else bad


def _unit(row: Difference) -> str:
    units = {"ratio": "points", "usd": "USD", "mib": "MiB", "score": "points of score"}
    return units.get(row.unit, row.unit)


def _short(row: Difference, value: float) -> str:
    """A size for a sentence: ratios in percentage points, times to two digits behind the point."""
    if row.unit == "ratio":
        return f"{value * 100:.1f}".removesuffix(".0")
    if row.unit == "s" and (value >= 0.1 or not value):
        return f"{value:.2f}"
    return number(value, row.unit)
