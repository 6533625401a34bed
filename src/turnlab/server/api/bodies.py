"""Bodies that do not end: counted while they come, before Django reads any of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from django.http import HttpRequest

from turnlab.errors import TooLarge, TurnlabError
from turnlab.server.problems import MEDIA_TYPE, Refused, described, status_of

_LINGER_S = 5.0
"""How long a client may go on sending that was refused."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class _Endless(Exception):
    """The body is longer than the server takes."""


def limited(app: App, most_bytes: int) -> App:
    """The ASGI application `app`, which reads no more than `most_bytes` of any body.

    A longer body is answered with 413 as soon as that is known: by its Content-Length before any
    of it is read, else while it comes. The moment at which a body was there is kept in the scope
    as `turnlab.received_s`, on the monotonic clock.
    """

    async def bounded(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        refusal = _refusal(scope, most_bytes)
        if refusal is None:
            try:
                await app(scope, _counted(scope, receive, most_bytes), send)
                return
            except _Endless:
                refusal = _too_large(most_bytes)
        await _refuse(scope, receive, send, refusal, most_bytes)

    return bounded


def received_s(request: HttpRequest) -> float:
    """When all of the request was there, on the monotonic clock."""
    scope = getattr(request, "scope", {})
    return float(scope.get("turnlab.received_s") or time.monotonic())


def _counted(scope: Message, receive: Receive, most_bytes: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > most_bytes:
                raise _Endless
            if not message.get("more_body", False):
                scope["turnlab.received_s"] = time.monotonic()
        return message

    return counted


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
        f"The request is larger than {most_bytes // 2**20} MiB; send less, or raise "
        "TURNLAB_MAX_UPLOAD_MIB of the server."
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
    ]
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if b"expect" not in dict(scope["headers"]):
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
