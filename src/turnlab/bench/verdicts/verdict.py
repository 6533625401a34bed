"""Verdicts: whether turns keep their limits, and how far so many turns can prove it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from turnlab.bench.measuring.evidence import Floats, percentile_bounds, turns_until
from turnlab.bench.measuring.measures import Measured, Subject
from turnlab.bench.measuring.metrics import Estimate
from turnlab.bench.verdicts.blame import Blame, blame
from turnlab.bench.verdicts.budget import check_limit
from turnlab.bench.verdicts.findings import decide, find, of_percentile
from turnlab.bench.verdicts.outcome import WORDS, Finding, Outcome, absent
from turnlab.clusters.budget import Limit, voice_to_voice
from turnlab.errors import InvalidBudget
from turnlab.tracks import TrackStatus

__all__ = [
    "Judgement",
    "Outcome",
    "Verdict",
    "check_budget",
    "judge",
    "judge_turn",
    "judge_turns",
    "judge_values",
]

SHARE = 0.95
"""The share of turns that must be within a budget in seconds: its 95th percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of one limit for one subject."""

    subject: Subject | None
    """None for values that nobody has measured, such as predicted ones."""
    limit: Limit
    outcome: Outcome
    estimate: Estimate
    """Its interval is the one that the outcome follows from."""
    sentence: str
    turns: int
    within: int | None = None
    """How many of `turns` keep the limit, where each turn can."""
    more_turns: int | None = None
    """About how many more turns would decide it; None if it is decided or if none would."""
    blame: Blame | None = None
    """For a limit that is broken: who would have to give how much, where that can be told."""


def judge(measured: Measured, limits: Sequence[Limit]) -> list[Judgement]:
    """What the turns of one subject say about each limit, in order.

    Failed turns are over any limit of time; cancelled ones, and those that a crash has left, are
    left out. Raises InvalidBudget for a limit on a metric that there is not.
    """
    return [_judge(measured, limit) for limit in limits]


def _judge(measured: Measured, limit: Limit) -> Judgement:
    name = check_limit(limit)
    found = _all_failed(measured) or find(measured, limit, name)
    who = blame(measured, limit, name) if found.outcome is Outcome.FAIL else None
    return replace(_judgement(limit, found), subject=measured.subject, blame=who)


def _judgement(limit: Limit, found: Finding) -> Judgement:
    return Judgement(
        subject=None,
        limit=limit,
        outcome=found.outcome,
        estimate=found.estimate,
        sentence=found.sentence,
        turns=found.turns,
        within=found.within,
        more_turns=found.more_turns,
    )


def _all_failed(measured: Measured) -> Finding | None:
    """A subject of which every turn failed keeps no limit; None if one did not fail."""
    failed = int(measured.having(TrackStatus.FAILED).sum())
    if measured.having(TrackStatus.COMPLETED).any():
        return None
    if not failed:
        return absent("no turn has completed or failed")
    facts = f"all {failed} turns failed" if failed > 1 else "the only turn failed"
    if measured.failures:
        (component, code), count = measured.failures.most_common(1)[0]
        where = f" in {component}" if component else ""
        facts += f", most often with {code}{where} ({count})"
    nothing = Estimate(None, n=failed, why_absent=facts)
    return Finding(outcome=Outcome.FAIL, estimate=nothing, facts=facts, turns=failed, within=0)


def judge_values(values: Floats, limit: Limit) -> Judgement:
    """The same of values that are independent of each other, such as predicted latencies.

    Infinity stands for a turn without a reply, NaN for none. Raises InvalidBudget unless the
    limit is on a percentile.
    """
    name = check_limit(limit)
    if name.level is None:
        raise InvalidBudget(f"`{limit}` is on no percentile; such values are judged by one only.")
    return _judgement(limit, of_percentile(values, np.arange(len(values)), limit, name))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a budget of `budget_s` seconds, voice to voice."""

    outcome: Outcome
    budget_s: float
    turns: int
    within: int
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """The verdict as `--json` prints it."""
        return {**asdict(self), "outcome": str(self.outcome)}


def check_budget(budget_s: float) -> float:
    """The budget in seconds. Raises InvalidBudget unless it is positive and finite."""
    return voice_to_voice(budget_s).bound


def judge_turn(voice_to_voice_s: float | None, budget_s: float) -> Verdict:
    """Whether one turn kept its budget; a turn without a reply did not."""
    limit = voice_to_voice(budget_s)
    within = voice_to_voice_s is not None and limit.keeps(voice_to_voice_s)
    outcome = Outcome.PASS if within else Outcome.FAIL
    facts = "no reply was heard"
    if voice_to_voice_s is not None:
        facts = (
            f"{voice_to_voice_s:.2f} s from the last word to the first sound; "
            f"the budget is {budget_s:.2f} s"
        )
    sentence = f"{WORDS[outcome]}: {facts}."
    return Verdict(
        outcome=outcome, budget_s=budget_s, turns=1, within=int(within), sentence=sentence
    )


def judge_turns(latencies_s: Sequence[float | None], budget_s: float) -> Verdict:
    """Whether 95 % of turns such as these keep the budget, at 5 % risk of being wrong.

    By the test that `judge` makes of `voice_to_voice.p95 <= budget_s`, each turn being one of its
    own. None stands for a turn without a reply, which is over any budget.
    """
    limit = voice_to_voice(budget_s)
    values = np.array([math.inf if each is None else each for each in latencies_s])
    turns, within = len(values), sum(map(limit.keeps, values.tolist()))
    bounds = percentile_bounds(values, np.arange(turns), SHARE)
    outcome = decide(limit, bounds.low, bounds.high)
    heard = [each for each in latencies_s if each is not None]
    if turns and not heard:
        outcome, sentence = Outcome.FAIL, f"{WORDS[Outcome.FAIL]}: no reply was heard."
    elif not turns:
        sentence = f"{WORDS[outcome]}: there was no turn."
    else:
        sentence = _sentence(outcome, heard, turns, within, budget_s)
    return Verdict(
        outcome=outcome, budget_s=budget_s, turns=turns, within=within, sentence=sentence
    )


def _sentence(
    outcome: Outcome, heard: Sequence[float], turns: int, within: int, budget_s: float
) -> str:
    facts = (
        f"{within} of {turns} turns answered within {budget_s:.2f} s "
        f"(median {statistics.median(heard):.2f} s, slowest {max(heard):.2f} s)"
    )
    if outcome is not Outcome.UNDECIDED:
        return f"{WORDS[outcome]}: {facts}."
    more = turns_until(1 - within / turns, 1 - SHARE, turns)
    if within == turns:
        return f"Acceptable so far: {facts}; {more} more turns within it would prove 95 %."
    hope = "no number of such turns" if more is None else f"about {more} more turns such as these"
    return f"Doubtful so far: {facts}; {hope} would tell."
