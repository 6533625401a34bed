from __future__ import annotations

import asyncio
import json
import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connections
from django.db.backends.signals import connection_created
from django.dispatch import Signal

from turnlab.chunks import Audio, Sound, Speech
from turnlab.errors import RecordingFailed
from turnlab.records import Content, ContentKind
from turnlab.server import models, signals
from turnlab.server.journal import Journal
from turnlab.server.media import KeptContent, load_sound
from turnlab.tasks import Task, TaskStatus, new_id
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id

NEVER_S = 3600.0
"""An interval that no test waits for: only a flush, a close or a long queue writes."""


@pytest.fixture
def journal(database: Path) -> Iterator[Journal]:
    journal = Journal(interval_s=NEVER_S)
    yield journal
    journal.close()


def make_track(**changes: Any) -> Track:
    return Track(
        **{
            "track_id": new_track_id("CLUSTER_A"),
            "cluster": "CLUSTER_A",
            "cluster_hash": "abc",
            "mode": Mode.STREAMED,
            "created_at": datetime.now(UTC),
            **changes,
        }
    )


def make_task(track: Track, task_name: str = "rag", **changes: Any) -> Task:
    return Task(
        **{
            "id": new_id(),
            "track_id": track.track_id,
            "name": task_name,
            "task_name": task_name,
            "parameters": {"k": 3},
            "created_at": datetime.now(UTC),
            **changes,
        }
    )


def ended(task: Task, status: TaskStatus = TaskStatus.COMPLETED, **changes: Any) -> Task:
    return task.to(TaskStatus.STARTED).to(status, **changes)


def make_content(track: Track, kind: ContentKind, **changes: Any) -> Content:
    values = {"id": new_id(), "task_id": None, "created_at": datetime.now(UTC), **changes}
    return Content(kind=kind, track_id=track.track_id, **values)


def tone(kind: type[Audio] | type[Speech] = Audio, sample_rate: int = 16_000) -> Sound:
    samples = np.linspace(-1.0, 1.0, 1_600, dtype=np.float32)
    return kind(samples=samples, sample_rate=sample_rate)


def flush(journal: Journal) -> None:
    asyncio.run(journal.flush())


def settle(journal: Journal) -> None:
    asyncio.run(journal.settle())


@contextmanager
def heard(signal: Signal, receiver: Callable[..., Any] | None = None) -> Iterator[list[Any]]:
    """What the signal sends meanwhile; `receiver` is called besides."""
    found: list[Any] = []

    def keep(**sent: Any) -> None:
        found.append(sent)
        if receiver is not None:
            receiver(**sent)

    signal.connect(keep)
    try:
        yield found
    finally:
        signal.disconnect(keep)


@contextmanager
def on_connection(prepare: Callable[[Any], None]) -> Iterator[None]:
    """Call `prepare` with each connection that is opened meanwhile."""

    def opened(connection: Any, **_: Any) -> None:
        prepare(connection)

    connection_created.connect(opened)
    try:
        yield
    finally:
        connection_created.disconnect(opened)


# Writing


def test_the_newest_version_of_a_record_wins(journal: Journal) -> None:
    track = make_track()
    task = make_task(track)
    journal.track(track)
    journal.task(task)
    journal.task(ended(task, result_json={"result_profile": {"text": "yes"}}))
    flush(journal)

    row = models.Task.objects.get()
    assert (row.id, row.status) == (task.id, "completed")
    assert row.result_json == {"result_profile": {"text": "yes"}}
    assert row.parameters == {"k": 3}


def test_a_later_flush_updates_the_row_and_keeps_its_time_of_creation(journal: Journal) -> None:
    task = make_task(make_track())
    journal.task(task)
    flush(journal)
    first = models.Task.objects.get()
    journal.task(ended(task, TaskStatus.FAILED, error_code="module_failed"))
    flush(journal)

    row = models.Task.objects.get()
    assert (row.status, row.error_code) == ("failed", "module_failed")
    assert row.created_at == first.created_at == task.created_at
    assert row.updated_at > first.updated_at


def test_parents_are_written_before_children_in_one_transaction(database: Path) -> None:
    statements: list[str] = []
    with on_connection(lambda each: each.connection.set_trace_callback(statements.append)):
        journal = Journal(interval_s=NEVER_S)
        track = make_track()
        task = make_task(track)
        journal.content(make_content(track, ContentKind.RES_TEXT, task_id=task.id, text="hi"))
        journal.task(task)
        journal.track(track)
        flush(journal)
        journal.close()

    words = [" ".join(each.split()[:3]) for each in statements]
    begin = words.index("BEGIN IMMEDIATE")
    assert words[begin + 1 :] == [
        'INSERT INTO "turnlab_track"',
        'INSERT INTO "turnlab_task"',
        'INSERT INTO "turnlab_restext"',
        "COMMIT",
    ]


def test_records_are_written_without_a_flush(database: Path) -> None:
    written = threading.Event()
    with heard(signals.completed_rag, lambda **_: written.set()):
        journal = Journal(interval_s=0.001)
        journal.task(ended(make_task(make_track())))
        assert written.wait(10)
    journal.close()


def test_a_long_queue_is_written_before_the_interval_is_over(journal: Journal) -> None:
    written = threading.Event()
    with heard(signals.completed_rag, lambda **_: written.set()):
        track = make_track()
        for _ in range(2_000):
            journal.task(ended(make_task(track)))
        assert written.wait(10)


def test_many_threads_may_write(journal: Journal) -> None:
    track = make_track()

    def write() -> None:
        for _ in range(500):
            task = make_task(track)
            journal.task(task)
            journal.task(ended(task))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flush(journal)

    assert models.Task.objects.filter(status="completed").count() == 2_000
    assert journal.waiting == 0


def test_values_that_json_does_not_know_are_kept_as_well_as_can_be(journal: Journal) -> None:
    odd = {"nan": math.nan, "np": np.float32(0.5), "half": "a\ud800", "nul": "\0", (1, 2): {1.5}}
    whole = {"face": "\U0001f600", "rows": np.arange(2)}
    journal.task(make_task(make_track(), parameters=odd, result_json=whole, error_message="\ud800"))
    flush(journal)

    row = models.Task.objects.get()
    assert row.parameters == {
        "nan": None,
        "np": 0.5,
        "half": "a?",
        "nul": "\ufffd",
        "(1, 2)": "{1.5}",
    }
    assert row.result_json == {"face": "\U0001f600", "rows": [0, 1]}
    assert row.error_message == "?"


# Media


def test_a_sound_is_kept_in_a_private_file(journal: Journal, tmp_path: Path) -> None:
    track = make_track()
    spoken = make_content(track, ContentKind.DATA_AUDIO, sound=[tone(), tone()])
    journal.content(spoken)
    flush(journal)

    row = models.DataAudio.objects.get()
    assert (row.duration_s, row.sample_rate) == (0.2, 16_000)
    assert row.file.name == f"audio/{track.track_id[-32:-30]}/{spoken.id}.wav"
    assert stat.S_IMODE(os.stat(row.file.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "media" / "audio").st_mode) == 0o700
    sound = load_sound(kept(row, ContentKind.DATA_AUDIO))
    assert isinstance(sound, Audio)
    expected = np.concatenate([tone().samples, tone().samples])
    np.testing.assert_allclose(sound.samples, expected, atol=1 / 32_768)


def kept(row: models.Sound, kind: ContentKind) -> KeptContent:
    return KeptContent(
        id=row.pk,
        kind=kind,
        track_id=row.track_id,
        task_id=row.task_id,
        created_at=row.created_at,
        file=str(row.file.name),
        duration_s=row.duration_s,
        sample_rate=row.sample_rate,
    )


def test_sixteen_bit_samples_are_kept_exactly(journal: Journal) -> None:
    pcm = np.arange(-32_768, 32_768, dtype=np.float32) / np.float32(32_768)
    sound = Audio(samples=pcm, sample_rate=8_000)
    journal.content(make_content(make_track(), ContentKind.DATA_AUDIO, sound=[sound]))
    flush(journal)

    row = models.DataAudio.objects.get()
    np.testing.assert_array_equal(load_sound(kept(row, ContentKind.DATA_AUDIO)).samples, pcm)


def test_a_sound_without_samples_is_a_row_without_a_file(journal: Journal) -> None:
    journal.content(make_content(make_track(), ContentKind.RES_SPEECH, text="", sound=[]))
    flush(journal)

    row = models.ResSpeech.objects.get()
    assert (row.file.name, row.duration_s) == ("", 0.0)


def test_ids_cannot_lead_out_of_the_media_folder(journal: Journal, tmp_path: Path) -> None:
    track = make_track(track_id="../../../outside")
    away = make_content(track, ContentKind.DATA_AUDIO, id="../../away", sound=[tone()])
    journal.content(away)
    flush(journal)

    row = models.DataAudio.objects.get()
    assert row.pk == "../../away"
    assert Path(row.file.path).is_relative_to(tmp_path / "media" / "audio")
    assert ".." not in str(row.file.name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_media_disk_loses_nothing(journal: Journal, tmp_path: Path) -> None:
    track = make_track()
    # An iterator can be read once only, and yet the sound is written after the failure.
    spoken = make_content(track, ContentKind.DATA_AUDIO, sound=iter([tone()]))
    target = tmp_path / f"media/audio/{track.track_id[-32:-30]}/{spoken.id}.wav"
    target.parent.mkdir(parents=True)
    target.symlink_to("/dev/full")
    journal.track(track)
    journal.content(spoken)
    with pytest.raises(RecordingFailed, match="No space left"):
        flush(journal)
    assert not models.Track.objects.exists()

    target.unlink()
    flush(journal)
    assert models.Track.objects.exists()
    assert models.DataAudio.objects.get().duration_s == 0.1
    assert target.stat().st_size == 44 + 2 * 1_600


# Signals


def test_a_receiver_finds_the_committed_row(journal: Journal) -> None:
    found: list[dict[str, Any]] = []

    def look(data: dict[str, Any], **_: Any) -> None:
        found.extend(map(dict, models.Task.objects.filter(id=data["id"]).values()))

    task = ended(make_task(make_track()), result_json={"result_profile": {"text": "yes"}})
    with heard(signals.completed_task, look) as sent:
        journal.task(task)
        settle(journal)

    assert [each["status"] for each in found] == ["completed"]
    assert [each["data"] for each in sent] == found
    assert sent[0]["sender"] is models.Task
    assert sent[0]["track_id"] == task.track_id


def test_each_end_is_announced_once(journal: Journal) -> None:
    track = make_track()
    task = make_task(track)
    completed = ended(task)
    with heard(signals.completed_task) as tasks, heard(signals.completed_track) as tracks:
        for version in (task, completed, completed):
            journal.task(version)
        journal.track(track)
        settle(journal)
        assert (len(tasks), len(tracks)) == (1, 0)
        journal.task(completed)
        journal.track(make_track(track_id=track.track_id, status=TrackStatus.COMPLETED))
        settle(journal)

    assert (len(tasks), len(tracks)) == (1, 1)
    assert tracks[0]["data"]["track_id"] == tracks[0]["track_id"] == track.track_id


def test_a_completed_task_is_announced_by_its_name_too(journal: Journal) -> None:
    track = make_track()
    with heard(signals.completed_rag) as rag, heard(signals.completed("speech2text")) as heard_text:
        journal.task(ended(make_task(track, "rag")))
        settle(journal)

    assert [each["data"]["task_name"] for each in rag] == ["rag"]
    assert not heard_text


def test_signals_go_out_in_the_order_in_which_the_ends_came(journal: Journal) -> None:
    track = make_track()
    first, second = make_task(track), make_task(track)
    with heard(signals.completed_task) as sent:
        journal.task(first)
        journal.task(second)
        journal.task(ended(second))
        journal.task(ended(first))
        settle(journal)

    assert [each["data"]["id"] for each in sent] == [second.id, first.id]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_other_ends_have_signals_of_their_own(journal: Journal, status: str) -> None:
    track = make_track(status=TrackStatus(status))
    with (
        heard(getattr(signals, f"{status}_task")) as tasks,
        heard(getattr(signals, f"{status}_track")) as tracks,
        heard(signals.completed_task) as completed_tasks,
        heard(signals.completed_track) as completed_tracks,
    ):
        journal.task(ended(make_task(track), TaskStatus(status)))
        journal.track(track)
        settle(journal)

    assert (len(tasks), len(tracks)) == (1, 1)
    assert not completed_tasks
    assert not completed_tracks


def test_a_text_of_the_user_is_announced(journal: Journal) -> None:
    track = make_track()
    with heard(signals.created_data_text) as sent:
        journal.content(make_content(track, ContentKind.DATA_TEXT, text="hello"))
        journal.content(make_content(track, ContentKind.RES_TEXT, text="hi"))
        settle(journal)

    assert [(each["sender"], each["data"]["text"]) for each in sent] == [(models.DataText, "hello")]


def test_the_signal_of_a_task_name_is_always_the_same_object() -> None:
    assert signals.completed_rag is signals.completed("rag")
    assert signals.completed("speech2text") is not signals.completed("rag")


@pytest.mark.parametrize("name", ["started_rag", "completed_", "anything"])
def test_other_names_are_no_signals(name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(signals, name)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no")])
def test_a_receiver_that_raises_is_reported_and_stops_nothing(
    journal: Journal, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise error

    track = make_track()
    with heard(signals.completed_task, fail), heard(signals.completed_rag) as after:
        journal.task(ended(make_task(track)))
        journal.task(ended(make_task(track)))
        settle(journal)

    assert len(after) == 2
    assert [report.error for report in journal.reported] == [f"{type(error).__name__}: no"] * 2
    assert "Traceback" in caplog.text


def test_a_slow_receiver_delays_no_flush(journal: Journal) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(**_: Any) -> None:
        entered.set()
        leave.wait(10)

    track = make_track()
    with heard(signals.completed_task, wait) as sent:
        journal.task(ended(make_task(track)))
        flush(journal)
        assert entered.wait(10)
        journal.task(ended(make_task(track)))
        flush(journal)
        assert models.Task.objects.count() == 2
        assert len(sent) == 1
        leave.set()
        settle(journal)
        assert len(sent) == 2


# Failures


@contextmanager
def full_disk() -> Iterator[None]:
    """SQLite's own "database or disk is full", for each connection that is opened meanwhile."""

    def limit(connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 1")  # which SQLite raises to what is used

    with on_connection(limit):
        yield


def test_a_full_disk_loses_nothing(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    track = make_track()
    tasks = [ended(make_task(track, error_message="long " * 2_000)) for _ in range(50)]
    with heard(signals.completed_rag) as sent:
        with full_disk():
            journal = Journal(interval_s=NEVER_S)
            for task in tasks:
                journal.task(task)
            for _ in range(2):
                with pytest.raises(RecordingFailed, match="disk is full"):
                    flush(journal)
            journal.track(track)
            assert journal.waiting >= 50
            assert not sent
        settle(journal)

    assert models.Task.objects.filter(status="completed").count() == 50
    assert models.Track.objects.count() == 1
    assert len(sent) == 50
    assert journal.waiting == 0
    outages = [each.levelname for each in caplog.records if each.name.endswith("journal")]
    assert outages == ["ERROR", "WARNING"]  # said once, and once that it is over
    journal.close()


def test_records_are_tried_again_without_a_flush(database: Path) -> None:
    written = threading.Event()
    with heard(signals.completed_rag, lambda **_: written.set()):
        journal = Journal(interval_s=0.001)
        with full_disk():
            journal.task(ended(make_task(make_track(), error_message="long " * 2_000)))
            with pytest.raises(RecordingFailed):
                flush(journal)
        assert written.wait(10)
    journal.close()


def test_a_database_that_stays_locked_is_reported(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.databases["default"]["OPTIONS"], "timeout", 0.01)
    other = sqlite3.connect(database, isolation_level=None)
    journal = Journal(interval_s=NEVER_S)
    journal.task(make_task(make_track()))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordingFailed, match="locked"):
        flush(journal)
    other.execute("ROLLBACK")
    other.close()
    flush(journal)
    journal.close()
    assert models.Task.objects.count() == 1


def test_a_record_that_cannot_be_kept_holds_up_no_other(journal: Journal) -> None:
    track = make_track()
    mixed = [tone(sample_rate=8_000), tone(sample_rate=16_000)]
    bad = make_content(track, ContentKind.DATA_AUDIO, sound=mixed)
    nameless = ended(make_task(track, task_name="half\ud800"))
    untimed = make_task(track, created_at=None)
    good = ended(make_task(track))
    with heard(signals.completed_task) as sent:
        journal.content(bad)
        for task in (nameless, untimed, good):
            journal.task(task)
        with pytest.raises(RecordingFailed, match="3 records hold"):
            flush(journal)
        settle(journal)

    assert [each.id for each in models.Task.objects.all()] == [good.id]
    assert [each["data"]["id"] for each in sent] == [good.id]
    refused = {f"record {each.id}" for each in (bad, nameless, untimed)}
    assert {report.what for report in journal.reported} == refused


async def test_a_cancelled_flush_leaves_the_journal_at_work(journal: Journal) -> None:
    journal.task(make_task(make_track()))
    flushing = asyncio.create_task(journal.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await journal.flush()
    assert await models.Task.objects.acount() == 1


# Closing


def test_closing_writes_what_is_left_and_delivers_its_signals(database: Path) -> None:
    with heard(signals.completed_task) as sent:
        journal = Journal(interval_s=NEVER_S)
        journal.task(ended(make_task(make_track())))
        journal.close()
    assert models.Task.objects.count() == len(sent) == 1


def test_a_closed_journal_takes_no_more(database: Path) -> None:
    journal = Journal(interval_s=NEVER_S)
    journal.close()
    journal.close()
    with pytest.raises(RecordingFailed, match="closed"):
        journal.task(make_task(make_track()))
    with pytest.raises(RecordingFailed, match="closed"):
        flush(journal)


def test_closing_says_what_could_not_be_written(database: Path) -> None:
    with full_disk():
        journal = Journal(interval_s=NEVER_S)
        journal.task(make_task(make_track(), error_message="long " * 2_000))
        with pytest.raises(RecordingFailed, match=r"1 records .* disk is full"):
            journal.close(timeout_s=0.05)


def test_a_plain_exit_loses_nothing(tmp_path: Path) -> None:
    script = """
from datetime import UTC, datetime
from turnlab.server.setup import open_records
from turnlab.tasks import Task, new_id
journal = open_records()
journal.task(Task(id=new_id(), track_id="T-A-" + "0" * 32, name="rag", task_name="rag",
                  parameters={"k": 3}, created_at=datetime.now(UTC)))
"""
    home = tmp_path / "home"
    environ = {**os.environ, "TURNLAB_HOME": str(home)}
    subprocess.run([sys.executable, "-c", script], env=environ, check=True, timeout=60)
    with sqlite3.connect(home / "turnlab.sqlite3") as database:
        rows = database.execute("SELECT name, parameters FROM turnlab_task").fetchall()
    assert [(name, json.loads(parameters)) for name, parameters in rows] == [("rag", {"k": 3})]


def test_what_has_ended_stays_as_it_is_and_is_not_announced_again(journal: Journal) -> None:
    """Of two processes that both believe a Track theirs, the first one to end it is right."""
    track, other = make_track(), make_track()
    later = Journal(interval_s=0.01)
    try:
        with heard(signals.failed_track) as failed, heard(signals.completed_track) as completed:
            journal.track(replace(track, status=TrackStatus.FAILED))
            settle(journal)
            later.track(replace(track, status=TrackStatus.COMPLETED))
            later.track(replace(other, status=TrackStatus.COMPLETED))
            settle(later)
    finally:
        later.close()
    assert models.Track.objects.get(track_id=track.track_id).status == TrackStatus.FAILED
    assert [data["track_id"] for data in failed] == [track.track_id]
    assert [data["track_id"] for data in completed] == [other.track_id]
