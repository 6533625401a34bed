"""Emotion detection in a turn: what is judged, what is missing, and what the reply is told."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.conftest import Turnlab, turns
from tests.contract.test_emotion_detection import glide, pieces
from turnlab.audio import RATE
from turnlab.chunks import Audio, Chunk, Emotion, Image, Transcript
from turnlab.clock import MonotonicClock
from turnlab.errors import InvalidImage
from turnlab.modules.emotion_detection import EmotionDetection
from turnlab.packaged import packaged
from turnlab.pictures import check_picture
from turnlab.testing.rig import Rig
from turnlab.turn import TurnResult
from turnlab.work import Observer

CLUSTER = "CLUSTER_Q_ETE_CONVERSATION"
FACES = Path(__file__).parents[1] / "data" / "emotion"
SILENCE = Audio(samples=np.zeros(RATE, dtype=np.float32), sample_rate=RATE)


class Seen(Observer):
    """The Emotion that a turn made."""

    emotion: Emotion

    def chunk(self, component: str, chunk: Chunk) -> None:
        if isinstance(chunk, Emotion):
            self.emotion = chunk


def said(text: str) -> Transcript:
    return Transcript(text=text, final=True)


def face(name: str) -> Image:
    return Image(data=(FACES / f"{name}.jpg").read_bytes(), media_type="image/jpeg")


def feel(*chunks: Chunk, **params: Any) -> tuple[TurnResult, Seen]:
    """Run the Module alone on these Chunks."""
    overrides = {"emotion_detection": params}
    given = {Audio, *(type(chunk) for chunk in chunks)}
    rig = Rig(EmotionDetection, clock=MonotonicClock(), given=given, overrides=overrides)
    if missing := EmotionDetection.missing(rig.plan.steps[0].params):
        pytest.skip("; ".join(missing))
    seen = Seen()
    return asyncio.run(rig.run(*chunks, observer=seen)), seen


def felt(*chunks: Chunk, **params: Any) -> Emotion:
    result, seen = feel(*chunks, **params)
    assert result.error is None, result.error
    return seen.emotion


def test_all_three_are_judged_and_timed_apart() -> None:
    result, seen = feel(*pieces(glide()), face("smiling-1"), said("I am so happy!"))
    assert set(seen.emotion.values) == {"T", "A", "V", "M"}
    assert seen.emotion.missing == {}
    assert seen.emotion.words == " I feel happy."
    recorded = result.tasks[0].result_json
    assert recorded is not None
    assert {"model_words", "model_voice", "model_face"} <= set(recorded["latency_profile"])
    assert recorded["result_profile"]["acoustics"]["pitch_hz"] == pytest.approx(180, rel=0.1)


def test_what_is_not_there_is_named_and_not_filled_in() -> None:
    emotion = felt(SILENCE)
    assert emotion.values == {}
    assert emotion.words == ""
    assert emotion.missing == {
        "T": "nothing was transcribed",
        "A": "no voice was heard",
        "V": "there is no picture",
        "M": "none of the three could be judged",
    }
    assert felt(SILENCE, said("...")).missing["T"] == "no word was said"
    alone = felt(SILENCE, said("I love it."))
    assert alone.values["M"] == alone.values["T"]


def test_a_picture_without_a_face_is_left_out() -> None:
    blank = Image(data=(FACES / "no-face.png").read_bytes(), media_type="image/png")
    emotion = felt(SILENCE, blank)
    assert emotion.missing["V"] == "there is no face in the picture"


def test_the_newest_picture_counts() -> None:
    emotion = felt(SILENCE, face("serious"), face("smiling-2"))
    assert emotion.labels["V"] == "happy"


@pytest.mark.parametrize("data", [b"", b"GIF8", b"not a picture", face("serious").data[:3000]])
def test_what_is_no_picture_is_left_out_with_its_reason(data: bytes) -> None:
    picture = Image(data=data, media_type="image/jpeg")
    with pytest.raises(InvalidImage) as refused:
        check_picture(picture)
    emotion = felt(SILENCE, picture)
    assert "V" not in emotion.values
    assert emotion.missing["V"] == refused.value.message


def test_a_modality_that_counts_for_nothing_is_not_judged() -> None:
    emotion = felt(*pieces(glide()), face("serious"), said("I am happy."), face=0, voice=0)
    assert set(emotion.values) == {"T", "M"}
    assert emotion.missing == {"A": "it counts for 0", "V": "it counts for 0"}


def test_values_rank_angry_and_sad_below_neutral_below_happy() -> None:
    sentences = ("I hate this, you idiot!", "What time is it?", "This is wonderful, I love it!")
    values = [felt(*pieces(glide()), said(text)).values["M"] for text in sentences]
    assert all(worse < better for worse, better in pairwise(values))


def test_what_a_neutral_user_is_told_to_the_model_is_up_to_the_cluster() -> None:
    neutral = felt(SILENCE, said("What time is it?"), neutral_remark=" ({label})")
    assert neutral.words == " (neutral)"
    odd = felt(SILENCE, said("I love it."), remark=" {label.__class__} {0} {label}")
    assert odd.words == " {label.__class__} {0} happy"


@pytest.mark.slow
def test_a_turn_tells_the_emotion_and_replies(turnlab: Turnlab) -> None:
    spoken = packaged("moonshine_voice", "assets", "beckett.wav")
    options = ("--image", str(FACES / "serious.jpg"), "--json", "--budget", "60")
    done = turnlab(
        "run", "--cluster", "CLUSTER_Q_ETE_CONVERSATION", "--audio", str(spoken), *options
    )
    assert done.returncode == 0, done.stderr
    turn = turns(done)[0]
    profile = next(t for t in turn["tasks"] if t["name"] == "emotion_detection")["latency_profile"]
    assert {"model_words", "model_voice", "model_face"} <= set(profile)
    assert turn["reply"]
