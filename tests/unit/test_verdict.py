"""Verdicts: pass, fail, or too few turns to tell."""

from __future__ import annotations

import math

import pytest

from turnlab.bench.verdict import Outcome, judge_turn, judge_turns, turns_to_pass
from turnlab.errors import InvalidBudget


def test_one_turn_is_within_its_budget_or_not() -> None:
    assert judge_turn(0.9, 1.0).outcome is Outcome.PASS
    assert judge_turn(1.0, 1.0).outcome is Outcome.PASS
    assert judge_turn(1.1, 1.0).outcome is Outcome.FAIL


def test_a_turn_without_a_reply_fails() -> None:
    assert judge_turn(None, 60.0).outcome is Outcome.FAIL
    assert judge_turns([None, None], 60.0).sentence.startswith("Not acceptable")


@pytest.mark.parametrize("budget_s", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_must_be_a_positive_number(budget_s: float) -> None:
    with pytest.raises(InvalidBudget):
        judge_turn(0.5, budget_s)


def test_few_turns_prove_nothing_and_say_how_many_more_would() -> None:
    verdict = judge_turns([0.5] * 10, 1.0)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "49 more turns" in verdict.sentence


def test_fifty_nine_turns_within_budget_prove_95_percent() -> None:
    # 0.95 ** 59 = 0.0485, 0.95 ** 58 = 0.0510: the classic sample size for 95 / 95.
    assert judge_turns([0.5] * 59, 1.0).outcome is Outcome.PASS
    assert judge_turns([0.5] * 58, 1.0).outcome is Outcome.UNDECIDED
    assert turns_to_pass(0, 0) == 59


def test_many_turns_over_budget_fail() -> None:
    assert judge_turns([0.5] * 17 + [2.0] * 3, 1.0).outcome is Outcome.UNDECIDED
    assert judge_turns([0.5] * 16 + [2.0] * 4, 1.0).outcome is Outcome.FAIL


def test_no_turns_at_all_are_no_pass() -> None:
    assert judge_turns([], 1.0).outcome is Outcome.UNDECIDED
