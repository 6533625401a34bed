"""Recordings as users have them: any rate, width and length, or no recording at all."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from turnlab.audio import Pace, RecordedTurn, open_recording
from turnlab.chunks import Audio, Transcript
from turnlab.errors import EmptyAudio, InvalidAudio, NoSpeech, UnreadableFile
from turnlab.testing import Each, FakeClock, Rig, scripted

RATE = 16_000


@pytest.fixture(scope="session")
def question(recordings: Path) -> tuple[np.ndarray, int]:
    """A real voice, mono."""
    return soundfile.read(recordings / "whats_the_weather_like.wav", dtype="float32")


def at(question, rate: int) -> np.ndarray:
    samples, given = question
    return soxr.resample(samples, given, rate)


FORMATS = {
    "8 kHz": (8_000, 1, "wav", "PCM_16"),
    "8 kHz u-law": (8_000, 1, "wav", "ULAW"),
    "16 kHz": (16_000, 1, "wav", "PCM_16"),
    "48 kHz stereo": (48_000, 2, "wav", "PCM_24"),
    "44.1 kHz float": (44_100, 1, "wav", "FLOAT"),
    "double": (22_050, 1, "wav", "DOUBLE"),
    "FLAC": (44_100, 2, "flac", "PCM_16"),
    "MP3": (44_100, 1, "mp3", "MPEG_LAYER_III"),
    "OGG": (48_000, 1, "ogg", "VORBIS"),
}


@pytest.mark.parametrize("form", FORMATS)
def test_any_common_form_of_a_recording_is_heard_alike(tmp_path, question, form):
    rate, channels, suffix, subtype = FORMATS[form]
    if subtype not in soundfile.available_subtypes(suffix.upper()):
        pytest.skip(f"this libsndfile writes no {subtype}")
    path = tmp_path / f"question.{suffix}"
    samples = np.repeat(at(question, rate)[:, None], channels, axis=1)
    soundfile.write(path, samples, rate, subtype=subtype)
    original = len(question[0]) / question[1]
    recording = open_recording(path)
    heard = np.concatenate(list(recording.blocks()))
    assert heard.dtype == np.float32
    assert recording.duration_s == pytest.approx(original, abs=0.1)
    assert 0 < recording.last_voiced_s <= recording.duration_s
    reference = at(question, RATE)
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(np.sqrt(np.mean(reference**2)), rel=0.2)


def test_the_name_of_a_file_does_not_matter(tmp_path, question):
    path = tmp_path / "question.txt"
    soundfile.write(path, *question, format="WAV")
    open_recording(path)


def test_float_samples_beyond_full_scale_are_clipped(tmp_path, question):
    path = tmp_path / "loud.wav"
    soundfile.write(path, question[0] * 100, question[1], subtype="FLOAT")
    assert np.abs(np.concatenate(list(open_recording(path).blocks()))).max() <= 1.05


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", EmptyAudio, "is empty"),
        (b"This is a letter to my aunt.\n" * 100, InvalidAudio, "not audio"),
        (b"RIFF\x24\x00\x00\x00WAVE", InvalidAudio, "not audio"),
        (b"\x00" * 4_096, InvalidAudio, "not audio"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00", InvalidAudio, "not audio"),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path, content, error, says):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(error, match=says) as caught:
        open_recording(path)
    assert str(path) in caught.value.message


def test_a_recording_without_samples_is_empty(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0, np.float32), RATE)
    with pytest.raises(EmptyAudio, match="no samples"):
        open_recording(path)


def test_a_file_that_is_not_there_or_is_a_folder_is_unreadable(tmp_path):
    for path in (tmp_path / "absent.wav", tmp_path):
        with pytest.raises(UnreadableFile, match="cannot be read"):
            open_recording(path)


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.wav"
    path.write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableFile, match="Permission denied"):
        open_recording(path)


@pytest.mark.parametrize("seconds", [1, 70])
@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_holds_no_speech(tmp_path, seconds, level):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(seconds * RATE, level, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(NoSpeech, match="No voice"):
        open_recording(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("seconds", [1, 70])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value, seconds):
    path = tmp_path / "a.wav"
    samples = np.zeros(seconds * RATE, np.float32)
    samples[-100] = value
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    with pytest.raises(InvalidAudio, match="not numbers"):
        open_recording(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("repeats", [1, 60])
def test_a_truncated_recording_is_heard_as_far_as_it_goes_or_refused(
    tmp_path, question, suffix, repeats
):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.tile(question[0], repeats), question[1])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with suppress(InvalidAudio):  # any other error is none that tells the user what to do
        recording = open_recording(path)
        heard_s = sum(len(block) for block in recording.blocks()) / RATE
        assert 0 < recording.last_voiced_s <= heard_s + 0.1


def long_recording(path: Path, question, where: str) -> Path:
    """An hour of near silence with one utterance, written block by block."""
    voice = at(question, RATE)
    quiet = np.zeros(60 * RATE, np.float32)
    blocks = {"start": [voice, *[quiet] * 60], "end": [*[quiet] * 60, voice]}[where]
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for block in blocks:
            file.write(block)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("where", ["start", "end"])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
async def test_an_hour_is_opened_and_fed_in_bounded_memory(tmp_path, question, suffix, where):
    path = long_recording(tmp_path / f"hour.{suffix}", question, where)
    length = len(question[0]) / question[1]
    began_s = time.monotonic()
    tracemalloc.start()
    try:
        recording = open_recording(path)
        ears = scripted(
            "ears", [Audio], Transcript, Each(Audio, lambda _: None), Transcript(text="a")
        )
        rig = Rig(ears)
        run = rig.runner.run(rig.plan, RecordedTurn(recording=recording, clock=rig.clock))
        result = await rig.drive(run)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.error is None
    assert recording.duration_s == pytest.approx(3600 + length, abs=0.1)
    expected = length if where == "start" else recording.duration_s
    assert expected - 1 < recording.last_voiced_s <= expected
    assert peak < 150 * 2**20, "the samples of an hour take 230 MB"
    assert time.monotonic() - began_s < 60


@pytest.mark.slow
async def test_at_the_pace_of_speech_an_hour_ends_with_its_voice(tmp_path, question):
    path = long_recording(tmp_path / "hour.wav", question, "start")
    clock = FakeClock()
    recording = open_recording(path)
    ears = scripted("ears", [Audio], Transcript, Each(Audio, lambda _: None), Transcript(text="a"))
    rig = Rig(ears, clock=clock)
    turn = RecordedTurn(recording=recording, clock=clock, pace=Pace.REALTIME)
    result = await rig.drive(rig.runner.run(rig.plan, turn))
    assert result.error is None
    assert clock.now() == pytest.approx(100.0 + recording.last_voiced_s, abs=0.01)
