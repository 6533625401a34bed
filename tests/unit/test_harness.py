"""The harness: every turn a Track, failures and interruptions lose nothing and repeat nothing."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import suppress

import pytest

from tests.unit.harness_rig import RUN, Bench, answers, hears, key, speaks, turns
from turnlab.bench.replay.schedule import schedule
from turnlab.chunks import Reply, Transcript
from turnlab.conversations import Conversation
from turnlab.errors import MissingModel, RecordingFailed
from turnlab.modules.base import Module
from turnlab.testing import scripted
from turnlab.testing.recorder import MemoryRecorder
from turnlab.tracks import Mode, Track, TrackStatus

FAST = (hears(), answers(), speaks())
SLOW = (hears(), answers("ponder", 0.4), speaks())


def clumsy(*wrong: int) -> tuple[type[Module], ...]:
    return (hears(wrong), answers(), speaks())


def once_each(bench: Bench) -> bool:
    """Whether each turn of the Run has ended exactly once."""
    ended = (TrackStatus.COMPLETED, TrackStatus.FAILED)
    counted = Counter(
        key(track) for track in bench.tracks if track.repeat and track.status in ended
    )
    return counted == Counter(job.key for job in bench.jobs)


async def test_every_turn_is_a_track_of_the_run_in_the_order_of_the_schedule():
    bench = Bench({"A": FAST, "B": SLOW}, turns(3), modes=tuple(Mode), repeat=2)
    await bench.run()
    assert [key(track) for track in bench.tracks] == [job.key for job in bench.jobs]
    assert {track.run_id for track in bench.tracks} == {RUN}
    assert {track.status for track in bench.tracks} == {TrackStatus.COMPLETED}
    assert all(track.resources["peak_mib"] > 0 for track in bench.tracks)
    assert all(task.trace["chunks"] for task in bench.recorder.tasks)
    took = {track.cluster: track.voice_to_voice_s for track in bench.tracks}
    assert took == {"A": pytest.approx(0.1), "B": pytest.approx(0.4)}


async def test_warm_ups_come_first_are_recorded_and_count_as_no_repetition():
    bench = Bench({"A": FAST, "B": SLOW}, turns(3), warm_up=2)
    await bench.run()
    assert [track.repeat for track in bench.tracks] == [0] * 4 + [1] * 6
    ended = [entry for entry in bench.noted.log if entry[0] == "ended"]
    assert len(ended) == 6
    assert bench.noted.log[:4] == [
        ("loading", "A"),
        ("loading", "B"),
        ("warming", "A (streamed)"),
        ("warming", "B (streamed)"),
    ]


async def test_a_turn_that_fails_is_recorded_and_the_others_go_on():
    bench = Bench({"A": clumsy(1), "B": FAST}, turns(3))
    await bench.run()
    failed = [track for track in bench.tracks if track.status is TrackStatus.FAILED]
    assert [key(track) for track in failed] == [("A", "streamed", "t1", 1)]
    assert failed[0].error_code == "module_failed"
    assert once_each(bench)


async def test_a_cluster_that_fails_on_every_turn_is_told_of_at_its_warm_up():
    bench = Bench({"A": clumsy(0, 1, 2), "B": FAST}, turns(3), warm_up=2)
    await bench.run()
    assert ("warm-up failed", "A (streamed)", "module_failed") in bench.noted.log
    assert {track.cluster: track.status for track in bench.tracks} == {
        "A": TrackStatus.FAILED,
        "B": TrackStatus.COMPLETED,
    }
    assert once_each(bench)


async def test_a_cluster_whose_models_cannot_be_loaded_fails_its_own_turns_only():
    class Absent(scripted("answer", [Transcript], Reply)):
        def load(self) -> None:
            raise MissingModel("There is no model at /nowhere; give the path of one that is there.")

    bench = Bench({"A": (hears(), Absent, speaks()), "B": SLOW}, turns(2), warm_up=1)
    await bench.run()
    assert bench.noted.log[1][:2] == ("cannot load", "A")
    assert "/nowhere" in bench.noted.log[1][2]
    codes = {(track.cluster, track.error_code) for track in bench.tracks}
    assert codes == {("A", "missing_model"), ("B", "")}
    assert once_each(bench)


async def test_a_turn_of_a_conversation_knows_those_before_it():
    bench = Bench({"A": FAST, "B": SLOW}, turns(4, c=[1, 2, 3]), repeat=2)
    await bench.run()
    talks = {track.conversation_id for track in bench.tracks}
    assert len(talks) == 1 + 2 * 2
    known = bench.work.conversations.values()
    assert [[each.text for each in talk.exchanges] for talk in known] == [["t1", "t2", "t3"]] * 4
    assert not any(track.conversation_id for track in bench.tracks if track.turn_id == "t0")


async def test_a_conversation_that_had_begun_before_goes_on():
    bench = Bench({"A": FAST}, turns(2, c=[0, 1]))
    known = Conversation(id=bench.jobs[0].conversation_id(RUN) or "")
    bench.work.conversations[known.id] = known
    bench.work.jobs = bench.jobs[1:]
    await bench.run()
    assert [track.conversation_id for track in bench.tracks] == [known.id]
    assert [each.text for each in known.exchanges] == ["t1"]


@pytest.mark.parametrize("at_once", [2, 3])
async def test_as_many_turns_as_asked_for_are_under_way_at_once(at_once):
    bench = Bench({"A": FAST, "B": SLOW}, turns(7), at_once=at_once)
    await bench.run()
    assert once_each(bench)
    under_way, most = set(), 0
    for row in bench.recorder.log:
        if isinstance(row, Track):
            under_way ^= {row.track_id}
            most = max(most, len(under_way))
            assert len({track_id.split("-")[1] for track_id in under_way}) <= 1
    assert most == at_once


async def test_turns_of_a_conversation_wait_for_each_other_while_others_go_on():
    bench = Bench({"A": FAST}, turns(6, c=[0, 1, 2], d=[3, 4]), at_once=3)
    await bench.run()
    assert [track.turn_id for track in bench.tracks[:3]] == ["t0", "t3", "t5"]
    talks = bench.work.conversations.values()
    assert [[each.text for each in talk.exchanges] for talk in talks] == [
        ["t0", "t1", "t2"],
        ["t3", "t4"],
    ]
    assert once_each(bench)


class Interrupts(MemoryRecorder):
    """Cancels whoever runs turns at the n-th record."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0
        self.bench: Bench | None = None

    def _count(self) -> None:
        if self.bench and len(self.log) == self.at:
            self.bench.running.cancel()

    def track(self, track):
        super().track(track)
        self._count()

    def task(self, task):
        super().task(task)
        self._count()

    def content(self, content):
        super().content(content)
        self._count()


@pytest.mark.parametrize("at_once", [1, 2])
async def test_interrupted_at_each_step_it_goes_on_and_repeats_nothing(at_once, monkeypatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)  # nearly all of the time that this would take
    clusters = {"A": clumsy(1), "B": FAST}
    dataset = turns(3, c=[0, 2])
    whole = Bench(clusters, dataset, at_once=at_once)
    await whole.run()
    for step in range(1, len(whole.recorder.log) + 1):
        bench = Bench(clusters, dataset, at_once=at_once, recorder=Interrupts())
        bench.recorder.at, bench.recorder.bench = step, bench
        with suppress(asyncio.CancelledError):
            await bench.run()
        assert {track.status for track in bench.tracks} <= set(TrackStatus) - {TrackStatus.STARTED}
        done = {key(t) for t in bench.tracks if t.status is not TrackStatus.CANCELLED}
        bench.recorder.bench = None
        bench.work.jobs = [job for job in bench.jobs if job.key not in done]
        await bench.run()
        assert once_each(bench), f"interrupted at record {step}"
        for talk in bench.work.conversations.values():
            assert [each.text for each in talk.exchanges] == ["t0", "t2"]


async def test_a_full_disk_ends_the_run_and_no_turn_is_left_open():
    class Full(MemoryRecorder):
        async def flush(self) -> None:
            await super().flush()
            if self.flushes > 2:
                raise RecordingFailed()

    bench = Bench({"A": FAST}, turns(6), at_once=2, recorder=Full())
    with pytest.raises(RecordingFailed):
        await bench.run()
    assert all(track.status.ended for track in bench.tracks)
    assert len(bench.tracks) < 6


async def test_nothing_is_loaded_or_warmed_for_a_cluster_that_has_nothing_left_to_do():
    bench = Bench({"A": FAST, "B": SLOW}, turns(2), warm_up=1)
    bench.work.jobs = [job for job in bench.jobs if job.entrant.cluster == "B"]
    await bench.run()
    assert {track.cluster for track in bench.tracks} == {"B"}
    assert ("loading", "A") not in bench.noted.log


async def test_the_collector_of_garbage_is_left_as_it_was():
    bench = Bench({"A": FAST}, turns(2))
    await bench.run()
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()


def test_a_dataset_without_turns_is_an_empty_schedule():
    assert schedule([], ["A"], list(Mode)) == []
