"""/api/v1/replies: what `turnlab respond` plays."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from turnlab.server import models
from turnlab.server.api import reading
from turnlab.server.api.database import in_database
from turnlab.server.api.schemas import NextReply, Played, Wait
from turnlab.server.api.security import Bearer, principal_of
from turnlab.server.node import current_node
from turnlab.server.roles import Principal
from turnlab.tracks import TrackStatus

router = Router(tags=["replies"])

POLL_S = 0.5
"""Between two looks at the database, for Tracks that other processes accepted."""

_UNPLAYED = (TrackStatus.PENDING, TrackStatus.STARTED, TrackStatus.COMPLETED)


class News:
    """Wakes those who wait for a Track when this process has accepted one."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Something was accepted."""
        for each in self._waiting:
            if not each.done():
                each.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return when something is accepted, and after `seconds` at the latest."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await future
        finally:
            self._waiting.discard(future)


news = News()


@router.get(
    "/replies/next",
    auth=Bearer("tracks:read"),
    response={200: NextReply, 204: None},
    summary="Wait for a reply to play",
)
async def next_reply(
    request: HttpRequest,
    wait: Wait = 0.0,
) -> Status[Any]:
    """The oldest of your own Tracks that are to be delivered and were not played: one that has
    completed, or is under way and can be heard while it is made. While an older one waits to be
    begun, no younger one comes. 204 if there is none after `wait` seconds, or the server stops."""
    owner = principal_of(request).owner
    loop = asyncio.get_running_loop()
    end_s = loop.time() + wait
    while True:
        found = await in_database(_next, owner)
        left_s = end_s - loop.time()
        if found is not None:
            return Status(200, found)
        if left_s <= 0:
            return Status(204, None)
        await news.wait(min(POLL_S, left_s))
        if not current_node().accepts:
            return Status(204, None)


def _next(owner: str) -> dict[str, Any] | None:
    rows = models.Track.objects.filter(
        owner=owner, deliver=True, played_at=None, status__in=[s.value for s in _UNPLAYED]
    )
    columns = ("track_id", "cluster", "status", "conversation_id", "created_at")
    row = rows.order_by("created_at", "track_id").values(*columns).first()
    if row is None or row["status"] == TrackStatus.PENDING:
        return None
    return {**row, "speech_url": f"/api/v1/tracks/{row['track_id']}/speech"}


@router.post(
    "/replies/{track_id}/played",
    auth=Bearer("tracks:read"),
    response=Played,
    summary="Say that a reply is played",
)
async def played(request: HttpRequest, track_id: str) -> dict[str, Any]:
    """Mark the reply as played, so that nobody gets it again; `first` tells whether this call did
    it. Of several players the one that gets `first: true` is to play it. Only your own."""
    first = await in_database(_mark, principal_of(request), track_id)
    return {"track_id": track_id, "first": first}


def _mark(principal: Principal, track_id: str) -> bool:
    reading.require_own(principal, reading.track_row(principal, track_id))
    rows = models.Track.objects.filter(track_id=track_id, played_at=None)
    return bool(rows.update(played_at=datetime.now(UTC)))
