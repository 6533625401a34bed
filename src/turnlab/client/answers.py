"""What a server's answers say: JSON, or a problem with a code, and when to come back."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx2

from turnlab.client.patience import Later
from turnlab.errors import ProtocolViolation, TurnlabError

JSON = dict[str, Any]

MOST_PROBLEM_BYTES = 64 * 1024
"""Read of an answer that says what went wrong."""

_AGAIN = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


def retry_after_s(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date; None for neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value)) if value.strip().isdigit() else _until(value)
    except (TypeError, ValueError):
        return None


def _until(date: str) -> float:
    moment = email.utils.parsedate_to_datetime(date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def problem_of(response: httpx2.Response) -> TurnlabError:
    """The error that an answer tells of."""
    told = _told(response)
    status = HTTPStatus(response.status_code) if response.status_code in _STATUSES else None
    words = f"HTTP {response.status_code}" + (f" {status.phrase}" if status else "")
    told = {"code": told.get("code"), "message": told.get("detail")}
    return error_of(told, f"The server answered with {words}.")


def error_of(told: JSON, otherwise: str) -> TurnlabError:
    """A failure that the server tells of: of the same class where Turnlab knows its code."""
    message, code = str(told.get("message") or otherwise)[:2000], str(told.get("code") or "")[:64]
    for known in _errors(TurnlabError):
        if known.code == code:
            return known(message)
    return ProtocolViolation(f"{message} ({code})" if code else message)


_STATUSES = {status.value for status in HTTPStatus}


def _errors(base: type[TurnlabError]) -> list[type[TurnlabError]]:
    return [each for kind in base.__subclasses__() for each in (kind, *_errors(kind))]


def _told(response: httpx2.Response) -> JSON:
    if len(response.content) > MOST_PROBLEM_BYTES:
        return {}
    try:
        told = response.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def require_success(response: httpx2.Response) -> None:
    """Raise Later or what the server named, unless the request succeeded."""
    if response.is_success:
        return
    error = problem_of(response)
    if response.status_code in _AGAIN:
        after_s = retry_after_s(response.headers.get("Retry-After"))
        raise Later(error, after_s, doubtful=response.status_code == 500)
    raise error


def json_of(response: httpx2.Response) -> JSON:
    """The object that the answer is. Raises ProtocolViolation."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolViolation("The server's answer is no JSON object; is --api a Turnlab server?")
    return found


def field_of(found: JSON, name: str) -> Any:
    """What the answer says of `name`. Raises ProtocolViolation."""
    if name not in found:
        raise ProtocolViolation(f"The server's answer has no {name}; use the same version on both.")
    return found[name]
