"""openai_speech2text: what the user said, transcribed by OpenAI or a server that speaks its API."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from turnlab.chunks import Audio, Chunk, Samples, Transcript
from turnlab.errors import NoSpeech
from turnlab.modules.base import Context, Inputs, Module
from turnlab.openai_api import (
    ERRORS,
    Clients,
    Provider,
    ProviderParams,
    Stopwatch,
    missing_provider,
    no_answer,
    pinned_provider,
    provider_errors,
)
from turnlab.openai_api.chat import count
from turnlab.prices import Usage

LONGEST_S = 600.0
"""Speech that is sent at once: OpenAI takes 25 MB, which are 13 minutes at 16 kHz."""


class OpenAISpeech2Text(Module):
    """Transcribe speech at its end, with Whisper or another model behind the API.

    The speech is sent as a WAV file made in memory, longer speech in parts of ten minutes. With
    `stream` the text is revised as the server sends it; without, there is one Transcript.
    """

    task_name = "openai_speech2text"
    consumes = (Audio,)
    produces = Transcript
    version = "1"
    concurrency: ClassVar[int] = 64
    timeout_s: ClassVar[float] = 300.0
    results: ClassVar = {
        "usage": "`audio_s`, seconds of sound; tokens where the server counts them",
        "cost_usd": "what they cost in US dollars; null where the price is unknown",
    }
    measures: ClassVar = {
        "model_transcribe": "from the request to the whole text, network and retries included, "
        "without the time that revisions wait for their reader",
    }
    raises: ClassVar = (*ERRORS, NoSpeech)
    cost: ClassVar[str] = (
        "What the provider charges for minutes of sound or for tokens: `cost_usd`, from "
        "[the prices](../prices.md); null where the price is unknown."
    )

    class Params(ProviderParams):
        model: str = Field(
            "whisper-1",
            min_length=1,
            max_length=256,
            description="Name of the model. OpenAI announced the end of `whisper-1` and "
            "`gpt-4o-mini-transcribe` for 2027-02-26, and none of `gpt-transcribe` (as the SDK, "
            "openai 3.54.0, tells).",
        )
        language: str | None = Field(
            None, max_length=32, description="Of the speech (ISO 639-1); None: found out."
        )
        prompt: str | None = Field(
            None, max_length=4096, description="Words that are likely to be said, such as names."
        )
        temperature: float | None = Field(
            None, ge=0, le=1, description="Of the recognition; None: the server's own."
        )
        stream: bool = Field(
            False,
            description="Have the text sent as it is recognised; `whisper-1` and many servers "
            "cannot.",
        )

    @classmethod
    def missing(cls, params: Any) -> list[str]:
        return missing_provider(params)

    @classmethod
    def pinned(cls, params: Any) -> Mapping[str, str]:
        return pinned_provider(params)

    def load(self) -> None:
        self._clients = Clients(self.params)

    def warm(self, params: Any) -> None:
        self._clients.warm(params)

    def close(self) -> None:
        self._clients.close()

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        provider = self._clients.of(params)
        hearing = _Hearing(provider, params)
        async with (
            provider.opened_ahead(params.connect_ahead and not inputs.ended(Audio)),
            aclosing(_recordings(inputs)) as recordings,
        ):
            async for recording in recordings:
                watch = Stopwatch(
                    context.latency, context.machine.clock, "transcribe", then="transcribe"
                )
                try:
                    async with aclosing(hearing.hear(recording)) as revisions:
                        async for text in revisions:
                            with watch.handing_on():
                                yield Transcript(text=text)
                finally:
                    watch.end()
                context.result.update(provider.bill(params.model, hearing.usage))
        if not hearing.text:
            raise NoSpeech("No words were recognised in the recording; speak up or closer.")
        yield Transcript(text=hearing.text, final=True)


class _Hearing:
    """The text of one recording and what it used, over all requests for it."""

    def __init__(self, provider: Provider, params: Any) -> None:
        self._provider = provider
        self._params = params
        self.text = ""
        self.usage = Usage()

    async def hear(self, recording: _Recording) -> AsyncGenerator[str]:
        """Add what is said in it to `text`; yields the text so far where the server streams."""
        self._provider.used()
        so_far = before = f"{self.text} " if self.text else ""
        with provider_errors(self._provider):
            answer: Any = await self._asked(recording)
            if self._params.stream:
                async with answer:
                    async for event in answer:
                        answer = event
                        if isinstance(delta := getattr(event, "delta", None), str):
                            so_far += delta
                            yield so_far.strip()
        if not isinstance(getattr(answer, "text", None), str):
            raise no_answer(self._provider, "sent no transcript")
        self.text = f"{before}{answer.text.strip()}".strip()
        self.usage += _usage(getattr(answer, "usage", None), recording.duration_s)
        self._provider.used()

    async def _asked(self, recording: _Recording) -> Any:
        params = self._params
        given = {name: getattr(params, name) for name in ("language", "prompt", "temperature")}
        if params.stream:
            given["stream"] = True
        return await self._provider.client.audio.transcriptions.create(
            file=("speech.wav", recording.wav(), "audio/wav"),
            model=params.model,
            response_format="json",
            **{name: value for name, value in given.items() if value is not None},
        )


class _Recording:
    """Speech as 16-bit samples, converted as it comes rather than when it is over."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._pcm = bytearray()

    @property
    def duration_s(self) -> float:
        return len(self._pcm) / 2 / self._rate

    def add(self, samples: Samples) -> None:
        self._pcm += (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()

    def wav(self) -> bytes:
        """It as a WAV file."""
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(self._rate)
            writer.writeframes(self._pcm)
        return file.getvalue()


async def _recordings(inputs: Inputs) -> AsyncGenerator[_Recording]:
    """What was said, in parts of at most about `LONGEST_S`."""
    recording = None
    async for audio in inputs.stream(Audio):
        recording = recording or _Recording(audio.sample_rate)
        recording.add(audio.samples)
        if recording.duration_s >= LONGEST_S:
            yield recording
            recording = None
    if recording is not None:
        yield recording


def _usage(used: Any, duration_s: float) -> Usage:
    """What the server counted, else the length of what was sent."""
    seconds = getattr(used, "seconds", None)
    return Usage(
        audio_s=seconds if isinstance(seconds, (int, float)) and seconds >= 0 else duration_s,
        input_tokens=count(getattr(used, "input_tokens", None)),
        audio_input_tokens=count(
            getattr(getattr(used, "input_token_details", None), "audio_tokens", None)
        ),
        output_tokens=count(getattr(used, "output_tokens", None)),
    )
