"""openai_text2speech: the reply, spoken by OpenAI or a server that speaks its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from turnlab.chunks import Chunk, Reply, Speech
from turnlab.errors import EmptyReply
from turnlab.modules.base import Context, Inputs, Module
from turnlab.openai_api import (
    ERRORS,
    Clients,
    Provider,
    ProviderParams,
    Stopwatch,
    missing_provider,
    pinned_provider,
    provider_errors,
)
from turnlab.openai_api.sound import Sounds
from turnlab.phrases import Phrasing, phrases, speakable
from turnlab.prices import Usage

AHEAD = 2
"""How many phrases are asked for before they have been handed on: one sounds, the next is made."""

AUDIBLE = 0.01
"""Amplitude (-40 dBFS) from which a sound can be heard."""


class OpenAIText2Speech(Module):
    """Speak each phrase of the reply as soon as it is complete, yielding sound as it arrives.

    Each phrase is one request for raw 16-bit samples; once a phrase has begun to sound, the next
    is asked for. Marks that nobody speaks, such as those of `**bold**`, are not sent. A server
    that sends WAV instead is understood too.
    """

    task_name = "openai_text2speech"
    consumes = (Reply,)
    produces = Speech
    version = "1"
    concurrency: ClassVar[int] = 64
    results: ClassVar = {
        "usage": "`characters` that were sent to be spoken",
        "cost_usd": "what they cost in US dollars; null where the price is unknown",
    }
    measures: ClassVar = {
        "model_first_sound": "from the request to the first sound, network and retries included; "
        "summed over the phrases, which overlap",
        "model_stream": "from the first sound of a phrase to its last, summed likewise",
    }
    raises: ClassVar = (*ERRORS, EmptyReply)
    cost: ClassVar[str] = (
        "What the provider charges for characters: `cost_usd`, from [the prices](../prices.md); "
        "null where the price is unknown, such as that of models that are charged by tokens of "
        "sound, which this endpoint does not count."
    )

    class Params(ProviderParams):
        model: str = Field(
            "tts-1",
            min_length=1,
            max_length=256,
            description="Name of the model. OpenAI announced the end of `tts-1`, `tts-1-hd` and "
            "`gpt-4o-mini-tts` for 2027-01-06 (as the SDK, openai 3.54.0, tells); other servers "
            "have their own.",
        )
        voice: str = Field(
            "alloy", min_length=1, max_length=256, description="Name of the voice, of the server's."
        )
        instructions: str | None = Field(
            None, max_length=4096, description="How to speak; `tts-1` does not take them."
        )
        speed: float | None = Field(
            None, ge=0.25, le=4, description="2 is twice as fast; None: the server's own."
        )
        response_format: Literal["pcm", "wav"] = Field(
            "pcm", description="What the server is asked for; `wav` for one that has no `pcm`."
        )
        sample_rate: int = Field(
            24_000, ge=8_000, le=192_000, description="Of the server's `pcm`, in Hz."
        )
        first_words: int = Field(
            2, ge=1, le=1000, description="Least words of a first clause; it is spoken at once."
        )
        first_limit: int = Field(
            4, ge=0, le=1000, description="Words from which it may end without a mark; 0: never."
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
        async with (
            provider.opened_ahead(params.connect_ahead),
            aclosing(_Talk(provider, context).spoken(inputs)) as spoken,
        ):
            async for speech in spoken:
                yield speech


class _Talk:
    """One reply while it is spoken: phrases in order, the next one made while one sounds."""

    def __init__(self, provider: Provider, context: Context) -> None:
        self._provider = provider
        self._context = context
        self._params: Any = context.params
        self._usage = Usage(characters=0)
        self._phrases: asyncio.Queue[_Phrase | None] = asyncio.Queue()
        self._places = asyncio.Semaphore(AHEAD)
        self._requests: set[asyncio.Task[None]] = set()

    async def spoken(self, inputs: Inputs) -> AsyncGenerator[Speech]:
        """The sound of the reply in order."""
        reading = asyncio.create_task(self._read(inputs))
        silent = True
        try:
            while (phrase := await self._phrases.get()) is not None:
                async for speech in phrase.sound():
                    silent = False
                    yield speech
                self._places.release()
            await reading
        finally:
            await _cancelled({reading, *self._requests})
        if silent:
            raise EmptyReply("The reply holds nothing that can be spoken.")

    async def _read(self, inputs: Inputs) -> None:
        """Ask for each phrase; read on only once it can be heard.

        What is read later is taken for the cause of what leaves later: the time to the first
        sound would count as the language model's.
        """
        phrasing = Phrasing(
            first_words=self._params.first_words, first_limit=self._params.first_limit
        )
        try:
            async for text in phrases(inputs.stream(Reply), phrasing):
                if any(map(str.isalnum, text)):
                    await self._places.acquire()
                    phrase = _Phrase(text)
                    self._phrases.put_nowait(phrase)
                    self._requests.add(asyncio.create_task(self._ask(phrase)))
                    await phrase.audible.wait()
        finally:
            self._phrases.put_nowait(None)

    async def _ask(self, phrase: _Phrase) -> None:
        """Have a phrase spoken into its queue."""
        words = speakable(phrase.text)
        self._usage += Usage(characters=len(words))
        self._context.result.update(self._provider.bill(self._params.model, self._usage))
        watch = Stopwatch(self._context.latency, self._context.machine.clock, "first_sound")
        try:
            async with aclosing(self._asked(words, phrase.text)) as pieces:
                async for speech in pieces:
                    watch.piece()
                    phrase.put(speech)
            phrase.put(None)
        except Exception as error:
            phrase.put(error)
        finally:
            watch.end()

    async def _asked(self, words: str, text: str) -> AsyncGenerator[Speech]:
        """The sound of a phrase as it arrives: `words` are sent, `text` is what they stand for."""
        sounds = Sounds(self._provider, self._params.sample_rate)
        self._provider.used()
        with provider_errors(self._provider):
            speech = self._provider.client.audio.speech.with_streaming_response
            async with speech.create(**self._request(words)) as response:
                sounds.expect(response.headers.get("content-type", ""))
                async for data in response.iter_bytes():
                    if len(samples := sounds.add(data)):
                        yield Speech(samples=samples, sample_rate=sounds.sample_rate, text=text)
                        text = ""
        sounds.end()
        self._provider.used()

    def _request(self, words: str) -> dict[str, Any]:
        params = self._params
        given = {name: getattr(params, name) for name in ("instructions", "speed")}
        return {
            "input": words,
            "model": params.model,
            "voice": params.voice,
            "response_format": params.response_format,
            **{name: value for name, value in given.items() if value is not None},
        }


class _Phrase:
    """A phrase and its sound while it arrives."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.audible = asyncio.Event()
        """Set once it can be heard, or is over."""
        self._sound: asyncio.Queue[Speech | Exception | None] = asyncio.Queue()

    def put(self, what: Speech | Exception | None) -> None:
        """Add a piece, the error that ended it, or None at the end."""
        self._sound.put_nowait(what)
        if not isinstance(what, Speech) or np.abs(what.samples).max() >= AUDIBLE:
            self.audible.set()

    async def sound(self) -> AsyncIterator[Speech]:
        """Its pieces as they arrive. Raises what ended it."""
        while (piece := await self._sound.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


async def _cancelled(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
