"""`turnlab run` through the voice-to-voice Cluster, against a Realtime server on loopback."""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.acceptance.conftest import Turnlab, turns
from turnlab.packaged import packaged
from turnlab.testing.realtime_server import Answer, Fault, RealtimeServer

pytestmark = pytest.mark.slow

CLUSTER = "CLUSTER_VOICE_ETE_CONVERSATION"
KEY = "sk-a-secret-that-nobody-may-see"

IMAGE2TEXT = '''
from turnlab.chunks import Caption, Image
from turnlab.modules.base import Module


class Image2Text(Module):
    """Say how large the picture is."""

    task_name = "image2text"
    consumes = (Image,)
    produces = Caption

    async def run(self, inputs, context):
        image = await inputs.whole(Image)
        with context.latency.model("caption"):
            yield Caption(text=f"A picture of {len(image.data)} bytes.")
'''

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

Options = Callable[..., list[str]]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """What follows `turnlab run`: a recording, a picture, a captioner, a server."""
    audio = packaged("moonshine_voice", "assets", "beckett.wav")
    if audio is None:
        pytest.skip("moonshine-voice, which carries the recording, is not installed")
    picture, modules = tmp_path / "pixel.png", tmp_path / "modules"
    picture.write_bytes(PIXEL)
    modules.mkdir()
    (modules / "image2text.py").write_text(IMAGE2TEXT)

    def make(server: RealtimeServer, *more: str) -> list[str]:
        return [
            *("run", "--json", "--cluster", CLUSTER, "--audio", str(audio), "--budget", "60"),
            *("--image", str(picture), "--modules", str(modules)),
            *("--set", f"voice2voice.base_url={server.url}", *more),
        ]

    return make


def test_a_turn_is_answered_by_a_voice(turnlab: Turnlab, options: Options, tmp_path: Path) -> None:
    with RealtimeServer(Answer(text="Fail better.", heard="Ever tried."), key=KEY) as server:
        spoken = tmp_path / "reply.wav"
        done = turnlab(*options(server, "--out", str(spoken)), OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    turn = turns(done)[0]
    spans = turn["spans"]
    assert all(a["end_s"] == b["start_s"] for a, b in pairwise(spans))
    total = sum(span["end_s"] - span["start_s"] for span in spans)
    assert total == pytest.approx(turn["voice_to_voice_s"], abs=1e-3)
    assert (turn["reply"], turn["transcript"]) == ("Fail better.", "Ever tried.")
    told = [event["item"] for event in server.events("conversation.item.create")]
    assert told[-1]["content"][0]["text"].endswith(f"A picture of {len(PIXEL)} bytes.")
    assert server.complaints == []
    samples, rate = soundfile.read(spoken, dtype="float32")
    assert rate == 24_000
    assert len(samples) == len(server.answer.pcm) // 2
    assert np.abs(samples).max() > 0.2
    assert KEY not in done.stdout + done.stderr


def test_the_next_turn_knows_what_was_said_before(turnlab: Turnlab, options: Options) -> None:
    with RealtimeServer(Answer(text="Fail better.", heard="Ever tried.")) as server:
        arguments = options(server, "--conversation")
        again = arguments[arguments.index("--audio") : arguments.index("--audio") + 2]
        done = turnlab(*arguments, *again)
    assert done.returncode == 0, done.stderr
    items = [event["item"] for event in server.events("conversation.item.create")]
    said = [(item["role"], item["content"][0]["text"]) for item in items]
    assert said[1:3] == [("user", "Ever tried."), ("assistant", "Fail better.")]


def test_a_server_that_leaves_midway_fails_the_turn(turnlab: Turnlab, options: Options) -> None:
    with RealtimeServer(fault=Fault.HALF) as server:
        done = turnlab(*options(server))
    assert done.returncode == 1
    assert turns(done)[0]["error"]["code"] == "provider_failed"


def test_a_wrong_key_is_said_to_be_one(turnlab: Turnlab, options: Options) -> None:
    with RealtimeServer(key=KEY) as server:
        done = turnlab(*options(server), OPENAI_API_KEY="sk-another")
    assert turns(done)[0]["error"]["code"] == "wrong_key"
    assert "sk-another" not in done.stdout + done.stderr


def test_without_a_key_it_says_what_to_set(turnlab: Turnlab, options: Options) -> None:
    with RealtimeServer() as server:
        arguments = options(server)[:-2]  # without a server of one's own
    done = turnlab(*arguments, OPENAI_API_KEY="", OPENAI_BASE_URL="")
    assert done.returncode == 1
    assert "OPENAI_API_KEY" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
