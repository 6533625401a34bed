"""`turnlab report` as it is run: pages with sound beside or inside them, Markdown, JSON."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.conftest import Turnlab
from turnlab.chunks import Audio, Speech
from turnlab.cli.report import report
from turnlab.cli.reporting import AudioPlace
from turnlab.errors import NothingMeasured, OutputFailed, UnknownRun
from turnlab.records import Content, ContentKind
from turnlab.runs import Run, RunStatus
from turnlab.tasks import Task, TaskStatus, new_id
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id

FIRST, EMPTY = "R-20260101T000000-aaaaaa", "R-20260102T000000-bbbbbb"
TURNS = 12
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
TONE = np.sin(np.arange(1_600, dtype=np.float32) * 0.2) / 4


def turn(number: int, mode: Mode) -> list[Any]:
    """The records of one turn; the last one of each mode failed."""
    track_id, lost = new_track_id("A"), number == TURNS - 1
    took_s = (0.4 if mode is Mode.STREAMED else 0.9) + number / 100
    at = BEGUN + timedelta(seconds=10 * number)
    span = {"kind": "model", "component": "llm", "start_s": 0.0, "end_s": took_s, "label": ""}
    track = Track(
        track_id=track_id,
        cluster="A",
        cluster_hash="0" * 64,
        mode=mode,
        created_at=at,
        status=TrackStatus.FAILED if lost else TrackStatus.COMPLETED,
        speech_s=0.1,
        voice_to_voice_s=None if lost else took_s,
        spans=() if lost else (span,),
        error_code="module_failed" if lost else "",
        error_message="The model <b>fell over</b>." if lost else "",
        run_id=FIRST,
        turn_id=f"q{number}",
        repeat=1,
    )
    profile = {"ts_created": 0.0, "ts_claimed": 0.0, "ts_first_output": 0.1, "ts_end": took_s}
    task = Task(
        id=new_id(),
        name="llm",
        task_name="quantization_llm",
        parameters={},
        track_id=track_id,
        status=TaskStatus.FAILED if lost else TaskStatus.COMPLETED,
        created_at=at,
        result_json={"latency_profile": {**profile, "model_decode": took_s}, "result_profile": {}},
    )
    asked = Audio(samples=TONE + np.float32(number / 1000), sample_rate=16_000)
    kept = [said(track_id, ContentKind.DATA_AUDIO, at, sound=(asked,))]
    kept.append(said(track_id, ContentKind.DATA_TEXT, at, text=f"Question {number}?"))
    if not lost:
        spoken = Speech(samples=TONE, sample_rate=16_000, text="Yes.")
        kept.append(said(track_id, ContentKind.RES_SPEECH, at, text="Yes.", sound=(spoken,)))
    return [track, task, *kept]


def said(track_id: str, kind: ContentKind, at: datetime, **changes: Any) -> Content:
    return Content(
        id=new_id(), kind=kind, track_id=track_id, task_id=None, created_at=at, **changes
    )


@pytest.fixture
def recorded(database: Path) -> Path:
    """The home folder with one Run of a Cluster in both modes, and one that never began."""
    from django.db import connections

    from turnlab.server.journal import Journal
    from turnlab.server.runs import begin_run

    pins = {"clusters": {"A": {"hash": "0" * 64, "budget": ["voice_to_voice.p50 <= 1.0"]}}}
    for run_id in (FIRST, EMPTY):
        begin_run(
            Run(
                id=run_id,
                created_at=BEGUN,
                status=RunStatus.COMPLETED,
                dataset="questions",
                dataset_hash="d" * 64,
                turns=2 * TURNS,
                asked={"dataset": "gone", "pace": "fast", "clusters": ["A"]},
                pins=pins,
            )
        )
    journal = Journal(interval_s=60)
    for mode in Mode:
        for number in range(TURNS):
            track, task, *contents = turn(number, mode)
            journal.track(track)
            journal.task(task)
            for content in contents:
                journal.content(content)
    asyncio.run(journal.flush())
    journal.close()
    connections.close_all()
    return database.parent


@pytest.mark.slow
def test_a_page_with_its_sounds_beside_it(recorded: Path, turnlab: Turnlab, tmp_path: Path) -> None:
    page, told = tmp_path / "sub" / "page.html", tmp_path / "told.json"
    asked = (FIRST, "--out", str(page), "--json", str(told), "--markdown", "-")
    done: subprocess.CompletedProcess[str] = turnlab("report", *asked, TURNLAB_HOME=str(recorded))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## ")
    assert "The report:" in done.stderr
    html = page.read_text(encoding="utf-8")
    assert "A (streamed)" in html
    assert "A (chained)" in html
    assert "The model &lt;b&gt;fell over&lt;/b&gt;." in html
    linked = set(re.findall(r'src="\./([^"]+)"', html))
    files = {str(path.relative_to(page.parent)) for path in page.parent.rglob("*.wav")}
    assert linked == files, "every sound is linked, every link has its file"
    assert json.loads(told.read_text())["subjects"]


def made(page: Path, **changes: Any) -> str:
    """The page of the first Run."""
    assert report([FIRST], out=page, **changes) == 0
    return page.read_text(encoding="utf-8")


def test_the_question_is_kept_once_for_all_its_tracks(recorded: Path, tmp_path: Path) -> None:
    made(tmp_path / "page.html")
    names = sorted(path.name for path in (tmp_path / "page-sounds").iterdir())
    asked = [name for name in names if "reply" not in name]
    assert len(asked) == TURNS
    assert asked[0].startswith("q0-")


def test_nobody_else_may_look_into_the_folder_of_voices(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "page-sounds").mkdir(mode=0o755)
    made(tmp_path / "page.html")
    assert (tmp_path / "page-sounds").stat().st_mode & 0o777 == 0o700


def test_a_report_that_fails_leaves_no_folder_of_voices(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputFailed, match="No space left"):
        report([FIRST], out=tmp_path / "page.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OutputFailed, match="choose another place"):
        report([FIRST], out=tmp_path / "folder.html")
    assert not list(tmp_path.glob("*-sounds"))


def test_sound_may_lie_in_the_page_or_nowhere(recorded: Path, tmp_path: Path) -> None:
    inside = made(tmp_path / "in.html", audio=AudioPlace.EMBED)
    assert inside.count("data:audio/wav;base64,") >= TURNS
    nowhere = made(tmp_path / "none.html", audio=AudioPlace.NONE)
    assert "<audio" not in nowhere
    assert not list(tmp_path.glob("*-sounds"))


@pytest.mark.parametrize("place", [AudioPlace.EMBED, AudioPlace.LINK])
def test_there_is_a_limit_to_sound_and_it_is_told(
    recorded: Path, tmp_path: Path, place: AudioPlace
) -> None:
    html = made(tmp_path / "page.html", audio=place, audio_limit=0)
    assert "<audio" not in html
    assert f"The sound of {2 * TURNS} Tracks was left out: 0 MiB are full." in html


def test_other_limits_may_be_tried_on_a_run_that_is_over(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    own = made(page, audio=AudioPlace.NONE)
    assert "voice_to_voice.p50 &lt;= 1.0" in own
    tried = made(page, audio=AudioPlace.NONE, budget=["completed >= 0.5"])
    assert "completed &gt;= 0.5" in tried
    assert "voice_to_voice.p50 &lt;= 1.0" not in tried.split("<footer>")[0]


def test_where_only_markdown_is_asked_for_no_page_is_written(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert report([FIRST], markdown=Path("told.md")) == 0
    assert [path.name for path in Path().iterdir()] == ["told.md"]
    assert "module\\_failed" in Path("told.md").read_text()


def test_what_cannot_be_told_is_an_error_that_says_so(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownRun, match="turnlab runs list"):
        report(["R-20300101T000000-000000"])
    with pytest.raises(NothingMeasured, match=f"No turn of {EMPTY} has begun"):
        report([EMPTY], out=tmp_path / "page.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFailed, match="cannot be written"):
        report([FIRST], out=tmp_path / "file" / "page.html")
