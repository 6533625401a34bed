"""What becomes of a budget: its limits, held against simulated turns."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from turnlab.bench.measuring.statistics import Resampling, interval, quantile
from turnlab.bench.predict.workload import Floats, Ints, Played
from turnlab.bench.verdicts.budget import check_limit
from turnlab.bench.verdicts.findings import FEWEST_GROUPS, decide
from turnlab.bench.verdicts.outcome import WORDS
from turnlab.bench.verdicts.verdict import Judgement, Outcome, judge_values
from turnlab.clusters.budget import Limit
from turnlab.errors import InvalidBudget

PREDICTED = ("voice_to_voice", "end", "cost_per_turn")
"""Metrics that a budget can name here; `end` is that of the last Component's work."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What becomes of one limit."""

    limit: Limit
    outcome: Outcome
    value: float | None
    sentence: str


def groups_of(played: Played) -> Ints:
    """A number a turn, equal for repetitions of one turn of the dataset."""
    return np.unique(played.turn_ids, return_inverse=True)[1].astype(np.int64)


def is_predicted(limit: Limit) -> bool:
    """Whether it is on what can be predicted. Raises InvalidBudget where it makes no sense."""
    name = check_limit(limit)
    return not name.component and name.metric.name in PREDICTED


def require_predicted(limit: Limit, components: Collection[str]) -> Limit:
    """The limit. Raises InvalidBudget where it cannot be predicted, or makes no sense."""
    check_limit(limit, components)
    if not is_predicted(limit):
        raise InvalidBudget(f"`{limit}` is not predicted; there are {', '.join(PREDICTED)}.")
    return limit


def rule(limit: Limit, played: Played, measured_turns: int) -> Ruling:
    """Whether the limit, one that is predicted, would be kept. So many simulated turns know no more
    than the measured ones: the verdict is that of as many turns as were measured (repetitions not
    counted), spread as the simulated ones are."""
    name = check_limit(limit)
    values = _values(played, name.metric.name)
    if name.level is None:
        return _of_mean(limit, values, groups_of(played), measured_turns)
    count = min(measured_turns, len(values))
    spread = np.quantile(values, (np.arange(count) + 0.5) / count, method="nearest")
    judged: Judgement = judge_values(spread, limit)
    return Ruling(
        limit=limit,
        outcome=judged.outcome,
        value=_figure(limit, played),
        sentence=judged.sentence,
    )


def _values(played: Played, metric: str) -> Floats:
    columns = {
        "voice_to_voice": played.voice_to_voice_s,
        "end": played.ends_s,
        "cost_per_turn": played.costs_usd,
    }
    return columns[metric]


def _of_mean(limit: Limit, values: Floats, groups: Ints, measured_turns: int) -> Ruling:
    """By the interval from drawing the turns of the dataset anew, as Runs are judged."""
    value = float(np.mean(values))
    if math.isnan(value):
        sentence = f"`{limit}` cannot be told: the price of a Component is not known."
        return Ruling(limit=limit, outcome=Outcome.UNDECIDED, value=None, sentence=sentence)
    ends = interval(Resampling(groups).means(values), len(np.unique(groups)))
    few = measured_turns < FEWEST_GROUPS
    outcome = Outcome.UNDECIDED if few else decide(limit, ends.low, ends.high)
    told = f"{value:.4g}"
    if ends.low is not None and ends.high is not None and ends.low < ends.high:
        told += f" ({ends.low:.4g} to {ends.high:.4g})"
    sentence = f"{WORDS[outcome]}: `{limit}`, it would be {told} in {measured_turns} turns"
    sentence += f"; a mean takes {FEWEST_GROUPS} at least." if few else "."
    return Ruling(limit=limit, outcome=outcome, value=value, sentence=sentence)


def _figure(limit: Limit, played: Played) -> float:
    """What the limit is on; NaN where it is not known."""
    name = check_limit(limit)
    values = _values(played, name.metric.name)
    if name.level is None:
        return float(np.mean(values))
    if np.isinf(values).any():  # between two values there is nothing if one of them is infinite
        return float(np.quantile(values, name.level, method="higher"))
    return quantile(values, name.level)


def told(limits: Sequence[Limit], played: Played) -> tuple[Limit, ...]:
    """Those of which it is known whether they are kept: not those on an unknown price."""
    return tuple(limit for limit in limits if not math.isnan(_figure(limit, played)))


def kept(limits: Sequence[Limit], played: Played) -> bool | None:
    """Whether all limits would be kept, taking the simulated turns at their word; None where that
    is not known."""
    found = [(limit, _figure(limit, played)) for limit in limits]
    known = [limit.keeps(value) for limit, value in found if not math.isnan(value)]
    if not all(known):
        return False
    return True if len(known) == len(found) else None
