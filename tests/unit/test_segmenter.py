"""What a microphone hears, cut into turns."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from turnlab.audio import RATE, open_recording
from turnlab.chunks import Samples
from turnlab.client.segmenter import Heard, Limits, Segmenter
from turnlab.errors import InvalidParams
from turnlab.turns.voice_activity import VoiceActivity

BLOCK = 320
"""20 ms, as some devices hand it over."""


@pytest.fixture
def question(recordings: Path) -> Samples:
    """2 s, somebody asks about the weather."""
    return sound(recordings / "whats_the_weather_like.wav")


def sound(path: Path) -> Samples:
    return np.concatenate(list(open_recording(path).blocks()))


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def noise(seconds: float, level: float) -> Samples:
    random = np.random.default_rng(7)
    return (random.normal(0, level, round(seconds * RATE))).astype(np.float32)


def turns(*sounds: Samples, limits: Limits | None = None, block: int = BLOCK) -> list[Heard]:
    segmenter = Segmenter(VoiceActivity(), limits)
    stream = np.concatenate(sounds)
    found = [
        t for at in range(0, len(stream), block) for t in segmenter.feed(stream[at : at + block])
    ]
    last = segmenter.flush()
    return [*found, *([last] if last else [])]


def test_two_sentences_with_a_long_pause_are_two_turns(question: Samples) -> None:
    first, second = turns(quiet(0.5), question, quiet(1.5), question, quiet(1))
    assert not first.cut
    assert first.last_voiced_s < second.start_s
    for turn, begin_s in ((first, 0.5), (second, 0.5 + 2.03 + 1.5)):
        # The recording begins to be voiced after 0.1 s and is so for 1.2 s.
        assert turn.start_s == pytest.approx(begin_s + 0.1 - 0.3, abs=0.1)
        assert turn.last_voiced_s == pytest.approx(begin_s + 1.3, abs=0.15)
        assert turn.end_s == pytest.approx(turn.last_voiced_s + 0.6, abs=0.04)


def test_a_short_pause_belongs_to_the_turn(question: Samples) -> None:
    # 1.2 s lie between the two voices: the recording ends quietly.
    limits = Limits(end_of_turn_s=1.5)
    (turn,) = turns(question, quiet(0.3), question, quiet(2), limits=limits)
    assert turn.duration_s > 4


def test_the_turn_holds_what_was_said_and_the_moment_before_it(question: Samples) -> None:
    stream = np.concatenate([noise(1, 0.001), question, quiet(1)])
    (turn,) = turns(stream)
    at = round(turn.start_s * RATE)
    assert np.array_equal(turn.samples, stream[at : at + len(turn.samples)])


@pytest.mark.parametrize("block", [160, 100_000])
def test_blocks_of_any_size_make_the_same_turns(question: Samples, block: int) -> None:
    stream = np.concatenate([question, quiet(1), question])
    expected = [(t.start_s, t.end_s) for t in turns(stream)]
    assert [(t.start_s, t.end_s) for t in turns(stream, block=block)] == expected


def test_neither_a_cough_nor_noise_is_a_turn() -> None:
    cough = noise(0.35, 0.6) * np.exp(-np.linspace(0, 4, round(0.35 * RATE))).astype(np.float32)
    assert turns(quiet(1), cough, quiet(1), noise(2, 0.05), quiet(0.5), cough, quiet(1)) == []


def test_less_voice_than_the_least_is_no_turn(question: Samples) -> None:
    assert turns(quiet(1), question, quiet(1), limits=Limits(min_speech_s=1.5)) == []


def test_who_goes_on_speaking_is_cut_without_losing_a_sample(question: Samples) -> None:
    voice = question[int(0.2 * RATE) : int(1.2 * RATE)]
    stream = np.concatenate([voice] * 6)
    found = turns(stream, quiet(1), limits=Limits(max_turn_s=2.0))
    assert len(found) >= 3
    assert found[0].cut
    assert all(turn.duration_s <= 2.0 for turn in found)
    for turn, following in itertools.pairwise(found):
        assert following.start_s == pytest.approx(turn.end_s)


def test_what_is_under_way_at_the_end_of_the_stream_is_a_turn(question: Samples) -> None:
    (turn,) = turns(question[: int(0.9 * RATE)])
    assert not turn.cut
    assert turn.end_s == pytest.approx(0.9, abs=0.033)


def test_a_real_speech_becomes_turns_at_its_pauses(recordings: Path) -> None:
    found = turns(sound(recordings / "jfk.flac"), quiet(1))
    assert 2 <= len(found) <= 4
    assert found[-1].end_s > 10


@pytest.mark.parametrize(
    "values",
    [
        {"end_of_turn_s": 0.0},
        {"end_of_turn_s": 11.0},
        {"max_turn_s": 0.5},
        {"max_turn_s": 601.0},
        {"min_speech_s": -1.0},
        {"pre_roll_s": 6.0},
    ],
)
def test_limits_that_cannot_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(InvalidParams):
        Limits(**values)
