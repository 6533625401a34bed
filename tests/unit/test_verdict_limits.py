"""Verdicts on what was measured of a Cluster: each sort of limit, with its interval."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.measured_turns import turns_of
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.verdicts.budget import parse_limit
from turnlab.bench.verdicts.verdict import Judgement, Outcome, judge
from turnlab.errors import InvalidBudget


def one(measured: Measured, text: str) -> Judgement:
    (found,) = judge(measured, [parse_limit(text)])
    return found


def test_a_percentile_passes_fails_or_says_how_many_more() -> None:
    quick = turns_of(np.linspace(0.4, 0.9, 59).tolist())
    passed = one(quick, "voice_to_voice.p95 <= 1")
    assert passed.outcome is Outcome.PASS
    assert passed.sentence == (
        "Acceptable: voice to voice is within 1 s in 59 of 59 turns, its 95th percentile 0.875 s "
        "(0.848-0.900)."
    )
    failed = one(quick, "voice_to_voice.p95 <= 800ms")
    assert (failed.outcome, failed.within, failed.turns) == (Outcome.FAIL, 47, 59)
    few = one(turns_of([0.5] * 10), "voice_to_voice.p95 <= 1")
    assert (few.outcome, few.more_turns) == (Outcome.UNDECIDED, 49)
    assert "49 more different turns within it would prove it." in few.sentence


def test_the_interval_is_the_one_that_the_outcome_follows_from() -> None:
    measured = turns_of(np.random.default_rng(3).lognormal(-0.5, 0.3, 200).tolist())
    ends = one(measured, "voice_to_voice.p90 <= 1").estimate
    assert ends.low is not None
    assert ends.high is not None
    outcomes = [
        one(measured, f"voice_to_voice.p90 <= {bound!r}").outcome
        for bound in (ends.low - 1e-6, ends.low, ends.high - 1e-6, ends.high)
    ]
    assert [str(each) for each in outcomes] == ["fail", "undecided", "undecided", "pass"]


def test_a_limit_that_must_be_fallen_below_is_not_kept_by_reaching_it() -> None:
    measured = turns_of([1.0] * 100)
    assert one(measured, "voice_to_voice.p95 <= 1").outcome is Outcome.PASS
    assert one(measured, "voice_to_voice.p95 < 1").outcome is Outcome.FAIL


def test_failed_turns_are_over_any_limit_of_time_and_cancelled_ones_apart() -> None:
    measured = turns_of([0.5] * 80 + [None] * 20, cancelled=50)
    found = one(measured, "voice_to_voice.p95 <= 1")
    assert (found.outcome, found.turns, found.within) == (Outcome.FAIL, 100, 80)
    assert "20 failed" in found.sentence
    assert one(turns_of([0.5] * 80, cancelled=50), "voice_to_voice.p95 <= 1").turns == 80


def test_repetitions_of_few_turns_prove_less_than_as_many_turns() -> None:
    values = np.repeat(np.linspace(0.4, 0.9, 20), 5).tolist()
    assert one(turns_of(values), "voice_to_voice.p95 <= 1").outcome is Outcome.PASS
    again = one(turns_of(values, repeats=5), "voice_to_voice.p95 <= 1")
    assert (again.outcome, again.more_turns) == (Outcome.UNDECIDED, 39)
    assert (
        "(they count as 20, since repetitions and turns of one conversation are alike)"
        in again.sentence
    )


def test_a_cluster_that_failed_on_every_turn_keeps_no_limit_and_says_why() -> None:
    measured = turns_of([None] * 12, error=("speech2text", "missing_model"))
    for text in ("voice_to_voice.p95 <= 60", "wer <= 1", "cost_per_turn <= 1", "completed > 0"):
        found = one(measured, text)
        assert found.outcome is Outcome.FAIL
        assert found.sentence == (
            "Not acceptable: all 12 turns failed, "
            "most often with missing_model in speech2text (12)."
        )


def test_turns_that_were_only_cancelled_decide_nothing() -> None:
    found = one(turns_of([], cancelled=5), "completed >= 0.5")
    assert (found.outcome, found.estimate.value) == (Outcome.UNDECIDED, None)
    assert "no turn has completed or failed" in found.sentence


def test_replies_that_nobody_heard_fail() -> None:
    measured = turns_of([0.5] * 3)
    measured.counts[:] = False
    found = one(measured, "voice_to_voice.p95 <= 1")
    assert (found.outcome, found.within) == (Outcome.FAIL, 0)
    assert "no reply was heard in 3 turns" in found.sentence


def test_a_metric_without_references_is_never_a_pass() -> None:
    measured = turns_of([0.5] * 100)
    measured.absent["wer"] = "no turn of the dataset has a reference transcript"
    found = one(measured, "wer <= 1")
    assert (found.outcome, found.more_turns, found.estimate.value) == (
        Outcome.UNDECIDED,
        None,
        None,
    )
    assert found.sentence == "Undecided: no turn of the dataset has a reference transcript."


def test_a_component_that_the_cluster_has_not_is_never_a_pass() -> None:
    measured = turns_of([0.5] * 99 + [None])
    found = one(measured, "speech2text.model.p95 <= 1")
    assert found.outcome is Outcome.UNDECIDED
    assert "has no Component 'speech2text'" in found.sentence


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InvalidBudget, match="There is no metric"):
        one(turns_of([0.5]), "voice_to_noise.p95 <= 1")


@pytest.mark.parametrize(("bound", "outcome"), [(0.2, "pass"), (0.1, "undecided"), (0.05, "fail")])
def test_errors_are_judged_by_their_interval(bound: float, outcome: str) -> None:
    errors = [0, 1, 2, 0, 1, 0, 2, 1, 1, 2] * 4  # 40 of 400 words
    measured = turns_of([0.5] * 40, word_errors=errors, words=10)
    found = one(measured, f"wer <= {bound}")
    assert str(found.outcome) == outcome
    assert found.estimate.value == pytest.approx(0.1)
    assert found.more_turns is None  # at 0.1 the limit is the figure: nothing would tell


def test_how_many_more_turns_narrow_an_interval_enough() -> None:
    errors = [0, 3] * 10  # 30 of 200 words
    found = one(turns_of([0.5] * 20, word_errors=errors, words=10), "wer <= 0.18")
    assert found.outcome is Outcome.UNDECIDED
    assert found.more_turns is not None
    assert 30 < found.more_turns < 200


def test_failed_turns_keep_a_mean_of_time_from_being_proved() -> None:
    values = np.linspace(0.4, 0.6, 40).tolist()
    assert one(turns_of(values), "voice_to_voice.mean <= 1").outcome is Outcome.PASS
    found = one(turns_of([*values, None, None]), "voice_to_voice.mean <= 1")
    assert (found.outcome, found.more_turns) == (Outcome.UNDECIDED, None)
    assert found.sentence.startswith("Undecided: mean voice to voice is 0.500 s")
    assert found.sentence.endswith(
        "; 2 turns failed or stayed silent, and nobody knows how long they would have taken: "
        "set a limit on voice_to_voice.p95."
    )
    assert one(turns_of([*values, None]), "voice_to_voice.mean <= 0.4").outcome is Outcome.FAIL
    assert one(turns_of([*values, None], cost=0.1), "cost_per_turn <= 1").outcome is Outcome.PASS


@pytest.mark.parametrize(("bound", "outcome"), [(3.5, "pass"), (4, "undecided"), (4.5, "fail")])
def test_what_a_judge_gave_is_judged(bound: float, outcome: str) -> None:
    measured = turns_of([0.5] * 40)
    measured.columns["judge.helpful"] = np.tile([3.0, 4.0, 5.0, 4.0], 10)
    found = one(measured, f"judge.helpful >= {bound}")
    assert str(found.outcome) == outcome
    assert "judged helpful is 4.00 (3.7" in found.sentence
    assert f"over 40 turns, the limit {bound}" in found.sentence
    unjudged = one(turns_of([0.5] * 40), "judge.helpful >= 1")
    assert unjudged.outcome is Outcome.UNDECIDED
    assert "nobody judged the replies by it" in unjudged.sentence


def test_a_mean_of_few_turns_is_not_judged() -> None:
    found = one(turns_of([0.5] * 4, word_errors=0, words=10), "wer <= 0.5")
    assert (found.outcome, found.more_turns) == (Outcome.UNDECIDED, 6)


def test_what_costs_nothing_keeps_any_limit_of_cost() -> None:
    assert one(turns_of([0.5] * 20, cost=0.0), "cost_per_turn <= 0").outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("done", "failed", "outcome", "more"),
    [(299, 0, "pass", None), (100, 0, "undecided", 199), (95, 5, "fail", None)],
)
def test_completed_turns_are_judged_by_an_exact_interval(
    done: int, failed: int, outcome: str, more: int | None
) -> None:
    found = one(turns_of([0.5] * done + [None] * failed), "completed >= 0.99")
    assert (str(found.outcome), found.more_turns) == (outcome, more)


def test_no_number_of_turns_proves_that_all_complete() -> None:
    found = one(turns_of([0.5] * 1_000), "completed >= 1")
    assert (found.outcome, found.more_turns) == (Outcome.UNDECIDED, None)
    assert "no number of such turns would tell" in found.sentence


def test_a_peak_is_what_it_was() -> None:
    measured = turns_of([0.5] * 3, memory=[700, 900, 800])
    assert one(measured, "memory <= 900 MiB").outcome is Outcome.PASS
    assert one(measured, "memory < 900").outcome is Outcome.FAIL


def test_a_hundred_thousand_turns_are_judged() -> None:
    values = np.random.default_rng(4).lognormal(-0.5, 0.3, 100_000).tolist()
    measured = turns_of(values, repeats=4)
    assert one(measured, "voice_to_voice.p95 <= 1.2").outcome is Outcome.PASS
    assert one(measured, "voice_to_voice.p95 <= 0.9").outcome is Outcome.FAIL


def test_a_percentile_that_failed_turns_have_is_no_time_at_all() -> None:
    (found,) = judge(turns_of([0.02] * 9 + [None] * 3), [parse_limit("voice_to_voice.p95 <= 1")])
    assert found.estimate.value is None
    assert found.estimate.why_absent == ""
    assert "its 95th percentile no time at all: so many failed; of those answered 0.020 s" in (
        found.sentence
    )
