"""Verdicts: whether turns are fast enough, and how far so many turns can prove it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from turnlab.errors import InvalidBudget

SHARE = 0.95
"""The share of turns that must be within the budget: its 95th percentile."""

RISK = 0.05
"""How likely a verdict of pass or fail may be wrong."""


class Outcome(StrEnum):
    """Pass, fail, or too few turns to tell."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


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
    if not (math.isfinite(budget_s) and budget_s > 0):
        raise InvalidBudget(f"A budget of {budget_s} s is none: give a positive number of seconds.")
    return budget_s


def judge_turn(voice_to_voice_s: float | None, budget_s: float) -> Verdict:
    """Whether one turn kept its budget; a turn without a reply did not."""
    check_budget(budget_s)
    within = voice_to_voice_s is not None and voice_to_voice_s <= budget_s
    if voice_to_voice_s is None:
        sentence = "Not acceptable: no reply was heard."
    else:
        word = "Acceptable" if within else "Not acceptable"
        sentence = (
            f"{word}: {voice_to_voice_s:.2f} s from the last word to the first sound; "
            f"the budget is {budget_s:.2f} s."
        )
    outcome = Outcome.PASS if within else Outcome.FAIL
    return Verdict(
        outcome=outcome, budget_s=budget_s, turns=1, within=int(within), sentence=sentence
    )


def judge_turns(latencies_s: Sequence[float | None], budget_s: float) -> Verdict:
    """Whether 95 % of turns such as these keep the budget, at 5 % risk of being wrong.

    An exact binomial test: with k of n turns over budget, pass if so few would be unlikely
    were 5 % of all turns over it, fail if so many would be. None stands for a turn without a
    reply, which is over any budget.
    """
    check_budget(budget_s)
    heard = [each for each in latencies_s if each is not None]
    within = sum(each <= budget_s for each in heard)
    turns, over = len(latencies_s), len(latencies_s) - within
    if turns and _at_most(over, turns) <= RISK:
        outcome = Outcome.PASS
    elif over and 1 - _at_most(over - 1, turns) <= RISK:
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.UNDECIDED
    sentence = _sentence(outcome, heard, turns, within, budget_s)
    return Verdict(
        outcome=outcome, budget_s=budget_s, turns=turns, within=within, sentence=sentence
    )


def turns_to_pass(turns: int, over: int) -> int:
    """How many more turns, all within budget, would prove the 95th percentile."""
    more = 0
    while _at_most(over, turns + more) > RISK:
        more += 1
    return more


def _at_most(over: int, turns: int) -> float:
    """The chance of at most `over` of `turns` over budget if 5 % of all turns are."""
    miss = 1 - SHARE
    return sum(math.comb(turns, k) * miss**k * SHARE ** (turns - k) for k in range(over + 1))


def _sentence(
    outcome: Outcome, heard: Sequence[float], turns: int, within: int, budget_s: float
) -> str:
    if not heard:
        return "Not acceptable: no reply was heard."
    facts = (
        f"{within} of {turns} turns answered within {budget_s:.2f} s "
        f"(median {statistics.median(heard):.2f} s, slowest {max(heard):.2f} s)"
    )
    if outcome is Outcome.PASS:
        return f"Acceptable: {facts}."
    if outcome is Outcome.FAIL:
        return f"Not acceptable: {facts}."
    so_far = "Acceptable so far" if within == turns else "Doubtful so far"
    more = turns_to_pass(turns, turns - within)
    return f"{so_far}: {facts}; {more} more turns within it would prove 95 %."
