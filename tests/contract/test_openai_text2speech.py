"""The contract, applied to openai_text2speech, asking for raw samples and for WAV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from turnlab.chunks import Reply
from turnlab.clock import MonotonicClock
from turnlab.modules.openai_text2speech import OpenAIText2Speech
from turnlab.testing import Rig
from turnlab.testing.contract import ModuleContract
from turnlab.testing.openai_server import Half, OpenAIServer, Refuse, Send
from turnlab.testing.openai_wire import RATE, SOUND_S
from turnlab.turn import TurnResult


class TestOpenAIText2Speech(ModuleContract):
    module = OpenAIText2Speech
    inputs: ClassVar = (
        Reply(text="Of course, "),
        Reply(text="the weather is fine today. "),
        Reply(text="It will rain tomorrow."),
    )

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls) -> Iterator[OpenAIServer]:
        with pytest.MonkeyPatch.context() as patch, OpenAIServer(piece_s=0.002) as server:
            patch.setenv("OPENAI_BASE_URL", server.base_url)
            yield server


class TestOpenAIText2SpeechWav(TestOpenAIText2Speech):
    params: ClassVar = {"response_format": "wav", "speed": 1.5}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A server that answers at once; the environment names no other."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TURNLAB_PRICES"):
        monkeypatch.delenv(name, raising=False)
    with OpenAIServer() as serving:
        yield serving


SENTENCES = ("Of course, ", "the weather is fine today. ", "It will rain hard tomorrow.")


async def turn(server: OpenAIServer, *pieces: str, **params: Any) -> TurnResult:
    given = {"base_url": server.base_url, "max_retries": 0, "connect_ahead": False, **params}
    overrides = {"openai_text2speech": given}
    rig = Rig(OpenAIText2Speech, clock=MonotonicClock(), given={Reply}, overrides=overrides)
    try:
        return await rig.run(*(Reply(text=piece) for piece in pieces))
    finally:
        await rig.executor.close()


async def test_each_phrase_is_asked_for_and_spoken_in_order(server: OpenAIServer) -> None:
    result = await turn(server, *SENTENCES, voice="nova")
    asked = [each.fields for each in server.requests("speech")]
    assert [fields["input"] for fields in asked] == [text.strip() for text in SENTENCES]
    assert asked[0] == {
        **{"input": "Of course,", "model": "tts-1", "voice": "nova", "response_format": "pcm"},
    }
    assert result.speech is not None
    assert result.speech.sample_rate == RATE
    assert result.speech.text == " ".join(text.strip() for text in SENTENCES)
    characters = sum(len(text.strip()) for text in SENTENCES)
    assert result.speech.duration_s == pytest.approx(characters * SOUND_S, abs=0.001)
    profile = result.tasks[0].result_json["result_profile"]
    assert profile["usage"] == {"characters": characters}
    assert profile["cost_usd"] is None


async def test_marks_that_nobody_speaks_are_neither_sent_nor_charged(server: OpenAIServer) -> None:
    result = await turn(server, "**Of course**, ", "it is `fine` today.")
    assert [each.fields["input"] for each in server.requests("speech")] == [
        "Of course,",
        "it is fine today.",
    ]
    assert result.speech is not None
    assert result.speech.text == "**Of course**, it is `fine` today."
    profile = result.tasks[0].result_json["result_profile"]
    assert profile["usage"] == {"characters": len("Of course,it is fine today.")}


async def test_the_next_phrase_is_made_while_one_sounds(server: OpenAIServer) -> None:
    server.piece_s = 0.05
    result = await turn(server, *SENTENCES)
    assert result.error is None
    assert len({each.connection for each in server.requests("speech")}) > 1


async def test_a_wav_file_has_its_own_rate(server: OpenAIServer) -> None:
    result = await turn(server, *SENTENCES, response_format="wav", sample_rate=8_000)
    assert result.speech is not None
    assert result.speech.sample_rate == RATE


@pytest.mark.parametrize(
    ("misdeeds", "code"),
    [
        ((Refuse(500),), "provider_failed"),
        ((Refuse(429),), "rate_limited"),
        ((Half(2),), "provider_failed"),
        ((Send(b"<html>Welcome</html>"),), "provider_failed"),
        ((Send(b"", "audio/pcm"),), "provider_failed"),
        ((Send(bytes(1000), "audio/pcm"), Refuse(404, "No such voice")), "provider_refused"),
    ],
)
async def test_what_is_no_sound_is_an_error(
    server: OpenAIServer, misdeeds: tuple[Any, ...], code: str
) -> None:
    server.misbehave("speech", *misdeeds)
    result = await turn(server, *SENTENCES)
    assert result.error is not None
    assert result.error.code == code


@pytest.mark.parametrize("reply", ["...", " - "])
async def test_a_reply_that_cannot_be_spoken_is_an_error_and_costs_nothing(
    server: OpenAIServer, reply: str
) -> None:
    result = await turn(server, reply)
    assert result.error is not None
    assert result.error.code == "empty_reply"
    assert not server.requests("speech")
