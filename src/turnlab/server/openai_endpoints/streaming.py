"""Answers that are sent while they are made: bytes, or server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse

from turnlab.errors import TurnlabError
from turnlab.server.openai_endpoints.failures import told

EVENTS = "text/event-stream; charset=utf-8"

DONE = b"data: [DONE]\n\n"
"""The last event of a chat."""


def event(body: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def streamed(
    request: HttpRequest, pieces: AsyncGenerator[bytes], content_type: str
) -> StreamingHttpResponse:
    """`pieces` as the answer, which begins once the first of them is there.

    So what fails before that is answered as a failure. What fails later is told in a last event,
    or breaks the connection off where the answer is no stream of events.
    """
    first = await anext(pieces)
    path = request.path if content_type == EVENTS else ""
    response = StreamingHttpResponse(_rest(first, pieces, path), content_type=content_type)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # a proxy in between is not to gather it
    return response


async def _rest(first: bytes, pieces: AsyncGenerator[bytes], path: str) -> AsyncGenerator[bytes]:
    async with aclosing(pieces):
        yield first
        try:
            async for piece in pieces:
                yield piece
        except TurnlabError as error:
            if not path:
                raise
            yield event(told(error, path))
