"""Bodies that do not end, come too slowly, or from nobody who may send them.

They are counted and timed while they come, before Django reads any of them: it keeps a body whole,
longer ones on the disk, before it looks whose it is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from django.http import HttpRequest

from turnlab.errors import DatabaseUnavailable, InvalidToken, TooLarge, TurnlabError
from turnlab.server import limits, tokens
from turnlab.server.api.database import in_database
from turnlab.server.problems import MEDIA_TYPE, Refused, described, headers_of, status_of

_LINGER_S = 5.0
"""How long a client may go on sending that was refused."""

SMALL_BYTES = 1 << 16
"""A body of up to so many bytes is read whoever sends it; for a longer one the token is asked."""

FORM_BYTES = 1 << 20
"""The longest body where no token counts: forms of people, who may not be signed in yet."""

SILENCE_S = 20.0
"""So long no byte of a body may come."""

WHOLE_S = 300.0
"""By then all of a body must be there."""

_TOKENED = ("/api/", "/v1/")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class _Stopped(Exception):
    """The body is not read any further."""

    def __init__(self, refusal: TurnlabError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def limited(
    app: App, most_bytes: int, *, silence_s: float = SILENCE_S, whole_s: float = WHOLE_S
) -> App:
    """The ASGI application `app`, which reads no more than `most_bytes` of any body.

    A longer body is answered with 413 as soon as that is known: by its Content-Length before any
    of it is read, else while it comes. One that stops for `silence_s` or is not there after
    `whole_s` is answered with 408. Where tokens count, more than SMALL_BYTES are read of those
    alone who have one, else FORM_BYTES of anybody. The moment at which a body was there is kept in
    the scope as `turnlab.received_s`, on the monotonic clock.
    """

    async def bounded(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        most = most_bytes if _is_tokened(scope) else min(most_bytes, FORM_BYTES)
        refusal = _refusal(scope, most) or await _unknown(scope)
        if refusal is None:
            try:
                body = _Body(scope, receive, most, silence_s, whole_s)
                await app(scope, body.receive, send)
                return
            except _Stopped as stopped:
                refusal = stopped.refusal
        await _refuse(scope, receive, send, refusal, most)

    return bounded


def received_s(request: HttpRequest) -> float:
    """When all of the request was there, on the monotonic clock."""
    scope = getattr(request, "scope", {})
    return float(scope.get("turnlab.received_s") or time.monotonic())


class _Body:
    """A body as it comes."""

    def __init__(
        self, scope: Message, receive: Receive, most_bytes: int, silence_s: float, whole_s: float
    ) -> None:
        self._scope, self._receive = scope, receive
        self._most_bytes, self._silence_s = most_bytes, silence_s
        self._end_s = time.monotonic() + whole_s
        self._read = 0
        self._whole = False

    async def receive(self) -> Message:
        """The next piece. Raises _Stopped."""
        if self._whole:  # what may still come is the end of the connection
            return await self._receive()
        message = await self._timely()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._most_bytes:
                raise _Stopped(_too_large(self._most_bytes))
            if not message.get("more_body", False):
                self._scope["turnlab.received_s"] = time.monotonic()
                self._whole = True
        return message

    async def _timely(self) -> Message:
        left_s = self._end_s - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(left_s, self._silence_s))):
                return await self._receive()
        except TimeoutError:
            raise _Stopped(
                Refused(408, "The request came too slowly; send it again without a break.")
            ) from None


def _is_tokened(scope: Message) -> bool:
    return str(scope["path"]).startswith(_TOKENED)


async def _unknown(scope: Message) -> TurnlabError | None:
    """Why a long body is not read: nobody who is known sends it. None if it is read."""
    if not _is_tokened(scope) or _is_small(scope):
        return None
    header: bytes | None = dict(scope["headers"]).get(b"authorization")
    authorization = None if header is None else header.decode("latin-1")
    address = (scope.get("client") or ("",))[0]
    try:
        limits.check_failures(address)
        if tokens.remembered(authorization) is None:
            await in_database(tokens.authenticate, authorization)
    except DatabaseUnavailable:
        return DatabaseUnavailable()  # its own text may name hosts and accounts
    except TurnlabError as error:
        return _counted(error, authorization, address)
    return None


def _is_small(scope: Message) -> bool:
    """Whether a body says that it is short; without a length and not in pieces there is none."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    told = length.isdigit() and len(length) < 20 and b"transfer-encoding" not in headers
    return told and int(length) <= SMALL_BYTES


def _counted(error: TurnlabError, authorization: str | None, address: str) -> TurnlabError:
    """The same, or that there were too many wrong tokens; who sends none is not guessing."""
    if not (isinstance(error, InvalidToken) and authorization):
        return error
    try:
        limits.count_failure(address)
    except limits.Exceeded as exceeded:
        return exceeded
    return error


def _refusal(scope: Message, most_bytes: int) -> TurnlabError | None:
    """Why the request is not even to be read; None if it is."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > most_bytes:
        return _too_large(most_bytes)
    try:
        scope.get("query_string", b"").decode()
    except UnicodeDecodeError:
        return Refused(400, "The query is not UTF-8; encode it as %XX.")
    return None


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(
        f"The request is larger than the {most_bytes // 2**20} MiB that are read here; send less, "
        "or raise TURNLAB_MAX_UPLOAD_MIB of the server, which counts for the API."
    )


async def _refuse(
    scope: Message, receive: Receive, send: Send, error: TurnlabError, most_bytes: int
) -> None:
    """Answer without the body; the connection cannot be used for another request.

    Before it is closed some more of the body is read and forgotten, in vain where it does not end:
    else the client, which is still sending, would be told of a broken connection and never see
    the answer. One that waits for `100 Continue` sees it at once.
    """
    body = json.dumps(described(error, scope["path"])).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
        *((name.encode(), value.encode()) for name, value in headers_of(error).items()),
    ]
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if b"expect" not in dict(scope["headers"]) and status_of(error) != 408:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await _forget(receive, most_bytes)
    await send({"type": "http.response.body"})


async def _forget(receive: Receive, most_bytes: int) -> None:
    """Read what still comes, up to `most_bytes`."""
    left = most_bytes
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))
