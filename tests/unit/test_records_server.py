from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection

from turnlab import home
from turnlab.chunks import Speech
from turnlab.errors import InvalidTrackId, UnknownTrack, UnreadableFile
from turnlab.records import Content, ContentKind
from turnlab.server import queries, secret
from turnlab.server.journal import Journal
from turnlab.server.media import KeptContent, load_sound
from turnlab.tasks import Task, TaskStatus, new_id
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def write(*records: Track | Task | Content) -> None:
    journal = Journal()
    for record in records:
        match record:
            case Track():
                journal.track(record)
            case Task():
                journal.task(record)
            case Content():
                journal.content(record)
    journal.close()


def make_track(cluster: str = "CLUSTER_A", age_s: float = 0.0, **changes: object) -> Track:
    values = {"created_at": NOW - timedelta(seconds=age_s), "mode": Mode.CHAINED, **changes}
    return Track(track_id=new_track_id(cluster), cluster=cluster, cluster_hash="abc", **values)  # type: ignore[arg-type]


# Queries


def test_a_turn_reads_back_as_it_was_written(database: Path) -> None:
    track = make_track(
        status=TrackStatus.COMPLETED,
        speech_s=1.5,
        last_voiced_s=1.25,
        voice_to_voice_s=0.43,
        spans=({"kind": "model", "component": "rag", "start_s": 0.0, "end_s": 0.43},),
        host={"cores": 2},
    )
    task = Task(
        id=new_id(),
        track_id=track.track_id,
        name="rag",
        task_name="rag",
        parameters={"k": 3},
        created_at=NOW,
        status=TaskStatus.FAILED,
        result_json={"result_profile": {}, "latency_profile": {"ts_end": 0.1}},
        error_code="module_failed",
        error_message="It fell.",
    )
    said = Content(
        id=new_id(),
        kind=ContentKind.DATA_TEXT,
        track_id=track.track_id,
        task_id=task.id,
        created_at=NOW,
        text="Wie geht's?",
    )
    speech = Speech(samples=np.zeros(800, dtype=np.float32), sample_rate=16_000)
    spoken = Content(
        id=new_id(),
        kind=ContentKind.RES_SPEECH,
        track_id=track.track_id,
        task_id=task.id,
        created_at=NOW + timedelta(seconds=1),
        text="Gut.",
        sound=[speech],
    )
    write(track, task, spoken, said)

    found, tasks, contents = queries.get_track(track.track_id)
    assert found == track
    assert tasks == [task]
    assert [each.kind for each in contents] == [ContentKind.DATA_TEXT, ContentKind.RES_SPEECH]
    assert contents[0].text == said.text
    assert (contents[1].text, contents[1].duration_s, contents[1].sample_rate) == (
        "Gut.",
        0.05,
        16_000,
    )
    sound = load_sound(contents[1])
    assert isinstance(sound, Speech)
    assert (sound.text, len(sound.samples)) == ("Gut.", 800)


def test_tracks_are_listed_newest_first(database: Path) -> None:
    tracks = [make_track(age_s=age) for age in (0, 10, 20)]
    write(*reversed(tracks))
    assert queries.list_tracks() == tracks
    assert queries.list_tracks(limit=2) == tracks[:2]


def test_tracks_are_listed_by_cluster_and_status(database: Path) -> None:
    one = make_track("CLUSTER_A", status=TrackStatus.COMPLETED)
    two = make_track("CLUSTER_A", age_s=1, status=TrackStatus.FAILED)
    three = make_track("CLUSTER_B", age_s=2, status=TrackStatus.FAILED)
    write(one, two, three)
    assert queries.list_tracks(cluster="CLUSTER_A") == [one, two]
    assert queries.list_tracks(status=TrackStatus.FAILED) == [two, three]
    assert queries.list_tracks("CLUSTER_A", TrackStatus.FAILED) == [two]


def test_a_track_that_is_not_there_is_an_error(database: Path) -> None:
    with pytest.raises(UnknownTrack, match="tracks list"):
        queries.get_track(new_track_id("CLUSTER_A"))
    with pytest.raises(InvalidTrackId):
        queries.get_track("T-CLUSTER_A")


def test_a_sound_whose_file_is_gone_is_an_error(database: Path) -> None:
    gone = KeptContent(
        id=new_id(),
        kind=ContentKind.DATA_AUDIO,
        track_id=new_track_id("CLUSTER_A"),
        task_id=None,
        created_at=NOW,
        file="audio/00/gone.wav",
    )
    with pytest.raises(UnreadableFile, match=r"gone\.wav"):
        load_sound(gone)


# The database


def test_the_migrations_match_the_models() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_database_is_private_and_set_for_one_writer_and_many_readers(database: Path) -> None:
    with connection.cursor() as cursor:
        values = [
            cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert values == ["wal", 1, 1, 5_000]


_OPEN = "from turnlab.server.setup import open_records; open_records().close()"


def environ(folder: Path) -> dict[str, str]:
    return {**os.environ, "TURNLAB_HOME": str(folder)}


def test_processes_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "home"
    starting = [
        subprocess.Popen([sys.executable, "-c", _OPEN], env=environ(folder)) for _ in range(3)
    ]
    assert [process.wait(60) for process in starting] == [0, 0, 0]
    path = folder / "turnlab.sqlite3"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(path) as database:
        applied = database.execute("SELECT app, name FROM django_migrations").fetchall()
    assert [name for _, name in applied][:2] == ["0001_initial", "0002_conversations"]


def test_a_home_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = subprocess.run(
        [sys.executable, "-c", _OPEN],
        env=environ(tmp_path / "file" / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "RecordingFailed: The records cannot be opened" in run.stderr
    assert "set TURNLAB_HOME" in run.stderr


def test_importing_the_settings_makes_nothing(tmp_path: Path) -> None:
    script = "import turnlab.server.settings as s; print(s.DATABASES['default']['NAME'])"
    folder = tmp_path / "home"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=environ(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.strip() == str(folder / "turnlab.sqlite3")
    assert not folder.exists()


# The home folder


@pytest.mark.parametrize(
    ("turnlab_home", "xdg", "expected"),
    [
        ("/a/b", "/data", "/a/b"),
        ("~/b", None, "~/b"),
        (None, "/data", "/data/turnlab"),
        (None, "relative", "~/.local/share/turnlab"),
        (None, None, "~/.local/share/turnlab"),
    ],
)
def test_where_home_is(
    monkeypatch: pytest.MonkeyPatch, turnlab_home: str | None, xdg: str | None, expected: str
) -> None:
    for name, value in {"TURNLAB_HOME": turnlab_home, "XDG_DATA_HOME": xdg}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert home.home_folder() == Path(expected).expanduser()


def test_the_secret_is_made_once_and_private(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TURNLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TURNLAB_SECRET_KEY", raising=False)
    key = secret.secret_key()
    assert len(key) >= 50
    assert secret.secret_key() == key
    files = list((tmp_path / "home").iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600]
    monkeypatch.setenv("TURNLAB_SECRET_KEY", "chosen")
    assert secret.secret_key() == "chosen"


def test_django_finds_the_secret_when_it_needs_it() -> None:
    from django.core import signing

    assert signing.loads(signing.dumps({"track": 1})) == {"track": 1}
