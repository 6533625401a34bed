"""Failures as HTTP answers: application/problem+json (RFC 9457) with the error's stable code."""

from __future__ import annotations

import inspect
import json
import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import defaults
from ninja.errors import AuthenticationError, HttpError, ValidationError

from turnlab import errors
from turnlab.errors import (
    DatabaseUnavailable,
    InvalidRequest,
    InvalidToken,
    NotReady,
    TooLarge,
    TurnlabError,
)
from turnlab.server.node import current_node

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
"""When to come again, where nothing better is known."""

STATUS: Mapping[type[TurnlabError], int] = {
    errors.InvalidRequest: 422,
    errors.InvalidToken: 401,
    errors.Forbidden: 403,
    errors.TooManyRequests: 429,
    errors.Saturated: 429,
    errors.TooLarge: 413,
    errors.DocumentTooLarge: 413,
    **dict.fromkeys(
        (
            errors.InvalidTrackId,
            errors.UnknownCluster,
            errors.UnknownConversation,
            errors.UnknownIndex,
            errors.UnknownModule,
            errors.UnknownProject,
            errors.UnknownTask,
            errors.UnknownToken,
            errors.UnknownTrack,
            errors.UnknownWorker,
        ),
        404,
    ),
    **dict.fromkeys(
        (
            errors.ClaimLost,
            errors.IdempotencyConflict,
            errors.InvalidTransition,
            errors.MissingKey,
            errors.MissingModel,
            errors.MissingPackage,
            errors.UnreadableFile,
        ),
        409,
    ),
    **dict.fromkeys(
        (
            errors.ClusterNotRunnable,
            errors.EmptyAudio,
            errors.InvalidAudio,
            errors.InvalidBudget,
            errors.InvalidCluster,
            errors.InvalidDocument,
            errors.InvalidImage,
            errors.InvalidParams,
            errors.InvalidVideo,
            errors.NoSpeech,
            errors.ProtocolViolation,
            errors.UnknownComponent,
        ),
        422,
    ),
    **dict.fromkeys(
        (
            errors.EmptyReply,
            errors.ProviderFailed,
            errors.ProviderRefused,
            errors.ProviderUnreachable,
            errors.RateLimited,
            errors.ServerLost,
            errors.WorkerLost,
            errors.WrongKey,
        ),
        502,
    ),
    **dict.fromkeys(
        (
            errors.DatabaseUnavailable,
            errors.NoWorker,
            errors.NotReady,
            errors.RecordingFailed,
        ),
        503,
    ),
    errors.ModuleTimeout: 504,
    errors.ProviderTimeout: 504,
}
"""What each error is in HTTP; what is not here is a failure of the server, 500."""


class Refused(InvalidRequest):
    """A request that HTTP has a status of its own for, such as 405 or 415."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: TurnlabError) -> int:
    """The HTTP status that `error` is answered with."""
    if isinstance(error, Refused):
        return error.status
    return next((STATUS[each] for each in type(error).__mro__ if each in STATUS), 500)


def headers_of(error: TurnlabError) -> dict[str, str]:
    """The headers that belong to the answer: when to come again, how to authenticate.

    An error may say when in seconds, in an attribute `retry_after_s`.
    """
    status = status_of(error)
    if status in (429, 503):
        return {"Retry-After": str(max(1, round(getattr(error, "retry_after_s", RETRY_AFTER_S))))}
    return {"WWW-Authenticate": 'Bearer realm="turnlab"'} if status == 401 else {}


def described(error: TurnlabError, instance: str) -> dict[str, Any]:
    """The problem as the JSON that a client reads; `instance` is the path that was asked for."""
    status = status_of(error)
    told = inspect.getdoc(type(error)) or error.code
    problem = {
        "type": f"urn:turnlab:error:{error.code}",
        "title": HTTPStatus(status).phrase if isinstance(error, Refused) else told.splitlines()[0],
        "status": status,
        "detail": without_files(error.message),
        "code": error.code,
        "instance": instance,
    }
    return {**problem, "component": error.component} if error.component else problem


def without_files(message: str) -> str:
    """`message` with each Cluster called by its name, not by the file that it was read from.

    Clients need not know where files lie on this machine.
    """
    try:
        catalogue = current_node().catalogue
    except NotReady:
        return message
    for cluster in catalogue:
        if cluster.source:
            message = message.replace(cluster.source, cluster.name)
    for unusable in catalogue.problems:
        message = message.replace(unusable.source, unusable.name or "a Cluster")
    return message


def problem(error: TurnlabError, request: HttpRequest) -> HttpResponse:
    """The answer to a request that failed with `error`."""
    return _answer(described(error, request.path), headers_of(error))


def failed(error: BaseException, request: HttpRequest) -> HttpResponse:
    """The answer to a request that failed in a way that nobody foresaw.

    The client is told a number, under which the log has the traceback.
    """
    incident = secrets.token_hex(4)
    logger.error(
        "%s %s failed, incident %s", request.method, request.path, incident, exc_info=error
    )
    return _answer(
        {
            "type": "urn:turnlab:error:internal",
            "title": "The server failed.",
            "status": 500,
            "detail": f"The server failed; its log says why, under incident {incident}.",
            "code": "internal",
            "instance": request.path,
        },
        {},
    )


def answer(error: BaseException, request: HttpRequest) -> HttpResponse:
    """The answer to whatever a view raised."""
    match error:
        case DatabaseUnavailable():
            logger.error("%s", error)
            # Not its own text, which may name hosts and accounts.
            return problem(DatabaseUnavailable(), request)
        case TurnlabError():
            return problem(error, request)
        case OperationalError() | InterfaceError():
            logger.error("The database does not answer: %s", error)
            return problem(DatabaseUnavailable(), request)
        case RequestDataTooBig():
            return problem(TooLarge("The request is too large; send long media as files."), request)
        case ValidationError():
            return problem(InvalidRequest(_told(error)), request)
        case Http404():
            return problem(Refused(404, f"There is nothing at {request.path[:200]}."), request)
        case AuthenticationError():
            return problem(InvalidToken(), request)
        case HttpError():
            return _of_http(error, request)
    return failed(error, request)


def handles(request: HttpRequest, error: Any) -> HttpResponse:
    """`answer` as django-ninja calls its handlers."""
    return answer(error, request)


def wrong_method(request: HttpRequest, refused: HttpResponseBase) -> HttpResponse:
    """The answer to a method that the address does not take, from Django's own."""
    allowed = refused.headers.get("Allow", "")
    told = f"{request.method} is not possible here; use {allowed or 'another method'}."
    response = problem(Refused(405, told), request)
    response["Allow"] = allowed
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a bad Host, a broken multipart body, too many fields."""
    if _for_people(request):
        return defaults.bad_request(request, exception)
    if isinstance(exception, RequestDataTooBig):
        return answer(exception, request)
    # Not its own text, which quotes what the client sent.
    kind = type(exception).__name__
    return problem(Refused(400, f"The request cannot be read ({kind}); mend it."), request)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if _for_people(request):
        return defaults.permission_denied(request, exception)
    return problem(errors.Forbidden(), request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if _for_people(request):
        return defaults.page_not_found(request, exception)
    return answer(Http404(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; Django itself logs the traceback."""
    if _for_people(request):
        return defaults.server_error(request)
    return failed(RuntimeError("see the log's entry before this one"), request)


def _answer(values: Mapping[str, Any], headers: Mapping[str, str]) -> HttpResponse:
    response = HttpResponse(
        json.dumps(values), status=int(values["status"]), content_type=MEDIA_TYPE
    )
    for name, value in {**headers, "Cache-Control": "no-store"}.items():
        response[name] = value
    return response


def _for_people(request: HttpRequest) -> bool:
    """Whether a person with a browser asks, who is better served with a page."""
    return request.path_info.startswith("/admin")


def _of_http(error: HttpError, request: HttpRequest) -> HttpResponse:
    """What django-ninja raises itself; a body that cannot be parsed has our own error as cause."""
    if isinstance(error.__cause__, TurnlabError):
        return problem(error.__cause__, request)
    return problem(Refused(error.status_code, f"{error.message}."), request)


def _told(error: ValidationError) -> str:
    """The first thing that is wrong, and where it is."""
    first = error.errors[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" There are {len(error.errors) - 1} more." if len(error.errors) > 1 else ""
    return f"{place[:200]}: {str(first['msg'])[:500]}.{more}"
