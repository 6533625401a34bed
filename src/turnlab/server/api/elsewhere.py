"""Asks another API process about a Track that runs there, in the name of the same client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from http import HTTPStatus

import httpx2
from django.http import HttpRequest, StreamingHttpResponse

from turnlab.errors import ServerLost

FORWARDED = "X-Turnlab-Forwarded"
"""Says that another process asks, which must not be asked back."""

_HANDED_ON = ("Authorization", "Last-Event-ID", "Accept", "Range")
_HANDED_BACK = ("Content-Type", "Cache-Control", "Retry-After")
_CONNECT_S, _SILENCE_S = 5.0, 60.0
"""A stream of events has a heartbeat, a reply that is made a piece every few seconds."""


async def forwarded(request: HttpRequest, url: str) -> StreamingHttpResponse:
    """What the API process at `url` answers to the same request, as it comes.

    Raises ServerLost if it cannot be reached.
    """
    client, answer = await _asked(request, url)
    response = StreamingHttpResponse(_body(client, answer), status=answer.status_code)
    for name in _HANDED_BACK:
        if name in answer.headers:
            response[name] = answer.headers[name]
    return response


async def parts(request: HttpRequest, url: str) -> AsyncIterator[bytes]:
    """The body of the same. Raises ServerLost, also where it answers with a failure."""
    client, answer = await _asked(request, url)
    body = _body(client, answer)
    try:
        if answer.status_code != HTTPStatus.OK:
            raise ServerLost(
                "The API process that runs the Track does not tell of it "
                f"(HTTP {answer.status_code}); ask again."
            )
        async for part in body:
            yield part
    finally:
        await body.aclose()


async def _asked(request: HttpRequest, url: str) -> tuple[httpx2.AsyncClient, httpx2.Response]:
    if FORWARDED in request.headers:
        raise ServerLost("The Track is on its way between two API processes; ask again.")
    timeout = httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S)
    client = httpx2.AsyncClient(timeout=timeout, trust_env=False)
    headers = {name: value for name in _HANDED_ON if (value := request.headers.get(name))}
    asked = client.build_request(
        "GET", url.rstrip("/") + request.get_full_path(), headers={**headers, FORWARDED: "1"}
    )
    try:
        return client, await client.send(asked, stream=True)
    except httpx2.HTTPError as error:
        await client.aclose()
        raise ServerLost("The API process that runs the Track does not answer.") from error


async def _body(client: httpx2.AsyncClient, answer: httpx2.Response) -> AsyncGenerator[bytes, None]:
    try:
        with suppress(httpx2.HTTPError):  # it ends where the other process does
            async for part in answer.aiter_raw():
                yield part
    finally:
        await answer.aclose()
        await client.aclose()
