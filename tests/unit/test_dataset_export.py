from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.dataset_parts import png
from tests.unit.test_records_server import NOW, make_track, write
from turnlab.bench.datasets.dataset import Dataset
from turnlab.bench.datasets.where import parse_where
from turnlab.chunks import Audio, Image
from turnlab.conversations import new_conversation_id
from turnlab.errors import InvalidDataset, InvalidRequest, TurnlabError
from turnlab.records import Content, ContentKind
from turnlab.server import models
from turnlab.server.dataset_export import export_tracks
from turnlab.server.deleting import drop_media
from turnlab.server.retention import REFUSED
from turnlab.server.tally import Tally
from turnlab.tasks import new_id
from turnlab.tracks import Mode, Track, TrackStatus

DONE: dict[str, Any] = {"status": TrackStatus.COMPLETED}


def content(track: Track, kind: ContentKind, **what: Any) -> Content:
    return Content(
        id=new_id(), kind=kind, track_id=track.track_id, task_id=None, created_at=NOW, **what
    )


def record(track: Track, *, said: str = "", reply: str = "", picture: bool = False) -> Track:
    """A Track with a recording, and what was heard, replied and shown."""
    samples = np.full(800, 0.1, dtype=np.float32)
    sound = [Audio(samples=samples, sample_rate=16_000)]
    contents = [content(track, ContentKind.DATA_AUDIO, sound=sound)]
    if said:
        contents.append(content(track, ContentKind.DATA_TEXT, text=said))
    if reply:
        contents.append(content(track, ContentKind.RES_TEXT, text=reply))
    if picture:
        image = Image(data=png(), media_type="image/png")
        contents.append(content(track, ContentKind.DATA_IMAGE, picture=image))
    write(track, *contents)
    return track


def exported(out: Path, where: str = "", **how: bool) -> Dataset:
    export_tracks(parse_where(where), out, **how)
    return Dataset.load(out)


def ids(dataset: Dataset) -> list[str]:
    return [turn.id for turn in dataset.turns]


def test_a_track_becomes_a_turn_with_what_was_heard_kept_aside(
    database: Path, tmp_path: Path
) -> None:
    track = record(make_track(**DONE), said="Hello?", reply="Hi.", picture=True)
    dataset = exported(tmp_path / "out")
    (turn,) = dataset.turns
    assert turn.id == track.track_id
    assert (turn.transcript, turn.reply) == (None, None)
    assert turn.extra == {
        "cluster": "CLUSTER_A",
        "mode": "chained",
        "status": "completed",
        "recorded_at": NOW.isoformat(),
        "heard": "Hello?",
        "replied": "Hi.",
    }
    assert turn.duration_s == 0.05
    assert turn.images[0].read_bytes() == png()
    assert not (tmp_path / "out" / "left_out.jsonl").exists()


def test_what_was_heard_is_a_reference_only_if_trusted(database: Path, tmp_path: Path) -> None:
    record(make_track(**DONE), said="Hello?")
    (turn,) = exported(tmp_path / "out", trust_transcripts=True).turns
    assert turn.transcript == "Hello?"


def test_the_place_in_its_conversation_is_kept(database: Path, tmp_path: Path) -> None:
    talk = new_conversation_id()
    models.Conversation.objects.create(id=talk, created_at=NOW)
    tracks = [
        record(make_track(age_s=age, conversation_id=talk, **status))
        for age, status in ((3, DONE), (2, {"status": TrackStatus.FAILED}), (1, DONE))
    ]
    dataset = exported(tmp_path / "out", "status=completed")
    assert ids(dataset) == [tracks[0].track_id, tracks[2].track_id]
    assert [(turn.conversation, turn.index) for turn in dataset.turns] == [(talk, 0), (talk, 2)]


def test_what_was_refused_or_is_gone_is_named_and_left_out(database: Path, tmp_path: Path) -> None:
    talk = new_conversation_id()
    models.Conversation.objects.create(id=talk, created_at=NOW, consent=REFUSED)
    refused = record(make_track(age_s=4, conversation_id=talk, **DONE), said="secret")
    again = record(make_track(age_s=3, **DONE))
    models.Track.objects.filter(track_id=again.track_id).update(rerun_of=refused.track_id)
    deleted = record(make_track(age_s=2, **DONE))
    drop_media([deleted.track_id], NOW, Tally())
    typed = make_track(age_s=1, **DONE)
    write(typed, content(typed, ContentKind.DATA_TEXT, text="typed"))
    kept = record(make_track(**DONE))
    dataset = exported(tmp_path / "out")
    assert ids(dataset) == [kept.track_id]
    left_out = (tmp_path / "out" / "left_out.jsonl").read_text()
    assert [json.loads(line) for line in left_out.splitlines()] == [
        {"track_id": refused.track_id, "why": "consent was refused"},
        {"track_id": again.track_id, "why": "consent was refused"},
        {"track_id": deleted.track_id, "why": "its sound or its pictures were deleted"},
        {"track_id": typed.track_id, "why": "it has no recording"},
    ]
    assert len(list((tmp_path / "out" / "audio").iterdir())) == 1
    with pytest.raises(InvalidDataset, match="None of the 1 Tracks can be exported; most often"):
        exported(tmp_path / "none", f"conversation={talk}")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", ["a", "b", "c"]),
        ("cluster=CLUSTER_A", ["a", "b"]),
        ("status=failed", ["b"]),
        ("mode=streamed", ["c"]),
        ("since=2026-01-02T03:04:04+00:00", ["b", "c"]),
        ("until=2026-01-02T03:04:04+00:00", ["a"]),
        ("since=1d", []),
        ("run=R-20260102T030405-0a1b2c", ["first", "other turn"]),
        ("run=R-20260102T030405-0a1b2c repeat=0", ["warm-up"]),
        ("run=R-20260102T030405-0a1b2c repeat=2", ["second"]),
        ("run=R-20260102T030405-0a1b2c cluster=CLUSTER_B", ["of B"]),
        ("project=other", []),
        ("cluster=CLUSTER_A status=completed", ["a"]),
    ],
)
def test_all_that_is_given_must_hold(
    database: Path, tmp_path: Path, where: str, found: list[str]
) -> None:
    run: dict[str, Any] = {"run_id": "R-20260102T030405-0a1b2c", "turn_id": "t"}
    tracks = {
        "a": record(make_track(age_s=2, **DONE)),
        "b": record(make_track(age_s=1, status=TrackStatus.FAILED)),
        "c": record(make_track("CLUSTER_B", **DONE, mode=Mode.STREAMED)),
        "warm-up": record(make_track(age_s=9, **DONE, **run)),
        "first": record(make_track(age_s=8, **DONE, **run, repeat=1)),
        "of B": record(make_track("CLUSTER_B", age_s=7, **DONE, **run, repeat=1)),
        "second": record(make_track(age_s=6, **DONE, **run, repeat=2)),
        "other turn": record(make_track(age_s=5, **DONE, **run | {"turn_id": "u"}, repeat=1)),
        "under way": record(make_track(status=TrackStatus.STARTED)),
    }
    if not found:
        with pytest.raises(InvalidDataset, match="No Track that has ended is one of those"):
            exported(tmp_path / "out", where)
        return
    assert ids(exported(tmp_path / "out", where)) == [tracks[name].track_id for name in found]


@pytest.mark.parametrize(
    "text",
    [
        "cluster",
        "cluster=",
        "nonsense=1",
        "'open",
        "status=started",
        "status=perhaps",
        "mode=perhaps",
        "since=yesterday",
        "repeat=-1",
        "repeat=x",
        "run=R-1",
        "conversation=C-1",
        "track=T-1",
        "cluster=A cluster=B",
    ],
)
def test_what_cannot_be_understood_is_an_error(text: str) -> None:
    with pytest.raises(TurnlabError):
        parse_where(text)


def test_moments_and_quotes_are_read(database: Path) -> None:
    where = parse_where("cluster='A B' since=2026-11-01T00:00:00Z until=3h")
    assert where.cluster == "A B"
    assert where.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert where.until is not None
    assert abs(datetime.now(UTC) - timedelta(hours=3) - where.until) < timedelta(minutes=5)
    with pytest.raises(InvalidRequest, match="not 'x=1'"):
        parse_where("x=1")
