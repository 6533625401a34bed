"""Recordings arrive as a microphone would hear them, pictures are known by their content."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from turnlab.audio import Pace, RecordedTurn, Recording, open_image, open_recording
from turnlab.chunks import Audio, Image
from turnlab.errors import InvalidImage, UnreadableFile
from turnlab.streams import Stream
from turnlab.testing import FakeClock
from turnlab.testing.clock import settle

RATE = 16_000


class HearsLoud:
    """A voice activity detector for which whatever is loud is a voice."""

    def last_voiced(self, count: int, read) -> int | None:
        loud = np.flatnonzero(np.abs(read(0, count)) > 0.1)
        return int(loud[-1]) + 1 if len(loud) else None


def write(path: Path, *parts: tuple[float, float]) -> Path:
    """A recording whose parts are (seconds, amplitude)."""
    samples = [np.full(round(seconds * RATE), level, np.float32) for seconds, level in parts]
    soundfile.write(path, np.concatenate(samples), RATE)
    return path


@pytest.fixture
def recording(tmp_path) -> Recording:
    return open_recording(write(tmp_path / "a.wav", (0.98, 0.5), (0.52, 0.0)), HearsLoud())


def streams(clock, **fields) -> dict:
    return {kind: Stream(kind, clock=clock, **fields) for kind in (Audio, Image)}


def test_a_recording_knows_its_length_and_where_its_voice_ends(recording):
    assert recording.duration_s == pytest.approx(1.5)
    assert recording.last_voiced_s == pytest.approx(0.98)
    assert len(np.concatenate(list(recording.blocks()))) == 1.5 * RATE


async def test_handed_over_whole_it_is_there_at_once(recording):
    clock = FakeClock()
    turn = RecordedTurn(recording=recording, clock=clock)
    inputs = streams(clock)
    await turn.feed(inputs, clock.now())
    assert clock.now() == 100.0
    assert inputs[Audio].gathered().duration_s == pytest.approx(1.5)
    assert inputs[Audio].closed
    assert turn.turn_over_s(100.0) == 100.0


async def test_at_the_pace_of_speech_each_piece_comes_when_it_was_spoken(recording):
    clock = FakeClock()
    turn = RecordedTurn(recording=recording, clock=clock, pace=Pace.REALTIME)
    inputs = streams(clock)
    feeding = asyncio.create_task(turn.feed(inputs, clock.now()))
    await clock.advance(0.049)
    assert not len(inputs[Audio])
    await clock.advance(10.0)
    await feeding
    chunks = list(inputs[Audio])
    heard = 0
    for chunk in chunks[:-1]:
        heard += len(chunk.samples)
        assert chunk.origin.emitted_s == pytest.approx(100.0 + heard / RATE)
        assert chunk.duration_s <= 0.05
    assert heard == round(0.98 * RATE)
    quiet = chunks[-1]
    assert quiet.duration_s == pytest.approx(0.52)
    assert quiet.origin.emitted_s == pytest.approx(100.98)
    assert inputs[Audio].ended_s == pytest.approx(100.98)
    assert turn.turn_over_s(100.0) == pytest.approx(100.98)


async def test_pictures_are_all_there_before_the_speech(recording):
    clock = FakeClock()
    picture = Image(data=b"x", media_type="image/png")
    turn = RecordedTurn(recording=recording, clock=clock, pace=Pace.REALTIME, images=(picture,))
    for _ in range(2):  # the same picture in two turns
        inputs = streams(clock)
        feeding = asyncio.create_task(turn.feed(inputs, clock.now()))
        await settle()
        assert inputs[Image].closed
        assert len(inputs[Image]) == 1
        assert not len(inputs[Audio])
        await clock.advance(2.0)
        await feeding
    assert picture.origin is None or picture.origin.producer == "user"
    assert turn.kinds == (Audio, Image)


async def test_feeding_waits_for_its_readers(tmp_path):
    path = write(tmp_path / "long.wav", (100.0, 0.5))
    recording = open_recording(path, HearsLoud())
    stream = Stream(Audio, clock=FakeClock(), consumers=1, lead=2)
    feeding = asyncio.create_task(
        RecordedTurn(recording=recording, clock=FakeClock()).feed({Audio: stream}, 0.0)
    )
    await settle()
    assert len(stream) == 2
    assert sum([chunk.duration_s async for chunk in stream.read()]) == pytest.approx(100.0)
    await feeding


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff...", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF....WEBP...", "image/webp"),
    ],
)
def test_a_picture_is_known_by_its_content(tmp_path, data, media_type):
    path = tmp_path / "picture.txt"
    path.write_bytes(data)
    assert open_image(path) == Image(data=data, media_type=media_type)


def test_what_is_no_picture_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    for data in (b"", b"text", b"RIFF....WAVE..."):
        path.write_bytes(data)
        with pytest.raises(InvalidImage, match="neither PNG"):
            open_image(path)
    with pytest.raises(UnreadableFile, match="cannot be read"):
        open_image(tmp_path / "absent.png")
    monkeypatch.setattr("turnlab.audio.LIMIT_BYTES", 10)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 10)
    with pytest.raises(InvalidImage, match="shrink it"):
        open_image(path)
