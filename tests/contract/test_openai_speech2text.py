"""The contract, applied to openai_speech2text, with and without a stream of text."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from turnlab.chunks import Audio, Chunk, Reply, Transcript
from turnlab.clock import MonotonicClock
from turnlab.modules import openai_speech2text
from turnlab.modules.base import Context, Inputs, Module
from turnlab.modules.openai_speech2text import OpenAISpeech2Text
from turnlab.testing import Rig
from turnlab.testing.contract import ModuleContract
from turnlab.testing.openai_server import Half, OpenAIServer, Send
from turnlab.turn import TurnResult
from turnlab.work import Observer


class TestOpenAISpeech2Text(ModuleContract):
    module = OpenAISpeech2Text
    inputs: ClassVar = tuple(
        Audio(samples=np.full(4_000, 0.1, dtype=np.float32), sample_rate=16_000) for _ in range(4)
    )

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls) -> Iterator[OpenAIServer]:
        with pytest.MonkeyPatch.context() as patch, OpenAIServer(first_s=0.02) as server:
            patch.setenv("OPENAI_BASE_URL", server.base_url)
            yield server


class TestOpenAISpeech2TextStreamed(TestOpenAISpeech2Text):
    params: ClassVar = {"stream": True, "language": "en"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A server that answers at once; the environment names no other."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TURNLAB_PRICES"):
        monkeypatch.delenv(name, raising=False)
    with OpenAIServer() as serving:
        yield serving


class Revisions(Observer):
    """The texts that were emitted."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def chunk(self, component: str, chunk: Chunk) -> None:
        self.texts.append(getattr(chunk, "text", ""))


def spoken(seconds: float) -> tuple[Audio, ...]:
    """Speech in pieces of a quarter of a second."""
    noise = np.random.default_rng(1).uniform(-1.2, 1.2, int(seconds * 16_000))
    samples = noise.astype(np.float32)
    cuts = range(0, len(samples), 4_000)
    return tuple(Audio(samples=samples[at : at + 4_000], sample_rate=16_000) for at in cuts)


async def turn(
    server: OpenAIServer, seconds: float, observer: Observer | None = None, **params: Any
) -> TurnResult:
    given = {"base_url": server.base_url, "max_retries": 0, "connect_ahead": False, **params}
    overrides = {"openai_speech2text": given}
    rig = Rig(OpenAISpeech2Text, clock=MonotonicClock(), given={Audio}, overrides=overrides)
    try:
        return await rig.run(*spoken(seconds), observer=observer)
    finally:
        await rig.executor.close()


async def test_the_speech_is_sent_as_a_wav_file_with_what_is_known_of_it(
    server: OpenAIServer,
) -> None:
    result = await turn(server, 1.1, language="en", prompt="Turnlab")
    (request,) = server.requests("transcription")
    samples, rate = soundfile.read(io.BytesIO(request.fields["file"]), dtype="float32")
    heard = np.concatenate([audio.samples for audio in spoken(1.1)])
    assert rate == 16_000
    assert np.allclose(samples, np.clip(heard, -1, 1), atol=1e-4)
    assert (request.fields["language"], request.fields["prompt"]) == ("en", "Turnlab")
    assert (request.fields["model"], "temperature" in request.fields) == ("whisper-1", False)
    profile = result.tasks[0].result_json["result_profile"]
    assert result.transcript == server.transcript
    assert profile["usage"] == {"audio_s": 1.1}
    assert profile["cost_usd"] is None


async def test_a_streamed_text_is_revised_as_it_comes(server: OpenAIServer) -> None:
    revisions = Revisions()
    result = await turn(server, 1, revisions, stream=True)
    assert result.transcript == server.transcript
    assert revisions.texts[0] == "What"
    assert revisions.texts[-2:] == [server.transcript] * 2
    assert len(revisions.texts) == 6


@pytest.mark.parametrize("stream", [False, True])
async def test_long_speech_is_sent_in_parts(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(openai_speech2text, "LONGEST_S", 0.5)
    server.counts = False
    result = await turn(server, 1.25, stream=stream)
    assert result.transcript == " ".join([server.transcript] * 3)
    assert len(server.requests("transcription")) == 3
    usage = result.tasks[0].result_json["result_profile"]["usage"]
    assert usage == {"audio_s": 1.25}


@pytest.mark.parametrize(
    ("misdeed", "code"),
    [
        (Send(b"<html>Welcome</html>"), "provider_failed"),
        (Send(b"{}", "application/json"), "provider_failed"),
        (Send(b'{"text": 5}', "application/json"), "provider_failed"),
        (Send(b"{oh", "application/json"), "provider_failed"),
        (Send(b"", "application/json"), "provider_failed"),
        (Half(2), "provider_failed"),
        (Send(b'{"text": " "}', "application/json"), "no_speech"),
    ],
)
async def test_what_is_no_transcript_is_an_error(
    server: OpenAIServer, misdeed: Half | Send, code: str
) -> None:
    server.misbehave("transcription", misdeed)
    result = await turn(server, 1)
    assert result.error is not None
    assert result.error.code == code


@pytest.mark.parametrize(
    "misdeed",
    [
        Half(2),
        Half(2, framed=False),
        Send(b"<html>Welcome</html>"),
        Send(b'{"text": "It does not stream."}', "application/json"),
        Send(b"data: 5\n\n", "text/event-stream"),
    ],
)
async def test_half_a_stream_of_text_is_an_error(
    server: OpenAIServer, misdeed: Half | Send
) -> None:
    server.misbehave("transcription", misdeed)
    result = await turn(server, 1, stream=True)
    assert result.error is not None
    assert result.error.code == "provider_failed"


async def test_the_time_that_revisions_wait_for_their_reader_is_not_the_models(
    server: OpenAIServer,
) -> None:
    class Slow(Module):
        task_name = "slow"
        consumes = (Transcript,)
        produces = Reply

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            async for _ in inputs.stream(Transcript):
                await asyncio.sleep(0.02)
            yield Reply(text="Yes.")

    server.transcript = "word " * 100
    clock = MonotonicClock()
    overrides = {"openai_speech2text": {"base_url": server.base_url, "stream": True}}
    rig = Rig(OpenAISpeech2Text, Slow, clock=clock, given={Audio}, overrides=overrides)
    await rig.executor.prepare(rig.plan)
    began_s = clock.now()
    result = await rig.run(*spoken(1))
    took_s = clock.now() - began_s
    await rig.executor.close()
    assert result.error is None
    assert took_s > 2
    latency = result.tasks[0].result_json["latency_profile"]
    assert latency["model_transcribe"] < took_s / 2
