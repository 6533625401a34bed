"""Limits that a Cluster is held to, such as `voice_to_voice.p95 <= 1.0`: how they are written.

Which metrics there are, and which units they have, is known to `turnlab.bench.verdicts.budget`
alone.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from turnlab.errors import InvalidBudget

LIMIT_CHARACTERS = 256
VOICE_TO_VOICE = "voice_to_voice.p95"
"""What `[budget] voice_to_voice_s` limits."""

_LIMIT = re.compile(
    r"(?P<metric>[^\s<>=]+)\s*(?P<comparison><=|>=|<|>)\s*"
    r"(?P<dollar>\$?)\s*(?P<number>\+?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>%|[A-Za-z]*)"
)
_PARTS = re.compile(r"([^\s<>=!~≤≥]*)\s*([<>=!~≤≥]*)\s*(.*)", re.DOTALL)
_COMMA = re.compile(r"\d+,\d+")
_UNITS = {
    "": ("", 1.0),
    "ms": ("s", 1e3),
    "s": ("s", 1.0),
    "min": ("s", 1 / 60),
    "%": ("ratio", 100.0),
    "usd": ("usd", 1.0),
    "mib": ("mib", 1.0),
    "gib": ("mib", 1 / 1024),
}
"""By unit in lower case: what it measures, and how many of it make one of that."""


class Comparison(StrEnum):
    """How a metric is held against its bound."""

    AT_MOST = "<="
    BELOW = "<"
    AT_LEAST = ">="
    ABOVE = ">"


@dataclass(frozen=True, slots=True)
class Limit:
    """One line of a budget."""

    text: str
    """As it was written."""
    metric: str
    """Such as `voice_to_voice.p95`; see docs/reference/metrics.md."""
    comparison: Comparison
    bound: float
    """In seconds, US dollars, MiB, or a ratio such as 0.1."""
    unit: str = ""
    """`s`, `usd`, `mib` or `ratio` if a unit was written, else nothing."""

    def __str__(self) -> str:
        return self.text

    @property
    def upper(self) -> bool:
        """Whether less is better."""
        return self.comparison in (Comparison.AT_MOST, Comparison.BELOW)

    def keeps(self, value: float) -> bool:
        """Whether `value` is within the limit; NaN is not."""
        match self.comparison:
            case Comparison.AT_MOST:
                return value <= self.bound
            case Comparison.BELOW:
                return value < self.bound
            case Comparison.AT_LEAST:
                return value >= self.bound
            case Comparison.ABOVE:
                return value > self.bound


def read_limit(text: str) -> Limit:
    """The limit that `text` writes: a metric, a comparison, a number with or without a unit.

    Units are `ms`, `s`, `min`, `%`, `USD` (or `$` before the number), `MiB` and `GiB`. Raises
    InvalidBudget; whether there is such a metric is not looked at.
    """
    shown = text[:LIMIT_CHARACTERS]
    found = _LIMIT.fullmatch(text.strip()) if len(text) <= LIMIT_CHARACTERS else None
    if found is None:
        like = f"write it as `{VOICE_TO_VOICE} <= 1.0`"
        raise InvalidBudget(f"{shown!r} is no limit: {_wrong(text)}; {like}.")
    unit = found["unit"].lower() or ("usd" if found["dollar"] else "")
    known = _UNITS.get(unit)
    if known is None or (found["dollar"] and unit != "usd"):
        raise InvalidBudget(
            f"{shown!r} has an unknown unit; there are ms, s, min, %, USD, MiB and GiB."
        )
    bound = float(found["number"]) / known[1]
    if not math.isfinite(bound):
        raise InvalidBudget(f"{shown!r} has a number that is too large to be one.")
    comparison = Comparison(found["comparison"])
    return Limit(" ".join(text.split()), found["metric"], comparison, bound, known[0])


def _wrong(text: str) -> str:
    """Which part of a text keeps it from being a limit."""
    if len(text) > LIMIT_CHARACTERS:
        return f"it has more than {LIMIT_CHARACTERS} characters"
    parts = _PARTS.fullmatch(text.strip())
    metric, comparison, number = parts.groups() if parts else ("", "", "")
    if not metric:
        return "it begins with no metric"
    if not comparison:
        return "there is no comparison behind the metric"
    if comparison not in list(Comparison):
        return f"{comparison} is no comparison, there are {', '.join(Comparison)}"
    if not number:
        return f"there is no number behind {comparison}"
    if number.startswith("-"):
        return f"{number} is below 0"
    comma = ", a point stands before decimals" if _COMMA.match(number) else ""
    return f"{number} is no number{comma}"


def voice_to_voice(budget_s: float) -> Limit:
    """The limit that `[budget] voice_to_voice_s = X` stands for: `voice_to_voice.p95 <= X`.

    Raises InvalidBudget unless it is a positive number of seconds.
    """
    if not (math.isfinite(budget_s) and budget_s > 0):
        raise InvalidBudget(f"A budget of {budget_s} s is none: give a positive number of seconds.")
    return read_limit(f"{VOICE_TO_VOICE} <= {float(budget_s)!r}")
