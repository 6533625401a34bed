"""Latency: the profile of a Task, and a critical path that adds up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlab.chunks import Origin
from turnlab.profiles import Activity, Interval, LatencyProfile, SpanKind, critical_path
from turnlab.testing import FakeClock

NAMES = ("ears", "brain", "voice")
STEPS = st.floats(min_value=0, max_value=2, allow_nan=False)


async def test_a_profile_keeps_the_key_families_of_the_seed():
    clock = FakeClock(10.0)
    profile = LatencyProfile(clock)
    profile.point("created")
    for _ in range(2):
        with profile.model("decode"):
            await clock.advance(0.5)
        with profile.transfer("upload"):
            await clock.advance(0.25)
    profile.point("created")
    profile.point("end")
    assert profile.as_json(zero_s=9.0) == {
        "ts_created": 1.0,
        "ts_end": 2.5,
        "model_decode": 1.0,
        "transfer_upload": 0.5,
    }


def test_a_block_that_fails_is_measured_too():
    profile = LatencyProfile(FakeClock())
    with pytest.raises(ValueError, match="x"), profile.model("decode"):
        raise ValueError("x")
    assert [each.label for each in profile.intervals] == ["decode"]


@st.composite
def turns(draw):
    """A chain user -> ears -> brain -> voice -> listener in which each moment follows the last."""
    now_s = draw(st.floats(min_value=0, max_value=1e6))

    def later() -> float:
        nonlocal now_s
        now_s += draw(STEPS)
        return now_s

    zero_s = draw(st.floats(min_value=now_s - 3, max_value=now_s + 3))
    cause = Origin(producer="user", emitted_s=later())
    activities: dict[str, Activity] = {}
    for name in NAMES:
        chained = draw(st.booleans())
        before = activities.get(cause.producer)
        if chained and before is not None:
            before.ended_s = later()
            before.newest = Origin(
                producer=cause.producer,
                emitted_s=before.ended_s,
                cause=cause.cause,
                asked_s=cause.asked_s,
                read_s=cause.read_s,
            )
            created_s = later()
        else:
            created_s = cause.emitted_s - draw(STEPS)
        claimed_s = created_s + draw(STEPS)
        asked_s = draw(st.floats(min_value=now_s - 2, max_value=now_s + 2))
        read_s = later()
        intervals = []
        for _ in range(draw(st.integers(0, 4))):
            start_s = read_s + draw(st.floats(min_value=-1, max_value=3))
            end_s = start_s + draw(STEPS)
            kind = draw(st.sampled_from(SpanKind))
            intervals.append(Interval(kind=kind, label="x", start_s=start_s, end_s=end_s))
        activities[name] = Activity(created_s=created_s, claimed_s=claimed_s, intervals=intervals)
        cause = Origin(
            producer=name, emitted_s=later(), cause=cause, asked_s=asked_s, read_s=read_s
        )
    read_s = later()
    activities["listener"] = Activity(created_s=read_s, claimed_s=read_s)
    heard = Origin(
        producer="listener", emitted_s=read_s, cause=cause, asked_s=read_s, read_s=read_s
    )
    return heard, draw(STEPS), zero_s, activities


@given(turns())
def test_spans_are_contiguous_and_sum_to_what_was_measured(turn):
    heard, lead_s, zero_s, activities = turn
    spans = critical_path(heard, lead_s, zero_s, activities)
    total_s = heard.emitted_s + lead_s - zero_s
    if total_s <= 0:
        assert spans == []
        return
    assert sum(span.duration_s for span in spans) == pytest.approx(total_s, abs=1e-6)
    if spans:
        assert spans[0].start_s == pytest.approx(0, abs=1e-6)
        assert spans[-1].end_s == pytest.approx(total_s, abs=1e-6)
    for one, other in pairwise(spans):
        assert one.end_s == pytest.approx(other.start_s, abs=1e-6)
    assert all(span.duration_s > 0 for span in spans)
    assert {span.component for span in spans} <= {"user", "listener", *NAMES}


def link(producer: str, emitted_s: float, cause: Origin | None, asked_s: float, read_s: float):
    return Origin(
        producer=producer, emitted_s=emitted_s, cause=cause, asked_s=asked_s, read_s=read_s
    )


def shown(spans) -> list[tuple[str, str, float, float]]:
    return [(s.kind, s.component, round(s.start_s, 6), round(s.end_s, 6)) for s in spans]


def test_each_kind_of_time_has_its_span():
    said = Origin(producer="user", emitted_s=10.2)
    text = link("ears", 10.9, said, asked_s=10.5, read_s=10.6)
    heard = link("listener", 11.0, text, asked_s=10.9, read_s=11.0)
    spans = critical_path(
        heard,
        0.1,
        10.0,
        {
            "ears": Activity(created_s=10.2, claimed_s=10.4),
            "listener": Activity(created_s=10.0, claimed_s=10.0),
        },
    )
    assert shown(spans) == [
        ("endpointing", "user", 0.0, 0.2),
        ("queue", "ears", 0.2, 0.4),
        ("wait", "ears", 0.4, 0.5),
        ("transfer", "ears", 0.5, 0.6),
        ("model", "ears", 0.6, 0.9),
        ("transfer", "listener", 0.9, 1.0),
        ("playout", "listener", 1.0, 1.1),
    ]


def test_chained_goes_through_the_producers_end():
    """The voice speaks the first of two sentences, but was created after the second."""
    said = Origin(producer="user", emitted_s=0.0)
    later = Origin(producer="user", emitted_s=0.3)
    first = link("brain", 1.0, said, asked_s=0.0, read_s=0.0)
    end = link("brain", 3.0, later, asked_s=0.3, read_s=0.3)
    speech = link("voice", 4.0, first, asked_s=3.0, read_s=3.0)
    heard = link("listener", 4.0, speech, asked_s=4.0, read_s=4.0)
    activities = {
        "brain": Activity(created_s=0.0, claimed_s=0.0, ended_s=3.0, newest=end),
        "voice": Activity(created_s=3.0, claimed_s=3.0),
        "listener": Activity(created_s=4.0, claimed_s=4.0),
    }
    assert shown(critical_path(heard, 0.0, 0.0, activities)) == [
        ("endpointing", "user", 0.0, 0.3),
        ("model", "brain", 0.3, 3.0),
        ("model", "voice", 3.0, 4.0),
    ]


def test_waiting_inside_a_task_is_told_apart_from_its_inference():
    said = Origin(producer="user", emitted_s=0.0)
    speech = link("voice", 3.0, said, asked_s=0.0, read_s=0.0)
    heard = link("listener", 3.0, speech, asked_s=3.0, read_s=3.0)
    intervals = [
        Interval(kind=SpanKind.MODEL, label="decode", start_s=0.0, end_s=3.0),
        Interval(kind=SpanKind.WAIT, label="yielding", start_s=1.0, end_s=2.0),
    ]
    activities = {
        "voice": Activity(created_s=0.0, claimed_s=0.0, intervals=intervals),
        "listener": Activity(created_s=0.0, claimed_s=0.0),
    }
    assert shown(critical_path(heard, 0.0, 0.0, activities)) == [
        ("model", "voice", 0.0, 1.0),
        ("wait", "voice", 1.0, 2.0),
        ("model", "voice", 2.0, 3.0),
    ]


def test_a_sliver_joins_what_lies_before_it():
    said = Origin(producer="user", emitted_s=0.0)
    speech = link("voice", 1.00005, said, asked_s=0.0, read_s=0.0)
    heard = link("listener", 1.00005, speech, asked_s=1.0, read_s=1.00005)
    interval = Interval(kind=SpanKind.MODEL, label="speak", start_s=0.0, end_s=1.0)
    activities = {
        "voice": Activity(created_s=0.0, claimed_s=0.0, intervals=[interval]),
        "listener": Activity(created_s=0.0, claimed_s=0.0),
    }
    spans = critical_path(heard, 0.0, 0.0, activities)
    assert [(span.label, span.end_s) for span in spans] == [("speak", 1.00005)]
