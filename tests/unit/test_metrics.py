from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turnlab.bench.measuring.measures import ComponentMeasures, Measured, Subject
from turnlab.bench.measuring.metrics import (
    COMPONENT_METRICS,
    METRICS,
    Estimate,
    component_estimates,
    estimate,
    estimates,
    parse_metric,
)
from turnlab.bench.measuring.pairing import paired_estimate
from turnlab.bench.measuring.statistics import binomial_interval
from turnlab.errors import InvalidBudget

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def measured(
    turns: int = 4, repeat: int = 1, *, statuses: dict[int, str] | None = None, **columns: Any
) -> Measured:
    """So many turns, repeated; columns as lists, of which one entry stands for all."""
    count = turns * repeat
    ended = [(statuses or {}).get(row, "completed") for row in range(count)]
    filled = {
        key: np.array(given * count if len(given) == 1 else given, dtype=np.float64)
        for key, given in columns.items()
    }
    heard = filled.get("voice_to_voice", np.ones(count))
    return Measured(
        subject=Subject("R-20260101T000000-abcdef", "CLUSTER_A", "streamed"),
        cluster_hash="0",
        track_ids=[f"T-CLUSTER_A-{row:032x}" for row in range(count)],
        turn_ids=[f"turn-{row % turns}" for row in range(count)],
        repeats=np.arange(count, dtype=np.int32) // turns + 1,
        statuses=ended,
        errors=["" if each != "failed" else "module_failed" for each in ended],
        counts=~np.isnan(heard) & (np.array(ended) == "completed"),
        columns=filled,
        components={},
        stages={},
    )


def component(values: list[float]) -> ComponentMeasures:
    column = np.array(values)
    names = ("model", "transfer", "queue", "wait", "first_output", "total", "cost", "cpu", "path")
    return ComponentMeasures(**{name: column for name in names})


@pytest.mark.parametrize(
    ("text", "component", "name", "level"),
    [
        ("voice_to_voice.p95", "", "voice_to_voice", 0.95),
        (" first_sound.p50 ", "", "first_sound", 0.5),
        ("end.p99.9", "", "end", 0.999),
        ("model.mean", "", "model", None),
        ("speech2text.model.p95", "speech2text", "model", 0.95),
        ("a.dotted.name.first_output.p5", "a.dotted.name", "first_output", 0.05),
        ("quantization_llm.cost.mean", "quantization_llm", "cost", None),
        ("wer", "", "wer", None),
        ("judge.helpful", "", "judge.helpful", None),
        ("judge.model.p95", "judge", "model", 0.95),
        ("retrieval.rank", "", "retrieval.rank", None),
        ("retrieval.hit@3", "", "retrieval.hit", None),
        ("cost_per_hour", "", "cost_per_hour", None),
    ],
)
def test_names_that_say_what_is_meant(
    text: str, component: str, name: str, level: float | None
) -> None:
    found = parse_metric(text)
    assert (found.component, found.metric.name) == (component, name)
    assert found.level == (level if level is None else pytest.approx(level))
    assert str(found) == text.strip()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("voice_to_voice", "say which is meant, such as voice_to_voice.p95"),
        ("voice_to_vioce.p95", "did you mean voice_to_voice.p95"),
        ("voice_to_voice.p0", "did you mean voice_to_voice."),
        ("voice_to_voice.p100", "did you mean voice_to_voice."),
        ("voice_to_voice.median", "did you mean voice_to_voice.mean"),
        ("complete", "did you mean completed"),
        ("speech2text.modle.p95", "did you mean speech2text.model.p95"),
        ("speech2text.voice_to_voice.p95", "There is no metric"),
        ("retrieval.hit@0", "did you mean retrieval.hit"),
        ("wer.p95", "There is no metric 'wer.p95'"),
        ("", "there are voice_to_voice, first_text"),
        ("x" * 5_000, "There is no metric 'xxx"),
    ],
)
def test_names_that_say_nothing_are_refused_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(InvalidBudget) as caught:
        parse_metric(text)
    assert hint in caught.value.message
    assert len(caught.value.message) < 400


def test_the_page_has_a_section_of_each_metric_with_its_formula_and_no_other() -> None:
    sections = dict(re.findall(r"^### `(\S+)`\n(.*?)(?=^#|\Z)", PAGE.read_text(), re.S | re.M))
    every = {**METRICS, **{n: m for n, m in COMPONENT_METRICS.items() if n not in METRICS}}
    every["judge.<criterion>"] = parse_metric("judge.helpful").metric
    assert set(sections) == set(every)
    for name, metric in every.items():
        assert f"`{metric.formula}`" in sections[name], name
        # As GitHub makes anchors of headings.
        assert metric.anchor == re.sub(r"[^\w -]", "", name.lower())


def test_a_percentile_is_that_of_turns_that_count() -> None:
    found = measured(
        5,
        statuses={2: "failed", 3: "cancelled"},
        voice_to_voice=[0.4, 0.6, 9.0, 9.0, np.nan],
    )
    median = estimate(found, "voice_to_voice.p50")
    assert (median.value, median.n, median.groups) == (0.5, 2, 2)
    assert estimate(found, "voice_to_voice.mean").value == 0.5


def test_one_turn_has_a_figure_but_no_interval() -> None:
    found = estimate(measured(1, voice_to_voice=[0.4]), "voice_to_voice.p95")
    assert (found.value, found.low, found.high) == (0.4, None, None)
    assert found.note == "one turn alone says nothing of how much others vary"
    again = estimate(measured(1, 20, voice_to_voice=[0.4]), "voice_to_voice.p95")
    assert (again.n, again.groups, again.low) == (20, 1, None)


def test_completed_leaves_cancelled_and_interrupted_turns_out() -> None:
    statuses = {0: "failed", 1: "cancelled", 2: "started"}
    found = estimate(measured(13, statuses=statuses, voice_to_voice=[0.4]), "completed")
    assert found.value == pytest.approx(10 / 11)
    assert (found.low, found.high) == pytest.approx(binomial_interval(10, 11))
    assert found.n == 11


def test_error_rates_are_those_of_all_words_together() -> None:
    found = measured(
        3,
        voice_to_voice=[0.4],
        word_errors=[1, 0, 6],
        words=[10, 2, 8],
        character_errors=[2, 0, np.nan],
        characters=[40, 10, np.nan],
    )
    assert estimate(found, "wer").value == pytest.approx(7 / 20)
    assert estimate(found, "cer").value == pytest.approx(2 / 50)
    assert estimate(found, "cer").n == 2


def test_retrieval_counts_what_was_not_found_as_wrong() -> None:
    found = measured(4, voice_to_voice=[0.4], retrieval_rank=[1, 4, 0, np.nan])
    assert estimate(found, "retrieval.hit").value == pytest.approx(2 / 3)
    assert estimate(found, "retrieval.hit@3").value == pytest.approx(1 / 3)
    assert estimate(found, "retrieval.rank").value == pytest.approx((1 + 0.25 + 0) / 3)


def test_costs_are_those_of_turns_whose_price_is_known() -> None:
    found = measured(
        3, voice_to_voice=[0.4], cost=[0.002, 0.004, np.nan], talk=[30.0, 60.0, 1_000.0]
    )
    assert estimate(found, "cost_per_turn").value == pytest.approx(0.003)
    assert estimate(found, "cost_per_hour").value == pytest.approx(0.006 / 90 * 3600)


def test_memory_is_the_largest_peak_and_has_no_interval() -> None:
    found = estimate(measured(3, voice_to_voice=[0.4], memory=[400.0, 812.5, 500.0]), "memory")
    assert (found.value, found.low, found.high) == (812.5, None, None)
    assert "maximum" in found.note


def test_what_a_judge_gave_is_a_mean_with_an_interval_and_absent_where_nobody_judged() -> None:
    scores = [3.0, 4.0, 5.0, np.nan] * 5
    found = estimates(measured(20, **{"judge.helpful": scores}))["judge.helpful"]
    assert (found.value, found.n) == (4.0, 15)
    assert found.low is not None
    assert found.high is not None
    assert 3 < found.low < 4 < found.high < 5
    absent = estimate(measured(4), "judge.helpful")
    assert (absent.value, absent.why_absent[:24]) == (None, "nobody judged the replie")
    assert not any(name.startswith("judge.") for name in estimates(measured(4)))


def test_what_was_not_measured_is_absent_with_the_reason_and_never_0() -> None:
    found = measured(3, voice_to_voice=[0.4])
    found.absent["wer"] = "no turn of the dataset d has a reference transcript"
    rate = estimate(found, "wer")
    assert rate == Estimate(None, why_absent="no turn of the dataset d has a reference transcript")
    assert estimate(found, "emotion.accuracy").why_absent == (
        "it was measured in no turn that completed"
    )
    unknown = estimate(found, "text2speach.model.p95")
    assert unknown.why_absent == "CLUSTER_A has no Component 'text2speach'; it has none"


def test_a_cluster_that_fails_on_every_turn() -> None:
    found = measured(2, statuses={0: "failed", 1: "failed"}, voice_to_voice=[np.nan])
    every = estimates(found)
    assert (every["completed"].value, every["heard"].value) == (0.0, 0.0)
    others = [each for name, each in every.items() if name not in ("completed", "heard")]
    assert all(each.value is None for each in others)
    assert {each.why_absent for each in others} == {"no turn completed"}


def test_a_cluster_whose_replies_are_silent() -> None:
    found = measured(3, voice_to_voice=[np.nan], model=[0.2])
    assert estimate(found, "voice_to_voice.p50").why_absent == (
        "no reply was heard in any turn that completed"
    )
    assert estimate(found, "model.p50").value == 0.2


def test_all_estimates_are_those_that_are_asked_for_one_by_one() -> None:
    draw = np.random.default_rng(1)
    found = measured(30, 10, voice_to_voice=list(draw.lognormal(size=300)), cost=[0.1], talk=[9.0])
    found.components["rag"] = component(list(draw.lognormal(size=300)))
    every = estimates(found)
    assert list(every)[:2] == ["voice_to_voice.p50", "voice_to_voice.p90"]
    for name in ("voice_to_voice.p95", "voice_to_voice.mean", "cost_per_hour", "completed"):
        assert every[name] == estimate(found, name)
    own = component_estimates(found)
    assert own["rag.total.p99"] == estimate(found, "rag.total.p99")
    assert len(own) == 5 * len(COMPONENT_METRICS)


def test_repetitions_and_turns_of_one_conversation_are_one_group() -> None:
    found = measured(4, 3, voice_to_voice=[0.4])
    assert estimate(found, "voice_to_voice.p50").groups == 4
    talks = {"turn-0": "turn-0", "turn-1": "turn-0"}
    together = measured(4, 3, voice_to_voice=[0.4])
    together.conversations = talks
    assert estimate(together, "voice_to_voice.p50").groups == 3


def test_the_difference_of_a_median_is_the_median_of_the_differences_turn_by_turn() -> None:
    first = measured(9, 1, voice_to_voice=[1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0])
    second = measured(9, 1, voice_to_voice=[1.1, 1.1, 1.1, 1.1, 2.1, 3.1, 3.1, 3.1, 0.5])
    found = paired_estimate(first, second, "voice_to_voice.p50")
    assert (found.first, found.second) == (2.0, 1.1)
    assert found.difference == pytest.approx(0.1)
    tail = paired_estimate(first, second, "voice_to_voice.p90")
    assert tail.difference == pytest.approx(tail.second - tail.first)


def test_pairs_leave_out_what_one_side_lacks_and_differences_between_turns() -> None:
    draw = np.random.default_rng(2)
    hard = draw.lognormal(size=40)
    first = measured(40, 2, voice_to_voice=list(np.tile(hard, 2) + 1.0))
    slower = np.tile(hard, 2) + 1.3 + draw.normal(size=80) * 0.01
    second = measured(40, 2, voice_to_voice=list(np.where(np.arange(80) == 7, np.nan, slower)))
    found = paired_estimate(first, second, "voice_to_voice.p50")
    assert found.n == 79
    assert found.groups == 40
    assert found.difference == pytest.approx(0.3, abs=0.03)
    assert found.low is not None
    assert found.high is not None
    assert 0.2 < found.low < 0.3 < found.high < 0.4
    assert found.ratio == pytest.approx(found.second / found.first)
    alone = estimate(first, "voice_to_voice.p50")
    assert alone.low is not None
    assert alone.high is not None
    assert found.high - found.low < 0.2 * (alone.high - alone.low)


def test_pairs_of_what_only_one_side_measured_are_absent_with_the_reason() -> None:
    first = measured(3, voice_to_voice=[0.4], cost=[0.1])
    second = measured(3, voice_to_voice=[0.4])
    found = paired_estimate(first, second, "cost_per_turn")
    assert found.difference is None
    assert found.why_absent == "it was measured in no turn that completed"


def test_a_ratio_to_nothing_is_absent() -> None:
    free, dear = (measured(3, voice_to_voice=[0.4], cost=[cost]) for cost in (0.0, 0.1))
    found = paired_estimate(free, dear, "cost_per_turn")
    assert (found.difference, found.ratio, found.ratio_low) == (pytest.approx(0.1), None, None)
