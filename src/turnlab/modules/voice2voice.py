"""voice2voice: speech in, speech out, through a server that speaks the Realtime protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from turnlab.chunks import Audio, Caption, Chunk, Speech
from turnlab.errors import (
    EmptyAudio,
    EmptyReply,
    MissingKey,
    MissingModel,
    ProviderFailed,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
    TooMuchOutput,
    TurnlabError,
    WrongKey,
)
from turnlab.modules.base import Context, Inputs, Module
from turnlab.openai_api import Stopwatch, pinned_server
from turnlab.openai_api.params import Server
from turnlab.prices import Prices, read_prices
from turnlab.profiles import SpanKind
from turnlab.prompts import SYSTEM_PROMPT, recent
from turnlab.realtime_api import (
    RealtimeConnection,
    RealtimeParams,
    SpokenReply,
    Upsampler,
    missing_realtime,
    realtime_server,
    require_websockets,
    session_settings,
)

FAREWELL_S = 0.2
"""How long a cancelled Task takes to tell the server so."""


class Voice2Voice(Module):
    """Answer speech with speech through any server that speaks the OpenAI Realtime protocol.

    The connection opens with the first sound, so that its handshake hides behind the speech; what
    is said is sent as it comes, and the reply's sound leaves as it comes. Earlier turns and what
    a picture shows go before it as text. The end of the turn is told to the server, which
    detects nothing itself. Each turn is a connection of its own.
    """

    task_name = "voice2voice"
    consumes = (Audio,)
    uses = (Caption,)
    produces = Speech
    version = "1"
    concurrency = 64
    results: ClassVar = {
        "transcript": "what the server heard the user say; '' where transcription is off",
        "transcript_missing": "why there is none although it is on",
        "response_id": "the server's own id of the reply",
        "finish_reason": "`stop`, or `length` where the server's limit of tokens ended the reply; "
        "'' where it failed",
        "usage": "tokens as the server counted them, without those of the transcription",
        "cost_usd": "what they cost in US dollars; null where the price is unknown",
    }
    measures: ClassVar = {
        "model_first_audio": "from asking for the reply to its first sound, network included",
        "model_stream": "the rest of the reply, to its end, without the time that sound waits for "
        "its reader",
        "transfer_connect": "opening the connection: DNS, TCP, TLS, WebSocket",
        "transfer_session": "waiting after the last sound for the session to be accepted",
        "wait_transcript": "waiting after the reply for what the server heard",
    }
    raises: ClassVar = (
        *(MissingModel, MissingKey, WrongKey, RateLimited, ProviderRefused, ProviderFailed),
        *(ProviderTimeout, ProviderUnreachable, EmptyReply, TooMuchOutput),
    )
    cost: ClassVar = (
        "What the server's owner charges for tokens of sound and text; in `cost_usd` where the "
        "price is known. The transcription is charged apart."
    )

    class Params(RealtimeParams):
        model: str = Field(
            "gpt-realtime-1.5", min_length=1, max_length=256, description="The server's model."
        )
        voice: str | None = Field(
            None, max_length=256, description="One of the server's voices; None for its own choice."
        )
        instructions: str = Field(
            SYSTEM_PROMPT, max_length=100_000, description="How the model should behave."
        )
        caption_intro: str = Field(
            "The user shows you something. This is what can be seen:",
            max_length=10_000,
            description="What stands before the words for a picture.",
        )
        history_tokens: int = Field(
            512,
            ge=0,
            le=1_048_576,
            description="Most tokens of earlier exchanges to send; 0: none.",
        )
        transcription: str = Field(
            "gpt-4o-mini-transcribe",
            max_length=256,
            description="The server's model that writes down what the user says; '' for none.",
        )
        transcript_timeout_s: float = Field(
            3.0, ge=0, le=600, description="Seconds to wait for that after the reply."
        )
        max_speech_s: float = Field(
            600.0, gt=0, le=3600, description="Most seconds that a reply may last."
        )

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        given: Any = params
        return missing_realtime(given)

    @classmethod
    def pinned(cls, params: BaseModel) -> Mapping[str, str]:
        given: Any = params
        return pinned_server(realtime_server(given))

    def load(self) -> None:
        require_websockets()
        self._prices = read_prices()

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        turn = _Turn(realtime_server(params), inputs, context)
        try:
            async for speech in turn.speech():
                yield speech
        finally:
            # A reply that fails is charged all the same.
            context.result.update(turn.result(self._prices))
            await turn.close()


class _Turn:
    """One turn on one connection: a job that says it, one that takes in the answer."""

    def __init__(self, server: Server, inputs: Inputs, context: Context) -> None:
        self.server, self.inputs, self.context = server, inputs, context
        params: Any = context.params
        self.params = params
        self.clock = context.machine.clock
        self.reply = SpokenReply(server, params.max_speech_s)
        self.connection: RealtimeConnection | None = None
        self.asked_s: float | None = None
        """When the reply was asked for."""
        self._accepted = asyncio.Event()
        self._events: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue(64)
        self._jobs = [asyncio.create_task(self._told(self._say()))]

    async def speech(self) -> AsyncIterator[Speech]:
        """The reply's sound as it comes, to its end; what was heard is there too by then."""
        watch: Stopwatch | None = None
        try:
            while not self.reply.ended:
                if (speech := await self._next()) is None:
                    continue
                watch = watch or self._watch()
                with watch.handing_on():
                    yield speech
        finally:
            if watch is not None:
                watch.end()
        if (rest := self.reply.rest()) is not None:
            yield rest
        if self.params.transcription and not self.reply.heard:
            await self._transcript()

    async def close(self) -> None:
        """Stop both jobs and leave; a reply under way is cancelled first."""
        for job in self._jobs:
            job.cancel()
        await asyncio.wait(self._jobs)
        if self.connection is not None:
            if self.asked_s is not None and not self.reply.ended:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FAREWELL_S):
                        await self.connection.send("response.cancel")
            await self.connection.close()

    def result(self, prices: Prices) -> dict[str, Any]:
        """What is recorded of the turn."""
        reply = self.reply
        told = {
            "transcript": reply.transcript or "",
            "response_id": reply.response_id,
            "finish_reason": reply.finish_reason,
            "usage": reply.usage.as_json(),
            "cost_usd": prices.cost_usd(
                self.params.model, reply.usage, listed=self.server.is_openai
            ),
        }
        if self.params.transcription and reply.transcript is None:
            told["transcript_missing"] = reply.unheard or "It did not come in time."
        return told

    async def _next(self) -> Speech | None:
        """Take the next event. Raises ProviderTimeout once a server that was asked is silent."""
        patience_s = self.params.request_timeout_s
        try:
            async with asyncio.timeout(None if self.asked_s is None else patience_s):
                event = await self._events.get()
        except TimeoutError as error:
            raise self._silent() from error
        if isinstance(event, Exception):
            raise event
        speech = self.reply.take(event or {})
        if self.reply.accepted:
            self._accepted.set()
        return speech

    async def _transcript(self) -> None:
        """Wait a moment for what was heard, which may come after the reply."""
        try:
            with self.context.latency.measure(SpanKind.WAIT, "transcript"):
                async with asyncio.timeout(self.params.transcript_timeout_s):
                    while not self.reply.heard:
                        await self._next()
        except TimeoutError:
            pass
        except TurnlabError as error:  # the reply is complete all the same
            self.reply.unheard = error.message

    async def _say(self) -> None:
        """Send the turn as it comes, tell its end, ask for the reply."""
        upsampler: Upsampler | None = None
        connection: RealtimeConnection | None = None
        async for audio in self.inputs.stream(Audio):
            if upsampler is None or connection is None:
                upsampler = Upsampler(audio.sample_rate)
                connection = await self._open()
            for piece in upsampler.encode(audio.samples):
                await connection.send("input_audio_buffer.append", audio=piece)
        if upsampler is None or connection is None:
            raise EmptyAudio("Nothing was said, so there is nothing to reply to.")
        for piece in upsampler.encode(np.empty(0, dtype=np.float32), last=True):
            await connection.send("input_audio_buffer.append", audio=piece)
        if (caption := await self.inputs.whole(Caption)) is not None:
            text = f"{self.params.caption_intro} {caption.text}"
            await connection.add_text("system", text)
        await self._session_accepted()
        self.asked_s = self.clock.now()
        await connection.send("input_audio_buffer.commit")
        await connection.send("response.create")
        await self._events.put(None)  # from now on there is a limit to the waiting

    async def _open(self) -> RealtimeConnection:
        """Connect, begin to listen, tell what the session is about."""
        timeout_s = self.params.connect_timeout_s
        with self.context.latency.transfer("connect"):
            connection = await RealtimeConnection.open(self.server, self.params.model, timeout_s)
        self.connection = connection
        self._jobs.append(asyncio.create_task(self._told(self._listen(connection))))
        settings = session_settings(
            instructions=self.params.instructions,
            voice=self.params.voice,
            transcription=self.params.transcription,
        )
        await connection.send("session.update", session=settings)
        for exchange in recent(self.context.history, self.params.history_tokens):
            await connection.add_text("user", exchange.text)
            await connection.add_text("assistant", exchange.reply)
        return connection

    async def _listen(self, connection: RealtimeConnection) -> None:
        while True:
            await self._events.put(await connection.receive())

    async def _session_accepted(self) -> None:
        try:
            with self.context.latency.transfer("session"):
                async with asyncio.timeout(self.params.request_timeout_s):
                    await self._accepted.wait()
        except TimeoutError as error:
            raise self._silent() from error

    async def _told(self, job: Coroutine[Any, Any, None]) -> None:
        """A job whose failure is the turn's."""
        try:
            await job
        except Exception as error:
            await self._events.put(error)

    def _silent(self) -> ProviderTimeout:
        return ProviderTimeout(
            f"{self.server.name} said nothing for {self.params.request_timeout_s:g} s; raise "
            "request_timeout_s or take a faster model."
        )

    def _watch(self) -> Stopwatch:
        """What measures the reply, from the moment that it was asked for."""
        latency = self.context.latency
        return Stopwatch(latency, self.clock, "first_audio", since_s=self.asked_s)
