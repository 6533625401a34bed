"""Failures in OpenAI's shape, so that its SDK raises the errors that its users know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse

from turnlab import errors
from turnlab.errors import InvalidRequest, TurnlabError, UnknownModule
from turnlab.server import problems

STATUS: Mapping[str, int] = {
    **dict.fromkeys(
        (
            errors.InvalidModule.code,
            errors.MissingKey.code,
            errors.MissingModel.code,
            errors.MissingPackage.code,
        ),
        404,
    ),
    **dict.fromkeys((errors.PromptTooLong.code, errors.StreamCancelled.code), 400),
    **dict.fromkeys((errors.RateLimited.code, errors.Saturated.code), 429),
}
"""Where the status is not that of the REST API. The SDK sends again what was answered with 409, 429
or 500 and above, so what would only fail once more gets none of these."""

CODE = {errors.PromptTooLong.code: "context_length_exceeded"}
"""OpenAI's own code where its clients decide by it."""


class BadField(InvalidRequest):
    """A field of the request is not as it should be."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class UnknownModel(UnknownModule):
    """There is no model of this name; GET /v1/models lists those there are."""

    code = "model_not_found"
    param = "model"


def shaped(problem: Mapping[str, Any], param: str | None = None) -> dict[str, Any]:
    """A problem of the REST API as OpenAI tells it; `param` is the field that is wrong."""
    code, status = str(problem["code"]), status_of(problem)
    told = {
        "message": problem["detail"],
        "type": _type(status),
        "param": param,
        "code": CODE.get(code, code),
    }
    return {"error": told}


def status_of(problem: Mapping[str, Any]) -> int:
    """The HTTP status that it is answered with."""
    status = STATUS.get(str(problem["code"]), int(problem["status"]))
    return 400 if status in (409, 422) else status


def handles(request: HttpRequest, error: Any) -> HttpResponse:
    """The answer to whatever an endpoint raised."""
    plain = problems.answer(error, request)
    problem = json.loads(plain.content)
    response = HttpResponse(
        json.dumps(shaped(problem, getattr(error, "param", None))),
        status=status_of(problem),
        content_type="application/json",
    )
    for name in ("Retry-After", "WWW-Authenticate", "Cache-Control"):
        if name in plain:
            response[name] = plain[name]
    if response.status_code == 429 and "Retry-After" not in response:
        response["Retry-After"] = str(problems.RETRY_AFTER_S)
    return response


def told(error: TurnlabError, path: str) -> dict[str, Any]:
    """The error as an event of a stream that has begun."""
    return shaped(problems.described(error, path), getattr(error, "param", None))


def _type(status: int) -> str:
    match status:
        case 401:
            return "authentication_error"
        case 403:
            return "permission_error"
        case 429:
            return "rate_limit_error"
        case _ if status >= 500:
            return "server_error"
    return "invalid_request_error"
