"""Chunks of one kind gather each in their own way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from turnlab.chunks import (
    Audio,
    Caption,
    Emotion,
    Image,
    Origin,
    Passage,
    Passages,
    Reply,
    Speech,
    Transcript,
)
from turnlab.errors import InvalidAudio


def audio(*values: float, rate: int = 16_000) -> Audio:
    return Audio(samples=np.array(values, dtype=np.float32), sample_rate=rate)


def test_audio_concatenates():
    whole = Audio.gather([audio(0.1, 0.2), audio(), audio(0.3)])
    assert whole.samples.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert whole.sample_rate == 16_000
    assert whole.duration_s == 3 / 16_000


def test_sound_of_two_rates_is_refused():
    with pytest.raises(InvalidAudio, match="one sample rate"):
        Audio.gather([audio(0.1), audio(0.1, rate=8_000)])


def test_speech_joins_its_texts_with_a_space():
    pieces = [
        Speech(samples=np.zeros(2, np.float32), sample_rate=8_000, text=text)
        for text in ("Hello.", "", "How are you?")
    ]
    whole = Speech.gather(pieces)
    assert whole.text == "Hello. How are you?"
    assert len(whole.samples) == 6


def test_reply_concatenates_to_the_letter():
    assert (
        Reply.gather([Reply(text="Hel"), Reply(text="lo "), Reply(text="you")]).text == "Hello you"
    )


def test_a_transcript_revises():
    pieces = [Transcript(text="What's"), Transcript(text="What is it?", final=True)]
    assert Transcript.gather(pieces) == pieces[1]


def test_captions_are_one_a_line():
    assert Caption.gather([Caption(text="A cat."), Caption(text="A dog.")]).text == "A cat.\nA dog."


@pytest.mark.parametrize(
    "chunk",
    [
        audio(0.1),
        Image(data=b"x", media_type="image/png"),
        Transcript(text="a"),
        Caption(text="a"),
        Emotion(values={"T": 0.5}, labels={"T": "glad"}),
        Passages(items=(Passage(text="a", source="b", score=0.5),)),
        Reply(text="a"),
        Speech(samples=np.zeros(1, np.float32), sample_rate=8_000, text="a"),
    ],
    ids=lambda chunk: chunk.kind,
)
def test_every_kind_has_a_profile_that_is_json_without_media(chunk):
    assert chunk.kind == type(chunk).__name__
    assert len(json.dumps(chunk.profile())) < 200


def test_an_origin_is_no_part_of_what_a_chunk_says():
    stamped = Reply(text="a")
    stamped.stamp(Origin(producer="x", emitted_s=1.0))
    assert stamped == Reply(text="a")
