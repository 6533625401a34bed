"""What a Run is made ready with, pinned to and followed by."""

from __future__ import annotations

import asyncio
import io
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import BaseModel
from rich.console import Console

from tests.unit.harness_rig import Bench, answers, hears, speaks, turns
from turnlab.audio import RATE, Pace, open_recording
from turnlab.bench.replay import recordings as recordings_module
from turnlab.bench.replay.asked import Asked
from turnlab.bench.replay.pins import differences, git_facts, make_pins
from turnlab.bench.replay.recordings import Recordings
from turnlab.chunks import Audio, Image, Reply, Transcript
from turnlab.cli.bench_progress import NEWEST, BenchProgress
from turnlab.clock import MonotonicClock
from turnlab.errors import InvalidDataset, InvalidRequest
from turnlab.modules.base import loaded
from turnlab.packaged import packaged
from turnlab.testing import scripted
from turnlab.tracks import Mode, Track, TrackStatus

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """A second and a half of speech, and quiet after it."""
    path = packaged("moonshine_voice", "assets", "beckett.wav")
    assert path is not None
    samples = np.concatenate(list(open_recording(path).blocks()))[: int(1.5 * RATE)]
    whole = np.concatenate([samples, np.zeros(RATE, dtype=np.float32)])
    soundfile.write(tmp_path / "spoken.wav", whole, RATE)
    return tmp_path / "spoken.wav"


def samples_of(turn) -> np.ndarray:
    return np.concatenate(list(turn.recording.blocks()))


async def test_a_recording_that_is_not_kept_decoded_is_the_same_when_its_turn_comes(
    spoken, tmp_path, monkeypatch
):
    soundfile.write(tmp_path / "again.wav", soundfile.read(spoken)[0], RATE)
    monkeypatch.setattr(recordings_module, "KEPT_S", 3.0)
    dataset = [
        replace(turn, audio=path)
        for turn, path in zip(turns(2), (spoken, tmp_path / "again.wav"), strict=True)
    ]
    recordings, done = Recordings(), []
    recordings.measure(dataset, done.append)
    assert done == [1, 2]
    kept, dropped = [
        await recordings.source(turn, MonotonicClock(), Pace.REALTIME, looks=False)
        for turn in dataset
    ]
    assert np.array_equal(samples_of(kept), samples_of(dropped))
    assert 1.0 < kept.last_voiced_s == dropped.last_voiced_s < kept.speech_s == dropped.speech_s
    assert dropped.turn_over_s(1.0) == 1.0 + dropped.last_voiced_s


async def test_pictures_go_with_a_turn_only_where_somebody_looks_at_them(spoken, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    turn = replace(turns(1)[0], audio=spoken, images=(tmp_path / "a.png",))
    recordings = Recordings()
    recordings.measure([turn], lambda done: None)
    kinds = [
        (await recordings.source(turn, MonotonicClock(), Pace.FAST, looks=looks)).kinds
        for looks in (True, False)
    ]
    assert kinds == [(Audio, Image), (Audio,)]


async def test_pictures_beyond_what_is_kept_are_read_again_when_their_turn_comes(
    spoken, tmp_path, monkeypatch
):
    monkeypatch.setattr(recordings_module, "KEPT_BYTES", len(PNG))
    images = (tmp_path / "a.png", tmp_path / "b.png")
    for image in images:
        image.write_bytes(PNG)
    turn = replace(turns(1)[0], audio=spoken, images=images)
    recordings = Recordings()
    recordings.measure([turn], lambda done: None)
    for image in images:
        image.write_bytes(PNG + b"1")
    source = await recordings.source(turn, MonotonicClock(), Pace.FAST, looks=True)
    assert [image.data for image in source.images] == [PNG, PNG + b"1"]


def test_of_many_turns_that_cannot_be_run_the_first_ten_are_named(tmp_path):
    soundfile.write(tmp_path / "quiet.wav", np.zeros(RATE), RATE)
    dataset = [replace(turn, audio=tmp_path / "quiet.wav") for turn in turns(12)]
    with pytest.raises(InvalidDataset, match=r"Of 12 turns 12 .* t0: No voice .* And 2 more\."):
        Recordings().measure(dataset, lambda done: None)


def test_what_was_asked_for_survives_being_kept():
    asked = Asked(
        dataset=Path("/questions"),
        clusters=("A", "B"),
        modes=tuple(Mode),
        repeat=3,
        concurrency=4,
        pace=Pace.REALTIME,
        budget=("wer <= 0.1",),
        overrides={"answer": {"temperature": 0.5}},
        warm_up=1,
        only_tags=("noisy",),
        cluster_folders=(Path("/clusters"),),
        module_folders=(Path("/modules"),),
    )

    class Warm(scripted("answer", [Transcript], Reply)):
        class Params(BaseModel):
            temperature: float = 0.0

    bench = Bench({"A": (hears(), Warm, speaks())}, turns(1))
    kept = asked.as_json(bench.plans)
    folders = {"cluster_folders": [Path("/clusters")], "module_folders": [Path("/modules")]}
    assert Asked.from_json(kept, **folders) == asked
    with pytest.raises(InvalidRequest, match=r"add: --cluster-folder /clusters --modules /modules"):
        Asked.from_json(kept)
    moved = Asked.from_json(kept, **{**folders, "module_folders": [Path("/other")]})
    assert moved.module_folders == (Path("/other"),)


class Weights(scripted("answer", [Transcript], Reply)):
    """A Module that a file of weights can be given to."""

    class Params(BaseModel):
        model: str | None = loaded(None)
        prompt: str = "tmp"


def pins_with(**params: object) -> dict:
    modules = (hears(), Weights, speaks())
    bench = Bench({"A": modules}, turns(1))
    step = bench.plans["A"].steps[1]
    changed = replace(step, params=Weights.Params(**params))
    steps = tuple(changed if each is step else each for each in bench.plans["A"].steps)
    return make_pins({"A": replace(bench.plans["A"], steps=steps)})


def test_a_file_of_weights_is_pinned_by_what_it_holds(tmp_path):
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"old")
    before = pins_with(model=str(weights))
    assert len(before["models"][str(weights)]) == 64
    assert differences(before, pins_with(model=str(weights))).refused == []
    weights.write_bytes(b"new")
    refused = differences(before, pins_with(model=str(weights))).refused
    assert len(refused) == 1
    assert refused[0].startswith(f"models.{weights} was ")


def test_a_folder_of_weights_is_pinned_with_all_its_files(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    before = pins_with(model=str(folder))
    (folder / "a").rename(folder / "b")
    assert differences(before, pins_with(model=str(folder))).refused


@pytest.mark.parametrize("name", ["org/model", "a" * 5000, "nul\0", "~nobody-here/model", ""])
def test_the_name_of_a_model_elsewhere_is_no_file(name):
    assert not [key for key in pins_with(model=name)["models"] if "/" in key]


def test_parameters_that_differ_are_named_and_an_order_of_components_too():
    before, now = pins_with(prompt="one"), pins_with(prompt="two")
    assert differences(before, now).refused == ["clusters.A.answer.params.prompt was one, is two"]
    now["clusters"]["A"]["components"].reverse()
    assert any("clusters.A.components" in each for each in differences(before, now).refused)


def test_the_revision_of_a_checkout_is_known_and_whether_it_was_changed(tmp_path):
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert git_facts(tmp_path) is None
    git("init", "--quiet")
    assert git_facts(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    clean = git_facts(tmp_path)
    assert clean is not None
    assert (len(clean["revision"]), clean["dirty"]) == (40, False)
    (tmp_path / "file").write_text("two")
    assert git_facts(tmp_path) == {**clean, "dirty": True}


def test_without_git_there_is_no_revision(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_facts(Path.cwd()) is None


def progress(terminal: bool) -> tuple[BenchProgress, io.StringIO, Bench]:
    bench = Bench(
        {"A": (hears([0]), answers(), speaks()), "B": (hears(), answers(), speaks())}, turns(2)
    )
    asyncio.run(bench.run())
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, height=40)
    return BenchProgress(console, bench.jobs, bench.jobs, 1), file, bench


@pytest.mark.parametrize(
    ("terminal", "line"),
    [
        (True, "A (streamed)  2 of 2  0.100 s"),
        (True, "B (streamed)  2 of 2  0.100 s"),
        (True, "4 of 4 turns"),
        (False, "4 of 4 turns; median: A (streamed) 0.100 s, B (streamed) 0.100 s"),
    ],
)
def test_progress_tells_turns_done_medians_failures_and_the_end(terminal, line):
    shown, file, bench = progress(terminal)
    with shown:
        for job, track in zip(bench.jobs, bench.tracks, strict=True):
            shown.ended(job, track, 1.0)
    assert "A (streamed), t0: module_failed: hear failed" in file.getvalue()
    assert line in file.getvalue()


def test_the_time_left_is_told_by_how_long_turns_of_each_cluster_took():
    shown, _, bench = progress(terminal=False)
    assert shown.left_s() == 0.0
    first = bench.jobs[0]
    done = Track(
        track_id="T-A-0",
        cluster="A",
        cluster_hash="",
        mode=Mode.STREAMED,
        created_at=bench.tracks[0].created_at,
        status=TrackStatus.COMPLETED,
    )
    shown.ended(first, done, 10.0)
    assert shown.left_s() == 30.0
    shown.ended(bench.jobs[1], done, 2.0)
    assert shown.left_s() == 12.0


def test_however_many_turns_there_are_the_median_shown_is_of_the_newest():
    shown, file, bench = progress(terminal=False)
    slow, fast = (replace(bench.tracks[-1], voice_to_voice_s=each) for each in (9.0, 0.2))
    for track in [slow] * NEWEST + [fast] * NEWEST:
        shown.ended(bench.jobs[0], track, 1.0)
    for job in bench.jobs:
        shown.ended(job, fast, 1.0)
    assert "A (streamed) 0.200 s" in file.getvalue().splitlines()[-1]


def test_no_more_than_the_first_failure_of_its_kind_is_told():
    shown, file, bench = progress(terminal=False)
    failed = next(track for track in bench.tracks if track.error_code)
    for _ in range(3):
        shown.ended(bench.jobs[0], failed, 1.0)
    assert file.getvalue().count("module_failed") == 1
