"""POST /v1/audio/transcriptions: a Module that hears, or what a Cluster hears."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.multipartparser import MultiPartParserError
from ninja import Router
from pydantic import Field

from turnlab.chunks import Transcript
from turnlab.errors import TooLarge
from turnlab.server.api.uploads import MULTIPART, read_json, require_type
from turnlab.server.node import current_node
from turnlab.server.openai_endpoints.bodies import Body, ModelName, checked
from turnlab.server.openai_endpoints.failures import BadField
from turnlab.server.openai_endpoints.following import Following, answered, follow
from turnlab.server.openai_endpoints.parameters import mapped
from turnlab.server.openai_endpoints.served import Use, models_of
from turnlab.server.openai_endpoints.streaming import EVENTS, event, streamed
from turnlab.server.problems import Refused
from turnlab.turn_result import TurnResult

router = Router()

_LISTS = ("include", "timestamp_granularities", "known_speaker_names", "known_speaker_references")
"""Fields that may be there several times; OpenAI's SDK adds [] to their names."""


class TranscriptionBody(Body):
    """The fields of the form, beside the file."""

    model: str = ModelName
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")] | None = None
    prompt: Annotated[str, Field(max_length=4_096)] | None = None
    response_format: Literal["json", "text", "verbose_json"] = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    stream: bool = False
    chunking_strategy: Literal["auto"] | None = None
    timestamp_granularities: Annotated[list[Literal["segment"]], Field(max_length=1)] = []

    def parameters(self) -> dict[str, tuple[str, Any]]:
        """As a Module calls them, each with OpenAI's name and the value."""
        names = ("language", "prompt", "temperature")
        return {name: (name, getattr(self, name)) for name in names}


@router.post("/audio/transcriptions")
async def transcribe(request: HttpRequest) -> HttpResponseBase:
    """What is said in a recording, whole or as it is recognised."""
    require_type(request, MULTIPART)
    body, file = await asyncio.to_thread(_form, request)
    model = models_of(current_node()).find(body.model, Use.TRANSCRIBE)
    set_ = mapped(model.step, body.parameters())
    # The file goes when `file` does, which the request keeps.
    path = Path(file.temporary_file_path())
    turn = await follow(request, model.request(set_.params), audio=path)
    if body.stream:
        return answered(await streamed(request, _events(turn), EVENTS), turn, set_.ignored)
    with turn:
        result = await turn.result()
    return answered(_answer(body, result), turn, set_.ignored)


def _answer(body: TranscriptionBody, result: TurnResult) -> HttpResponse:
    if body.response_format == "text":
        return HttpResponse(f"{result.transcript}\n", content_type="text/plain; charset=utf-8")
    told = {"text": result.transcript, "usage": _usage(result)}
    if body.response_format == "json":
        return JsonResponse(told)
    verbose = {
        "task": "transcribe",
        "language": body.language or "",
        "duration": result.track.speech_s or 0.0,
        "segments": [],
    }
    return JsonResponse({**verbose, **told})


def _usage(result: TurnResult) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(result.track.speech_s or 0.0, 3)}


async def _events(turn: Following) -> AsyncGenerator[bytes]:
    """The transcript as server-sent events.

    What was sent cannot be taken back, so words are sent when two revisions in a row agree on
    them, and the rest at the end. The last event has the whole text, which counts.
    """
    sent = before = ""
    with turn:
        async for heard in turn.read(Transcript):
            ready = heard.text if heard.final else _agreed(before, heard.text)
            before = heard.text
            if ready.startswith(sent) and len(ready) > len(sent):
                yield event({"type": "transcript.text.delta", "delta": ready[len(sent) :]})
                sent = ready
        result = await turn.result()
        done = {"text": result.transcript, "usage": _usage(result)}
        yield event({"type": "transcript.text.done", **done})


def _agreed(before: str, after: str) -> str:
    """The whole words with which both begin."""
    count = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        count += 1
    if count == len(before) == len(after):
        return after
    return after[: after.rfind(" ", 0, count + 1) + 1].rstrip()


def _form(request: HttpRequest) -> tuple[TranscriptionBody, TemporaryUploadedFile]:
    """The fields and the file; in a thread, since parsing writes the file."""
    request.upload_handlers = [TemporaryFileUploadHandler(request)]
    try:
        fields, files = request.POST, request.FILES
    except MultiPartParserError as error:
        raise Refused(400, f"The multipart body cannot be read: {error}") from error
    except RequestDataTooBig as error:
        raise TooLarge("The fields of the request are too large.") from error
    sent = files.getlist("file")
    if len(sent) != 1 or set(files) != {"file"}:
        raise BadField("file", "file: send one recording, as a file.")
    file = sent[0]
    assert isinstance(file, TemporaryUploadedFile), "the only upload handler makes these"
    # As JSON it is held to what can be kept: no NUL, no halves of characters.
    values = read_json(json.dumps(_plain(fields)))
    return checked(values, TranscriptionBody), file


def _plain(fields: Any) -> Mapping[str, Any]:
    """The form's fields as JSON would have them. Raises BadField."""
    values: dict[str, Any] = {}
    for name in fields:
        bare = name.removesuffix("[]")
        several = fields.getlist(name)
        if bare in _LISTS:
            values[bare] = several
        elif len(several) > 1:
            raise BadField(bare[:200], f"{bare[:200]}: is there {len(several)} times.")
        elif several[0] != "":
            values[bare] = several[0]
    return values
