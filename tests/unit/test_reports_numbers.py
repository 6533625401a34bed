"""The figures in reports: defined percentiles, sums that hold, only turns that count."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.test_reports_samples import CHAINED, failed, some_turns, spans, turn
from turnlab.profiles import Span, SpanKind
from turnlab.reports import numbers
from turnlab.reports.kinds import LOOKS
from turnlab.reports.rows import cost_text, discrepancy, ending, total_text, waterfall_rows
from turnlab.reports.turn import TaskReport


def test_json_has_exactly_the_published_keys() -> None:
    row = json.loads(json.dumps(turn().as_json()))
    assert list(row) == [
        "track_id",
        "cluster",
        "mode",
        "status",
        "conversation_id",
        "transcript",
        "reply",
        "speech_s",
        "context",
        "voice_to_voice_s",
        "cost_usd",
        "spans",
        "tasks",
        "verdict",
        "error",
    ]
    assert set(row["spans"][0]) == {"kind", "component", "label", "start_s", "end_s"}
    assert set(row["tasks"][0]) == {
        "name",
        "task_name",
        "status",
        "error_code",
        "latency_profile",
        "result_profile",
        "usage",
        "cost_usd",
    }


@pytest.mark.parametrize(
    ("costs", "total", "told"),
    [
        ([], 0, "Cost 0.000000"),
        ([0.25, 0.5], 0.75, "Cost 0.750000 US dollars."),
        ([0.25, None], None, "Cost not known: there is no price for task1."),
    ],
)
def test_an_unknown_cost_is_never_a_number(
    costs: list[float | None], total: float | None, told: str
) -> None:
    local = TaskReport(name="rag", task_name="rag", status="completed")
    tasks = [
        replace(local, name=f"task{n}", usage={"input_tokens": 3}, cost_usd=cost)
        for n, cost in enumerate(costs)
    ]
    found = replace(turn(), tasks=(local, *tasks))
    assert found.cost_usd == total
    assert cost_text(found).startswith(told)
    assert json.loads(json.dumps(found.as_json()))["cost_usd"] == total


def test_summary_uses_linear_percentiles() -> None:
    found = numbers.summary([0.1, 0.2, 0.3, 0.4])
    assert found is not None
    assert (found.n, found.min_s, found.max_s) == (4, 0.1, 0.4)
    assert (found.median_s, found.p95_s) == pytest.approx((0.25, 0.385))


def test_summary_of_nothing_is_none() -> None:
    assert numbers.summary([]) is None


def test_turns_that_failed_or_gave_no_sound_stay_out() -> None:
    silent = replace(turn(), voice_to_voice_s=None, spans=())
    odd = replace(turn(), voice_to_voice_s=float("nan"))
    cancelled = replace(turn(), status="cancelled")
    assert numbers.latencies_s([turn(), failed(), silent, odd, cancelled]) == [
        turn().voice_to_voice_s
    ]
    assert ending(failed()) == "failed: module_timeout"
    assert ending(cancelled) == "cancelled"
    assert ending(silent) == "no reply heard"


def test_breakdown_adds_up_to_the_mean_turn() -> None:
    turns = some_turns()
    stages = numbers.breakdown([*turns, failed()])
    assert sum(s.mean_s for s in stages) == pytest.approx(np.mean(numbers.latencies_s(turns)))
    assert sum(s.mean_share for s in stages) == pytest.approx(1.0)


def test_a_stage_that_a_turn_lacks_counts_as_nothing() -> None:
    short = Span(kind=SpanKind.MODEL, component="a", start_s=0.0, end_s=1.0)
    queued = Span(kind=SpanKind.QUEUE, component="a", start_s=1.0, end_s=2.0)
    first = replace(turn(), spans=(short,), voice_to_voice_s=1.0)
    second = replace(turn(), spans=(short, queued), voice_to_voice_s=2.0)
    model, queue = numbers.breakdown([first, second])
    assert (model.mean_share, queue.mean_share) == (0.75, 0.25)
    assert (model.median_s, queue.mean_s) == (1.0, 0.5)


def test_median_turn_is_a_real_turn() -> None:
    turns = [turn(factor=f) for f in (1.3, 0.9, 1.0, 1.1)]
    assert numbers.median_turn(turns) is turns[2]
    assert numbers.median_turn([failed()]) is None


def test_groups_name_what_differs() -> None:
    assert list(numbers.groups(some_turns())) == ["chained", "streamed"]
    live = replace(turn(), pace="realtime")
    assert list(numbers.groups([turn(), live])) == ["streamed, whole", "streamed, realtime"]


def test_an_even_comparison_takes_what_both_completed() -> None:
    slow = [turn("chained", "tea.wav"), turn("chained", "capital.wav"), turn("chained", "tea.wav")]
    fast = [turn(label="tea.wav"), failed(label="capital.wav")]
    first, second = numbers.even(slow, fast)
    assert [t.label for t in first] == [t.label for t in second] == ["tea.wav"]


def test_ratio_of_medians() -> None:
    assert numbers.ratio_of_medians([2.0, 4.0, 9.0], [1.0, 2.0]) == pytest.approx(4 / 1.5)
    assert numbers.ratio_of_medians([], [1.0]) is None
    assert numbers.ratio_of_medians([1.0], [0.0]) is None


def test_first_speech_leaves_out_the_quiet_at_its_start() -> None:
    assert numbers.first_speech_s(turn()) == pytest.approx(0.4158 - 0.0051)
    assert numbers.first_speech_s(failed()) is None


@pytest.mark.parametrize("parts", [[], [0.4, 0.4, 0.4], [1.5, 1.5], [99.5, 0.2, 0.3], [7.0]])
def test_rounded_parts_add_up(parts: list[float]) -> None:
    whole = numbers.rounded(parts)
    assert sum(whole) == round(sum(parts))
    assert all(abs(a - b) < 1 for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize("mode", ["streamed", "chained"])
@pytest.mark.parametrize("factor", [0.31, 1.0, 1.7])
def test_rows_add_up_to_the_latency_shown(mode: str, factor: float) -> None:
    sample = turn(mode, factor=factor)
    assert sample.voice_to_voice_s is not None
    assert sum(row.ms for row in waterfall_rows(sample.spans)) == round(
        sample.voice_to_voice_s * 1000
    )


def test_rows_join_what_belongs_together_and_fold_what_is_tiny() -> None:
    rows = waterfall_rows(spans([*CHAINED, ("model", "text2speech", "synthesize", 0.1)]))
    named = {row.name: row for row in rows}
    assert len(named["text2speech synthesize"].spans) == 2
    assert len(named["2 steps under 1 ms"].spans) == 2
    assert named["2 steps under 1 ms"].kind == "transfer, queue"


def test_a_sum_that_is_not_what_was_measured_is_said() -> None:
    assert discrepancy(turn()) == ""
    odd = replace(turn(), voice_to_voice_s=0.5)
    assert total_text(odd) == "total 416 ms (measured: 500 ms)"


def test_every_kind_of_span_has_a_look_of_its_own() -> None:
    assert set(LOOKS) == set(SpanKind)
    for key in ("colour", "block", "ascii"):
        assert len({getattr(look, key) for look in LOOKS.values()}) == len(SpanKind)
