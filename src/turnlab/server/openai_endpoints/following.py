"""A Track that a client waits for: read while it runs, cancelled when the client leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from turnlab.chunks import Chunk, Image
from turnlab.errors import NotReady, TurnlabError
from turnlab.server.api.bodies import received_s
from turnlab.server.api.security import principal_of
from turnlab.server.node import Node, current_node
from turnlab.server.requests import TrackRequest
from turnlab.server.running import Running
from turnlab.turn_result import TurnResult

C = TypeVar("C", bound=Chunk)
R = TypeVar("R", bound=HttpResponseBase)

TRACK_HEADER = "Turnlab-Track"
"""Tells the Track of an answer."""

IGNORED_HEADER = "Turnlab-Ignored"
"""Names the fields of the request for which the Module has no parameter."""

LEFT_OUT_HEADER = "Turnlab-Left-Out"
"""Names the Components of a Cluster that were not run."""


class Following:
    """One Track under way, as the view of a request sees it; leaving the block cancels it."""

    def __init__(self, node: Node, running: Running) -> None:
        self.track_id = running.track_id
        self.left_out = tuple(running.plan.left_out)
        self._node = node
        self._running = running

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._running.task is not None and not self._running.task.done():
            self._node.cancel_here(self.track_id)

    async def read(self, kind: type[C]) -> AsyncGenerator[C]:
        """What is wanted of it, as it comes. Raises what the Track failed with."""
        try:
            async for chunk in self._running.read(kind):
                yield chunk
        except TurnlabError as error:
            result = await self._running.done()
            raise result.error or error from None

    async def result(self) -> TurnResult:
        """What became of it, once its records are kept. Raises what it failed with."""
        result = await self._running.done()
        if result.error is not None:
            raise result.error
        return result


async def follow(
    request: HttpRequest,
    asked: TrackRequest,
    *,
    audio: Path | None = None,
    images: Sequence[Image] = (),
) -> Following:
    """Begin what is asked in the name of the request's token. Raises what `Node.accept` does.

    Use the result as a context manager before anything else is awaited.
    """
    node, principal = current_node(), principal_of(request)
    accepted = await node.accept(
        asked,
        owner=principal.owner,
        project=principal.project,
        audio=audio,
        images=images,
        received_s=received_s(request),
    )
    running = node.running(accepted.track_id)
    if running is None:
        raise NotReady()
    return Following(node, running)


def answered(response: R, turn: Following, ignored: Sequence[str]) -> R:
    """`response` with the Track that it came from, and what of request and Cluster had no part."""
    response[TRACK_HEADER] = turn.track_id
    for header, names in ((IGNORED_HEADER, ignored), (LEFT_OUT_HEADER, turn.left_out)):
        if names:
            response[header] = quote(", ".join(names), safe=" ,[]")
    return response
