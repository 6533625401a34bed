"""POST /v1/audio/speech: a Module that speaks a text."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja import Router
from pydantic import Field

from turnlab.chunks import Speech
from turnlab.errors import TooMuchOutput
from turnlab.server.node import current_node
from turnlab.server.openai_endpoints import sounds
from turnlab.server.openai_endpoints.bodies import Body, ModelName, read_body
from turnlab.server.openai_endpoints.failures import BadField
from turnlab.server.openai_endpoints.following import Following, answered, follow
from turnlab.server.openai_endpoints.parameters import mapped
from turnlab.server.openai_endpoints.served import Use, models_of
from turnlab.server.openai_endpoints.streaming import EVENTS, event, streamed

router = Router()

LONGEST_INPUT = 4_096
"""In characters, as OpenAI has it."""

LONGEST_S = 3_600.0
"""Of speech that is encoded as a whole."""

VoiceName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^\w[\w .-]*$")]
"""Of a voice; never a path."""


class Voice(Body):
    """A voice by its id."""

    id: VoiceName


class SpeechBody(Body):
    """The request."""

    model: str = ModelName
    input: str = Field(min_length=1, max_length=LONGEST_INPUT)
    voice: VoiceName | Voice | None = None
    instructions: Annotated[str, Field(max_length=4_096)] | None = None
    speed: Annotated[float, Field(ge=0.25, le=4)] | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    stream_format: Literal["audio", "sse"] = "audio"

    def parameters(self) -> dict[str, tuple[str, Any]]:
        """As a Module calls them, each with OpenAI's name and the value."""
        voice = self.voice.id if isinstance(self.voice, Voice) else self.voice
        return {
            "voice": ("voice", voice),
            "speed": ("speed", self.speed),
            "instructions": ("instructions", self.instructions),
        }


@router.post("/audio/speech")
async def speak(request: HttpRequest) -> HttpResponseBase:
    """The text as speech, in `wav` and `pcm` as it is made."""
    body = await read_body(request, SpeechBody)
    _check(body)
    model = models_of(current_node()).find(body.model, Use.SPEAK)
    set_ = mapped(model.step, body.parameters())
    turn = await follow(request, model.request(set_.params, text=body.input))
    form = body.response_format
    if body.stream_format == "sse":
        response = await streamed(request, _events(turn, form), EVENTS)
        return answered(response, turn, set_.ignored)
    if form in sounds.STREAMED:
        response = await streamed(request, _pieces(turn, form), sounds.MEDIA_TYPES[form])
        return answered(response, turn, set_.ignored)
    with turn:
        speech = await _whole(turn.read(Speech))
        await turn.result()
    data = await asyncio.to_thread(sounds.encoded, speech.samples, speech.sample_rate, form)
    return answered(HttpResponse(data, content_type=sounds.MEDIA_TYPES[form]), turn, set_.ignored)


def _check(body: SpeechBody) -> None:
    form, can = body.response_format, sounds.writable()
    if form not in can:
        told = f"response_format: this server cannot write {form}; it can {', '.join(can)}."
        raise BadField("response_format", told)
    if body.stream_format == "sse" and form not in sounds.STREAMED:
        told = f"response_format: {form} is not sent as events; ask for wav or pcm."
        raise BadField("response_format", told)
    if not any(map(str.isalnum, body.input)):
        raise BadField("input", "input: holds nothing that can be spoken.")


async def _pieces(turn: Following, form: str) -> AsyncGenerator[bytes]:
    """The speech as `wav` at the Module's own rate or as `pcm`, as it is made."""
    writer: sounds.Pcm | sounds.Wav | None = None
    with turn:
        async for speech in turn.read(Speech):
            writer = writer or sounds.WRITERS[form](speech.sample_rate)
            yield await asyncio.to_thread(writer.add, speech.samples)
        if writer:
            yield writer.end()
        await turn.result()


async def _events(turn: Following, form: str) -> AsyncGenerator[bytes]:
    """The same as server-sent events."""
    async with aclosing(_pieces(turn, form)) as pieces:
        async for piece in pieces:
            audio = base64.b64encode(piece).decode()
            yield event({"type": "speech.audio.delta", "audio": audio})
    yield event({"type": "speech.audio.done"})


async def _whole(pieces: AsyncGenerator[Speech]) -> Speech:
    """All of the speech. Raises TooMuchOutput."""
    heard: list[Speech] = []
    total_s = 0.0
    async for speech in pieces:
        heard.append(speech)
        total_s += speech.duration_s
        if total_s > LONGEST_S:
            raise TooMuchOutput(f"The speech is longer than {LONGEST_S:g} s; send less text.")
    return Speech.gather(heard)
