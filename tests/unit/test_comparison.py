"""Comparison of two subjects: paired by turn, and nothing claimed that is not shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.unit.measured_turns import OTHER_RUN, RUN, turns_of
from turnlab.bench.verdicts.claims import Difference
from turnlab.bench.verdicts.comparison import (
    Comparison,
    check_comparable,
    compare,
    shown_by_all,
)
from turnlab.errors import RunsDiffer
from turnlab.runs import Run

DRAW = np.random.default_rng(11)
HARD = DRAW.lognormal(-0.3, 0.4, 60)
"""How long each turn takes anybody: it varies far more than the two sides differ."""


def row(found: Comparison, metric: str) -> Difference:
    return next(each for each in found.rows if each.metric == metric)


def test_the_plain_sentence_claims_speed_errors_and_cost() -> None:
    slow, wrong = HARD + 0.31, [1, 0, 1, 1, 0]
    a = turns_of(slow.tolist(), cluster="A", cost=0.003, word_errors=wrong, words=20)
    noise = DRAW.normal(0, 0.02, 60)
    more = [each + 1 for each in wrong]
    b = turns_of((HARD + noise).tolist(), cluster="B", cost=0.001, word_errors=more, words=20)
    found = compare(a, b)
    assert found.sentence.startswith("B is 0.3")
    assert " s faster (0." in found.sentence
    assert found.sentence.endswith("), 5 points worse in WER, 3 x cheaper than A.")
    median = row(found, "voice_to_voice.p50")
    assert median.low is not None
    assert median.high is not None
    assert median.low < -0.31 < median.high < 0


def test_replies_that_have_gone_silent_are_a_regression() -> None:
    a, b = turns_of(HARD.tolist(), cluster="A"), turns_of(HARD.tolist(), cluster="B")
    b.counts[:] = False
    b.columns["voice_to_voice"][:] = np.nan
    found = compare(a, b)
    assert [each.metric for each in found.regressions] == ["heard"]
    assert "100 points worse in replies that were heard" in found.sentence


def test_regressions_are_significant_and_beyond_what_is_tolerated() -> None:
    a, b = turns_of(HARD.tolist(), cluster="A"), turns_of((HARD * 1.2).tolist(), cluster="B")
    assert {each.metric for each in compare(a, b).regressions} == {
        "voice_to_voice.p50",
        "voice_to_voice.p95",
    }
    assert not compare(a, b, tolerance=0.3).regressions
    assert not compare(b, a).regressions
    little = turns_of((HARD * 1.01).tolist(), cluster="B")
    assert row(compare(a, little), "voice_to_voice.p50").significant
    assert not compare(a, little).regressions


def difference(metric: str, *, b: float, low: float, high: float) -> Difference:
    return Difference(
        metric=metric,
        title=metric,
        unit="s",
        better="less",
        a=1.0,
        b=b,
        difference=b - 1,
        low=low,
        high=high,
        significant=True,
        regression=True,
    )


def test_a_dozen_metrics_do_not_make_a_regression_by_chance() -> None:
    bare = difference("voice_to_voice.p50", b=1.1, low=0.002, high=0.198)  # 4.5 % by chance
    clear = difference("end.p50", b=1.1, low=0.08, high=0.12)
    assert [each.regression for each in shown_by_all([bare])] == [True]
    assert [each.regression for each in shown_by_all([bare, clear])] == [True, True]
    second = replace(bare, metric="end.p95")
    assert [each.regression for each in shown_by_all([bare, clear, second])] == [False, True, False]
    assert all(each.significant for each in shown_by_all([bare, clear, second]))


def test_equal_sides_seldom_regress() -> None:
    draw, found = np.random.default_rng(13), 0
    for _ in range(40):
        noise = draw.lognormal(0, 0.3, (2, 30))
        columns = {key: draw.lognormal(0, 0.3, (2, 30)) for key in ("first_text", "end", "cpu")}
        a, b = (
            turns_of(
                noise[side].tolist(),
                cluster="AB"[side],
                **{key: column[side] for key, column in columns.items()},
            )
            for side in (0, 1)
        )
        found += bool(compare(a, b).regressions)
    assert found <= 3


def test_what_cannot_be_shown_is_not_claimed() -> None:
    noise = DRAW.normal(0, 0.1, (2, 60))
    a, b = (
        turns_of((HARD + each).tolist(), cluster=name)
        for name, each in zip("AB", noise, strict=True)
    )
    found = compare(a, b)
    assert found.sentence.startswith("No difference could be shown between A and B (within 0.")
    assert (
        "No difference could be shown in voice to voice at the median"
        in row(found, "voice_to_voice.p50").sentence
    )


def test_a_few_turns_show_nothing_however_large_the_difference() -> None:
    a, b = turns_of([1.0, 1.1, 0.9, 1.2, 1.0], cluster="A"), turns_of([0.1] * 5, cluster="B")
    found = compare(a, b)
    assert found.sentence == "Too few turns to tell a difference between A and B (5 in common)."
    assert not any(each.significant for each in found.rows)
    assert "too few turns to tell (5 of 6)" in row(found, "voice_to_voice.p50").sentence
    assert "(5 of 20)" in row(found, "voice_to_voice.p95").sentence


def test_repetitions_are_no_further_turns() -> None:
    a = turns_of([1.0, 1.1] * 20, cluster="A", repeats=20)
    b = turns_of([0.5, 0.6] * 20, cluster="B", repeats=20)
    assert compare(a, b).sentence.startswith("Too few turns")


def test_turns_that_one_side_failed_count_for_completed_alone() -> None:
    # B is as fast as A, and fails wherever A is slow.
    a = turns_of(HARD.tolist(), cluster="A")
    kept = [each if each < np.quantile(HARD, 0.6) else None for each in HARD.tolist()]
    found = compare(a, turns_of(kept, cluster="B"))
    assert row(found, "voice_to_voice.p50").difference == 0
    assert row(found, "voice_to_voice.p50").n == 36
    done = row(found, "completed")
    assert (done.n, done.regression) == (60, True)
    assert found.sentence == "B is 40 points worse in completed turns than A."


def test_a_side_that_fails_every_turn_is_compared_by_that() -> None:
    a, b = turns_of(HARD.tolist(), cluster="A"), turns_of([None] * 60, cluster="B")
    found = compare(a, b)
    assert found.sentence == "B is 100 points worse in completed turns than A."
    assert row(found, "voice_to_voice.p50").sentence.startswith("Nothing can be said")


def test_what_costs_nothing_is_not_so_many_times_cheaper() -> None:
    a = turns_of(HARD.tolist(), cluster="A", cost=0.0042)
    b = turns_of(HARD.tolist(), cluster="B", cost=0.0)
    assert compare(a, b).sentence == "B costs nothing a turn, A 0.0042 USD."
    back = compare(b, a)
    assert back.sentence == "A costs 0.0042 USD a turn, B nothing."
    assert row(back, "cost_per_turn").regression


def test_one_cluster_in_two_runs_is_called_by_its_runs_and_by_its_modes_in_one() -> None:
    values = HARD.tolist()
    here, there = turns_of(values), turns_of((HARD / 2).tolist(), run_id=OTHER_RUN)
    assert compare(here, there).names == (RUN, OTHER_RUN)
    assert compare(here, there).sentence.startswith(f"{OTHER_RUN} is 0.")
    assert compare(here, turns_of(values, mode="chained")).names == ("streamed", "chained")
    other = turns_of(values, cluster="B", mode="chained")
    assert compare(here, other).names == ("A (streamed)", "B (chained)")
    with pytest.raises(RunsDiffer, match="the same on both sides"):
        compare(here, turns_of(values))


def test_subjects_that_share_no_turn_cannot_be_compared() -> None:
    other = turns_of([0.5] * 10, cluster="B")
    other.turn_ids = [f"u{number}" for number in range(10)]
    with pytest.raises(RunsDiffer, match="A and B share no turn"):
        compare(turns_of([0.5] * 10), other)


def test_what_a_judge_gave_both_is_compared_too() -> None:
    a, b = (turns_of(HARD.tolist(), cluster=name) for name in "AB")
    a.columns["judge.helpful"] = np.tile([2.0, 3.0], len(HARD))[: len(HARD)]
    b.columns["judge.helpful"] = a.columns["judge.helpful"] + 2.0
    b.columns["judge.polite"] = a.columns["judge.helpful"]
    rows = {each.metric: each for each in compare(a, b).rows}
    assert rows["judge.helpful"].difference == pytest.approx(2.0)
    assert rows["judge.helpful"].sentence == (
        "B is 2.00 points of score better (2.00-2.00) in judged helpful than A."
    )
    assert not rows["judge.helpful"].regression
    assert "judge.polite" not in rows
    back = {each.metric: each for each in compare(b, a).rows}
    assert back["judge.helpful"].regression


def run(run_id: str, dataset: str, dataset_hash: str) -> Run:
    return Run(id=run_id, created_at=datetime.now(UTC), dataset=dataset, dataset_hash=dataset_hash)


def test_runs_of_different_datasets_are_refused_by_name() -> None:
    first, second = run(RUN, "questions", "1" * 64), run(OTHER_RUN, "orders", "2" * 64)
    with pytest.raises(RunsDiffer, match=r"different datasets \(questions and orders\)"):
        check_comparable([first, second])
    with pytest.raises(RunsDiffer, match="changed in between"):
        check_comparable([first, replace(second, dataset="questions")])
    check_comparable([first, replace(first, id=OTHER_RUN)])
