"""Verdicts on turns by their latencies alone: pass, fail, or too few turns to tell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from turnlab.bench.measuring.evidence import (
    at_least,
    at_most,
    effective_turns,
    percentile_bounds,
    turns_until,
)
from turnlab.bench.verdicts.budget import parse_limit
from turnlab.bench.verdicts.verdict import Outcome, judge_turn, judge_turns, judge_values
from turnlab.errors import InvalidBudget


def test_one_turn_is_within_its_budget_or_not() -> None:
    assert judge_turn(0.9, 1.0).outcome is Outcome.PASS
    assert judge_turn(1.0, 1.0).outcome is Outcome.PASS
    assert judge_turn(1.1, 1.0).outcome is Outcome.FAIL


def test_a_turn_without_a_reply_fails() -> None:
    assert judge_turn(None, 60.0).outcome is Outcome.FAIL
    silent = judge_turns([None, None], 60.0)
    assert (silent.outcome, silent.sentence) == (
        Outcome.FAIL,
        "Not acceptable: no reply was heard.",
    )


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
    assert turns_until(0.0, 0.05, 0) == 59


def test_many_turns_over_budget_fail() -> None:
    doubtful = judge_turns([0.5] * 17 + [2.0] * 3, 1.0)
    assert doubtful.outcome is Outcome.UNDECIDED
    assert "more turns such as these would tell" in doubtful.sentence
    assert judge_turns([0.5] * 16 + [2.0] * 4, 1.0).outcome is Outcome.FAIL


def test_no_turns_at_all_are_no_pass() -> None:
    assert judge_turns([], 1.0).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(("hits", "turns", "chance"), [(0, 59, 0.05), (4, 20, 0.05), (70, 90, 0.8)])
def test_chances_are_those_of_the_binomial_distribution(
    hits: int, turns: int, chance: float
) -> None:
    def exactly(k: int) -> float:
        return math.comb(turns, k) * chance**k * (1 - chance) ** (turns - k)

    assert at_most(hits, turns, chance) == pytest.approx(sum(map(exactly, range(hits + 1))))
    above = sum(map(exactly, range(hits, turns + 1)))
    assert at_least(hits, turns, chance) == pytest.approx(above)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_bounds_of_any_percentile_hold_it_as_often_as_they_say(level: float) -> None:
    draw, groups = np.random.default_rng(0), np.arange(400)
    missed = [0, 0]
    for _ in range(300):
        bounds = percentile_bounds(draw.random(400), groups, level)
        missed[0] += bounds.low > level
        missed[1] += bounds.high < level
    assert max(missed) <= 0.09 * 300  # 5 % each, and what 300 trials may add by chance


def test_repetitions_that_are_alike_count_for_one_turn() -> None:
    values, groups = np.repeat(np.random.default_rng(1).random(20), 5), np.repeat(np.arange(20), 5)
    assert effective_turns(values, groups, 0.95) == pytest.approx(20)
    assert effective_turns(values, np.arange(100), 0.95) == 100


def test_repetitions_that_vary_as_turns_do_count_for_more() -> None:
    values, groups = np.random.default_rng(1).random(400), np.repeat(np.arange(80), 5)
    assert 160 < effective_turns(values, groups, 0.95) <= 400


def test_one_turn_that_is_always_late_is_one_turn() -> None:
    draw = np.random.default_rng(2)
    values = np.concatenate([draw.random(95), 10 + draw.random(5)])
    assert effective_turns(values, np.repeat(np.arange(20), 5), 0.95) == pytest.approx(20)


def test_what_never_varies_tells_nothing_of_how_alike_repetitions_are() -> None:
    assert effective_turns(np.ones(100), np.repeat(np.arange(20), 5)) == pytest.approx(20)


def test_how_many_more_turns_is_none_where_none_would_help() -> None:
    assert turns_until(0.05, 0.05, 20) is None
    assert turns_until(0.0, 0.0, 20) is None
    assert turns_until(0.0499999, 0.05, 20) is None
    more = turns_until(0.02, 0.05, 50)
    assert more is not None
    assert at_most(0.02 * (50 + more), 50 + more, 0.05) <= 0.05


def test_values_that_were_predicted_are_judged_by_the_same_test() -> None:
    limit = parse_limit("voice_to_voice.p95 <= 1")
    values = np.linspace(0.2, 0.9, 1_000)
    assert judge_values(values, limit).outcome is Outcome.PASS
    late = judge_values(np.concatenate([values, np.full(100, math.inf)]), limit)
    assert (late.outcome, late.within, late.turns) == (Outcome.FAIL, 1_000, 1_100)
    assert judge_values(np.full(40, math.inf), limit).outcome is Outcome.FAIL
    assert judge_values(np.full(40, math.nan), limit).outcome is Outcome.UNDECIDED
    with pytest.raises(InvalidBudget, match="no percentile"):
        judge_values(values, parse_limit("wer <= 0.1"))
