"""Results that third-party Workers post: JSON, or multipart with the sound or picture they made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import httpx2
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from pydantic import BaseModel, Field, ValidationError

from turnlab.errors import ClaimLost, InvalidRequest, TooLarge
from turnlab.executors.http_claims import Outcome
from turnlab.executors.http_results import check_timings, chunk_of, failure_of, further
from turnlab.server.api import uploads
from turnlab.server.api.database import in_database
from turnlab.server.api.elsewhere import FORWARDED
from turnlab.server.api.schemas import Strict
from turnlab.server.forwarding import url_of
from turnlab.server.node import current_node
from turnlab.server.problems import Refused
from turnlab.work import Work

MOST_JSON = 4 * 2**20
"""Bytes of a result without its file."""

M = TypeVar("M", bound=BaseModel)


class Reported(Strict):
    """Why a Task failed, in the Worker's words."""

    code: str = Field("module_failed", description="Lower-case letters, digits, underscores.")
    message: str


class PostedResult(Strict):
    """What a Worker made of a Task."""

    claim: str = Field(max_length=200, description="As the Task came with it.")
    status: Literal["completed", "failed"]
    result_profile: dict[str, Any] = Field(
        default_factory=dict,
        description="What it made, such as `text`, and whatever else is to be kept.",
    )
    latency_profile: dict[str, Any] = Field(
        default_factory=dict,
        description="`ts_*` are moments (Unix seconds or ISO 8601), `model_*`, `transfer_*` and "
        "`wait_*` durations in seconds.",
    )
    error: Reported | None = Field(None, description="With the status `failed`.")


@dataclass(frozen=True, kw_only=True)
class Posted:
    """A result as it came: its JSON, and the file beside it."""

    values: PostedResult
    file: bytes | None = None


def read_result(request: HttpRequest) -> Posted:
    """The request's result; off the event loop. Raises InvalidRequest, TooLarge."""
    uploads.require_type(request, uploads.MULTIPART, uploads.JSON)
    if request.content_type == uploads.JSON:
        return Posted(values=validated(PostedResult, _json(request.read(MOST_JSON + 1))))
    request.upload_handlers = [TemporaryFileUploadHandler(request)]
    try:
        fields, files = request.POST, request.FILES
    except MultiPartParserError as error:
        raise Refused(400, f"The multipart body cannot be read: {error}") from error
    except RequestDataTooBig as error:
        raise TooLarge("The fields are too large; send what was made as the part file.") from error
    if set(fields) != {"result"} or len(fields.getlist("result")) != 1 or set(files) - {"file"}:
        raise InvalidRequest("body: has one part `result` with JSON, and at most one `file`.")
    values = validated(PostedResult, _json(str(fields["result"]).encode()))
    found = cast(list[Any], files.getlist("file"))
    if len(found) > 1:
        raise InvalidRequest("body.file: is there more than once.")
    return Posted(values=values, file=found[0].read() if found else None)


def outcome_of(posted: Posted, work: Work) -> Outcome:
    """The result checked against what the Task is to make; off the event loop.

    Raises InvalidRequest that names what is wrong, so that it can be mended and posted again.
    """
    values = posted.values
    timings = check_timings(values.latency_profile)
    if values.status == "failed":
        if values.error is None:
            raise InvalidRequest("body.error: says why the Task failed; give its message.")
        error = failure_of(values.error.model_dump())
        return Outcome(error=error, result=values.result_profile, timings=timings)
    if values.error is not None:
        raise InvalidRequest("body.error: belongs to the status `failed`.")
    chunk = chunk_of(work.step.produces, values.result_profile, posted.file)
    return Outcome(chunk=chunk, result=further(chunk, values.result_profile), timings=timings)


async def hand_on(
    request: HttpRequest, node_id: str, posted: dict[str, Any], file: bytes | None = None
) -> HttpResponse:
    """What the API process answers that handed the Task out. Raises ClaimLost, ServerLost."""
    gone = await in_database(url_of, node_id) is None
    if gone or FORWARDED in request.headers:
        raise ClaimLost("The API process that handed the Task out is gone, and its claims with it.")
    body = _encoded(posted, file)
    headers = {
        FORWARDED: "1",
        "Authorization": request.headers["Authorization"],
        "Content-Type": body.headers["Content-Type"],
    }
    status, told, content = await current_node().forward(
        node_id, "POST", request.get_full_path(), headers, body.read()
    )
    kind = told.get("content-type", uploads.JSON)
    return HttpResponse(content, status=status, content_type=kind)


def _encoded(posted: dict[str, Any], file: bytes | None) -> httpx2.Request:
    """The body as the Worker sent it."""
    if file is None:
        return httpx2.Request("POST", "http://node", json=posted)
    fields = {"result": json.dumps(posted)}
    return httpx2.Request("POST", "http://node", data=fields, files={"file": ("file", file)})


def validated(model: type[M], values: Any) -> M:
    """`values` as the model. Raises InvalidRequest that names the first place that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(["body", *(str(part)[:100] for part in first["loc"])])
        raise InvalidRequest(f"{place[:300]}: {first['msg']}.") from None


def _json(data: bytes) -> Any:
    if len(data) > MOST_JSON:
        raise TooLarge(f"A result may have {MOST_JSON // 2**20} MiB of JSON, besides its file.")
    return uploads.read_json(data, MOST_JSON)
