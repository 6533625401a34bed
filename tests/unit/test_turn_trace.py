"""What a turn of a Run records beside what every turn does: traces, processor time, memory."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.machine import Machine
from turnlab.profiles import LatencyProfile
from turnlab.testing import Each, Pause, Read, Rig, scripted
from turnlab.tracks import Mode, Replay
from turnlab.usage import Usage, forget_peak, peak_mib

VOICE = Audio(samples=np.full(1_600, 0.1, dtype=np.float32), sample_rate=16_000)
REPLAY = Replay(run_id="R-20260101T000000-abcdef", turn_id="question-1", repeat=2)


def spoken(text: str) -> Speech:
    return Speech(samples=np.full(500, 0.5, dtype=np.float32), sample_rate=1_000, text=text)


def talking() -> Rig:
    hear = scripted("hear", [Audio], Transcript, Read(Audio), Pause(0.1), Transcript(text="hello"))
    think = scripted(
        "think", [Transcript], Reply, Read(Transcript), Pause(0.2), Reply(text="one."),
        Pause(0.3), Reply(text="three"),
    )  # fmt: skip
    speak = scripted("speak", [Reply], Speech, Each(Reply, lambda piece: spoken(piece.text)))
    return Rig(hear, think, speak)


async def traces_of(mode: Mode) -> dict[str, dict]:
    result = await talking().run(VOICE, mode=mode, replay=REPLAY)
    return {task.name: task.trace for task in result.tasks}


async def test_a_trace_tells_when_each_chunk_left_and_how_large_it_was():
    traces = await traces_of(Mode.STREAMED)
    left = {name: [(row[0], row[5]) for row in t["chunks"]] for name, t in traces.items()}
    assert left == {
        "hear": [(pytest.approx(0.1), 5.0)],
        "think": [(pytest.approx(0.3), 4.0), (pytest.approx(0.6), 5.0)],
        "speak": [(pytest.approx(0.3), 0.5), (pytest.approx(0.6), 0.5)],
    }
    assert traces["think"]["intervals"] == [
        ["model", "script", pytest.approx(0.1), pytest.approx(0.3)],
        ["model", "script", pytest.approx(0.3), pytest.approx(0.6)],
    ]


async def test_the_cause_of_a_chunk_is_found_in_its_producers_trace():
    traces = await traces_of(Mode.STREAMED)
    producers = [row[1] for row in traces["speak"]["chunks"]]
    causes = [row[2] for row in traces["speak"]["chunks"]]
    assert producers == ["think", "think"]
    assert causes == [row[0] for row in traces["think"]["chunks"]]
    assert traces["speak"]["end"][1:3] == ["think", traces["think"]["end"][0]]


async def test_a_turn_by_itself_records_no_trace():
    result = await talking().run(VOICE)
    assert [task.trace for task in result.tasks] == [{}, {}, {}]
    assert (result.track.run_id, result.track.resources) == ("", {})


async def test_the_track_knows_its_place_in_the_run_and_what_it_took():
    track = (await talking().run(VOICE, replay=REPLAY)).track
    assert (track.run_id, track.turn_id, track.repeat) == (REPLAY.run_id, "question-1", 2)
    assert track.resources["cpu_s"] >= 0
    assert track.resources["peak_mib"] > 10


def spin(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


async def test_processor_time_goes_to_the_calls_that_were_at_work():
    machine = Machine(threads=2)
    busy, idle = LatencyProfile(machine.clock), LatencyProfile(machine.clock)
    await machine.call(busy, threading.Event(), 0, spin, 0.05)
    await machine.call(idle, threading.Event(), 0, lambda: None)
    both = [LatencyProfile(machine.clock) for _ in range(2)]
    barrier = threading.Barrier(2)

    def together() -> None:
        barrier.wait()
        spin(0.02)
        barrier.wait()

    calls = (machine.call(each, threading.Event(), 0, together) for each in both)
    await asyncio.gather(*calls)
    machine.close()
    assert busy.cpu_s >= 0.05
    assert idle.cpu_s < busy.cpu_s / 2
    # What was used while both were at work is shared out, none of it twice.
    assert sum(each.cpu_s for each in both) >= 0.04
    assert min(each.cpu_s for each in both) > 0.01


def test_usage_counts_from_its_making():
    first = Usage()
    spin(0.01)
    second = Usage()
    assert first.so_far()["cpu_s"] - second.so_far()["cpu_s"] >= 0.009


def test_the_peak_is_of_the_time_since_it_was_forgotten():
    block = np.ones(64 * 2**20 // 8)
    with_block = peak_mib()
    del block
    if not forget_peak():
        pytest.skip("this system cannot forget the peak")
    assert peak_mib() < with_block - 32
