"""A film, cut into turns."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from turnlab.audio import RATE, open_image, open_recording
from turnlab.chunks import Samples
from turnlab.errors import InvalidVideo, OutputFailed, UnreadableFile
from turnlab.pictures import check_picture
from turnlab.video.film import Cut, cut_film
from turnlab.video.moments import parse_moment, parse_moments, told

av = pytest.importorskip("av")

FPS = 10


@pytest.fixture
def question(recordings: Path) -> Samples:
    samples, rate = soundfile.read(recordings / "whats_the_weather_like.wav", dtype="float32")
    assert rate == RATE
    return np.asarray(samples, dtype=np.float32)


@pytest.fixture
def film(tmp_path: Path, question: Samples) -> Path:
    """Three questions, 3 s each; the picture grows lighter from frame to frame."""
    sound = np.concatenate([np.pad(question, (0, 3 * RATE - len(question)))] * 3)
    return make_film(tmp_path / "film.mp4", sound)


def make_film(
    path: Path, sound: Samples | None, *, seconds: float = 9.0, size: tuple[int, int] = (320, 240)
) -> Path:
    """A film as a telephone would make it, of MPEG-4 and AAC."""
    with av.open(str(path), "w") as out:
        picture = out.add_stream("mpeg4", rate=FPS)
        picture.width, picture.height = size
        picture.pix_fmt = "yuv420p"
        voice = out.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for number in range(round(seconds * FPS)):
            pixels = np.full((size[1], size[0], 3), 20 + 2 * number, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        for at in range(0, len(sound) if sound is not None else 0, 1024):
            piece = np.ascontiguousarray(sound[None, at : at + 1024])
            heard = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE, at, Fraction(1, RATE)
            out.mux(voice.encode(heard))
        if voice is not None:
            out.mux(voice.encode(None))
    return path


def test_each_time_point_begins_a_turn_that_lasts_until_the_next(
    film: Path, tmp_path: Path
) -> None:
    out = tmp_path / "turns"
    turns = cut_film(Cut(film=film, moments=[0.0, 3.0, 6.0]), out)
    assert [turn.start_s for turn in turns] == [0.0, 3.0, 6.0]
    assert [turn.end_s for turn in turns] == [3.0, 6.0, pytest.approx(9.0, abs=0.2)]
    for turn in turns:
        recording = open_recording(turn.audio)
        assert recording.duration_s == pytest.approx(3.0, abs=0.2)
        # The question of each turn lies where it lies in the film.
        assert recording.last_voiced_s == pytest.approx(1.3, abs=0.2)
        assert len(turn.images) == 3
    lines = (out / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["start_s"] for line in lines] == [0.0, 3.0, 6.0]
    assert all((out / json.loads(line)["audio"]).is_file() for line in lines)
    assert all((out / name).is_file() for line in lines for name in json.loads(line)["images"])


def test_what_lies_before_the_first_time_point_is_left_out(film: Path, tmp_path: Path) -> None:
    (turn,) = cut_film(Cut(film=film, moments=[6.0], frames_per_second=2), tmp_path / "turns")
    assert open_recording(turn.audio).duration_s == pytest.approx(3.0, abs=0.2)
    assert len(turn.images) == pytest.approx(6, abs=1)
    brightness = [picture_brightness(path) for path in turn.images]
    assert brightness == sorted(brightness)
    assert brightness[0] == pytest.approx(20 + 2 * 60, abs=6)


def picture_brightness(path: Path) -> float:
    with av.open(str(path)) as picture:
        return float(next(picture.decode(video=0)).to_ndarray(format="gray").mean())


def test_large_frames_are_scaled_down(tmp_path: Path, question: Samples) -> None:
    film = make_film(tmp_path / "large.mp4", question, seconds=1.0, size=(1920, 1080))
    (turn,) = cut_film(Cut(film=film, moments=[0.0]), tmp_path / "turns")
    assert check_picture(open_image(turn.images[0])) == (1280, 720)


def test_a_moment_behind_the_end_is_named_before_anything_is_written(
    film: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidVideo, match="3:20 lies behind the end"):
        cut_film(Cut(film=film, moments=[0.0, 200.0]), tmp_path / "turns")
    assert not (tmp_path / "turns").exists()


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "silent.mp4", None, seconds=1.0)
    with pytest.raises(InvalidVideo, match="no sound"):
        cut_film(Cut(film=film, moments=[0.0]), tmp_path / "turns")


def test_a_film_that_breaks_off_leaves_nothing(tmp_path: Path, question: Samples) -> None:
    whole = make_film(tmp_path / "film.mkv", np.tile(question, 4), seconds=8.0)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    out = tmp_path / "turns"
    with pytest.raises(InvalidVideo, match="behind the end"):
        cut_film(Cut(film=broken, moments=[0.0, 7.5]), out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no film at all",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ],
    ids=["empty", "text", "playlist", "concat"],
)
def test_what_is_no_film_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(InvalidVideo):
        cut_film(Cut(film=tmp_path / "film.mp4", moments=[0.0]), tmp_path / "turns")


def test_a_film_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        cut_film(Cut(film=tmp_path / "none.mp4", moments=[0.0]), tmp_path / "turns")


def test_files_of_somebody_else_are_not_mixed_with_turns(film: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match="not empty"):
        cut_film(Cut(film=film, moments=[0.0]), tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("95", 95), ("1:35", 95), ("02:53", 173), ("90:00", 5400), ("1:02:03.5", 3723.5), ("0", 0)],
)
def test_moments_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_moment(text) == seconds
    assert parse_moment(told(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "x", "1:60", "1:60:00", "-1", "1:2:3:4", "1e3", "nan", "٣"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidVideo):
        parse_moment(text)


def test_moments_are_sorted_and_each_is_there_once() -> None:
    assert parse_moments(["3:20,02:53", "200, 0"]) == [0, 173, 200]


def test_no_moment_at_all_is_refused() -> None:
    with pytest.raises(InvalidVideo):
        parse_moments([" , "])


@pytest.mark.parametrize("rate", [0.0, -1.0, 30.0, float("nan")])
def test_frames_per_second_have_limits(tmp_path: Path, rate: float) -> None:
    with pytest.raises(InvalidVideo):
        Cut(film=tmp_path, moments=[0.0], frames_per_second=rate)
