"""What the admin and the metrics ask of the tables, without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from turnlab.profiles import Span, SpanKind
from turnlab.server import health, models
from turnlab.server.admin_pages.distinct import distinct_values, prefix_range
from turnlab.server.admin_pages.look import lasting, mebibytes, pretty
from turnlab.server.admin_pages.report import track_report
from turnlab.tasks import Task, TaskStatus, new_id
from turnlab.tracks import Mode, Track, TrackStatus

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_track(number: int, **changes: Any) -> models.Track:
    values = {
        "cluster": "CLUSTER_A",
        "status": "completed",
        "created_at": NOW - timedelta(minutes=number),
        **changes,
    }
    track_id = f"T-{values['cluster']}-{number:032x}"
    fixed = {"cluster_hash": "0", "mode": "streamed", "updated_at": NOW, "request": {}}
    return models.Track.objects.create(track_id=track_id, **fixed, **values)


def make_task(track: models.Track, **changes: Any) -> models.Task:
    values = {"name": "rag", "task_name": "rag", "status": "completed", "created_at": NOW}
    return models.Task.objects.create(
        id=new_id(), track_id=track.track_id, updated_at=NOW, **values | changes
    )


def test_the_values_of_a_column_are_each_told_once(database: Path) -> None:
    assert distinct_values(models.Track, "owner") == []
    for number, owner in enumerate(["b", "a", "b", "", "c"]):
        make_track(number, owner=owner)
    assert distinct_values(models.Track, "owner") == ["", "a", "b", "c"]
    assert distinct_values(models.Track, "owner", most=2) == ["", "a"]


def test_the_values_of_a_column_are_found_by_leaps(database: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN SELECT MIN(cluster) FROM turnlab_track")
        assert "COVERING INDEX" in str(cursor.fetchall())


@pytest.mark.parametrize("prefix", ["T-CLUSTER_A-0", "T-CLUSTER_", "T-%", "T-CLUSTER_A_"])
def test_a_prefix_finds_what_begins_with_it(database: Path, prefix: str) -> None:
    ids = [make_track(n, cluster=f"CLUSTER_{'AB'[n % 2]}").track_id for n in range(4)]
    found = models.Track.objects.filter(**prefix_range("track_id", prefix))
    expected = [each for each in ids if each.startswith(prefix)]
    assert sorted(found.values_list("track_id", flat=True)) == sorted(expected)


def test_queues_tell_who_waits_for_how_long(database: Path) -> None:
    track = make_track(0)
    make_task(track, status="pending", created_at=NOW - timedelta(seconds=9))
    make_task(track, status="pending", created_at=NOW - timedelta(seconds=3))
    make_task(track, status="started", created_at=NOW - timedelta(seconds=99))
    make_task(track, task_name="hear", status="started")
    make_task(track, task_name="speak", status="failed")
    rag, hear = health.task_queues(NOW)
    assert rag == health.Queue(task_name="rag", waiting=2, running=1, oldest_s=9.0)
    assert hear == health.Queue(task_name="hear", waiting=0, running=1, oldest_s=None)


def test_queues_are_read_through_the_index_of_what_is_unfinished(database: Path) -> None:
    sql, params = health.unfinished_tasks().query.sql_with_params()
    assert params == ()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        assert "task_unfinished" in str(cursor.fetchall())


def test_waiting_tracks_are_counted(database: Path) -> None:
    assert health.track_queue(NOW) == health.Waiting(waiting=0, running=0, oldest_s=None)
    make_track(2, status="pending")
    make_track(1, status="pending")
    make_track(3, status="started")
    assert health.track_queue(NOW) == health.Waiting(waiting=2, running=1, oldest_s=120.0)


def test_failures_are_those_of_the_last_hour_and_day(database: Path) -> None:
    for minutes, code in ((1, "a"), (59, "a"), (61, "a"), (2, "b"), (25 * 60, "a")):
        make_track(minutes, status="failed", error_code=code)
    make_track(3, status="cancelled", error_code="c")
    assert health.failures(NOW) == [
        health.Failures(code="a", hour=2, day=3),
        health.Failures(code="b", hour=1, day=1),
    ]


def test_who_was_not_heard_of_within_the_lease_is_not_alive(database: Path) -> None:
    for name, age_s, gone in (("here", 1, None), ("silent", 16, None), ("left", 1, NOW)):
        heard = NOW - timedelta(seconds=age_s)
        fixed = {"transport": "websocket", "connected_at": NOW, "heartbeat_at": heard}
        models.Worker.objects.create(id=name, name=name, disconnected_at=gone, **fixed)
        models.Node.objects.create(id=name, url="", version="1", started_at=NOW, heartbeat_at=heard)
    assert [worker.id for worker in health.live_workers(15, NOW)] == ["here"]
    assert [node.id for node in health.live_nodes(15, NOW)] == ["here", "left"]


def test_a_disk_is_told_once(tmp_path: Path) -> None:
    (disk,) = health.disks([tmp_path, tmp_path / "missing", tmp_path])
    assert disk.folder == tmp_path
    assert 0 < disk.free <= disk.total
    assert 0 < disk.free_share <= 1


# Reports of kept Tracks


def kept(zero_s: float) -> tuple[Track, Task]:
    """A turn whose reply was heard 0.4 s after the user's last word, at `zero_s`."""
    spans = (
        Span(kind=SpanKind.MODEL, component="speak", start_s=0.0, end_s=0.38),
        Span(kind=SpanKind.PLAYOUT, component="speak", start_s=0.38, end_s=0.4),
    )
    track = Track(
        track_id="T-CLUSTER_A-" + "0" * 32,
        cluster="CLUSTER_A",
        cluster_hash="0",
        mode=Mode.STREAMED,
        created_at=NOW,
        status=TrackStatus.COMPLETED,
        spans=tuple(span.as_json() for span in spans),
    )
    task = Task(
        id=new_id(),
        track_id=track.track_id,
        name="speak",
        task_name="text2speech",
        parameters={},
        created_at=NOW,
        status=TaskStatus.COMPLETED,
        result_json={"latency_profile": {"ts_first_output": zero_s + 0.38}},
    )
    return track, task


@pytest.mark.parametrize("zero_s", [0.0, 1.25])
def test_a_kept_track_tells_when_the_user_had_ended(zero_s: float) -> None:
    track, task = kept(zero_s)
    report = track_report(track, [task], [])
    assert report.zero_s == pytest.approx(zero_s)
    assert [span.kind for span in report.spans] == [SpanKind.MODEL, SpanKind.PLAYOUT]


# Words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 ms"),
        (0.25, "250 ms"),
        (3.21, "3.2 s"),
        (61, "1 min 1 s"),
        (3 * 3600 + 120, "3 h 2 min"),
        (50 * 3600, "2 d 2 h"),
        (None, "–"),  # noqa: RUF001
    ],
)
def test_durations_are_told_in_their_own_size(seconds: float | None, words: str) -> None:
    assert lasting(seconds) == words


def test_sizes_are_told_in_their_own_unit() -> None:
    assert [mebibytes(size) for size in (12, 2048, 3 * 2**30, 2**41)] == [
        "12 bytes",
        "2.0 KiB",
        "3.0 GiB",
        "2.0 TiB",
    ]


def test_json_is_shown_as_text() -> None:
    shown = pretty({"text": "<script>", "override": "a\u202eb"})
    assert "<script>" not in shown
    assert "\u202e" not in shown
    assert json.loads('"&lt;"') in shown
