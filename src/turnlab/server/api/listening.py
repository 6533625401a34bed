"""/api/v1/tracks/{track_id}/events and /speech: a Track while it runs, wherever it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from ninja import Router

from turnlab.records import ContentKind
from turnlab.server import queries
from turnlab.server.api import elsewhere, following, reading
from turnlab.server.api.database import in_database
from turnlab.server.api.media_files import send_file
from turnlab.server.api.schemas import LastEventId
from turnlab.server.api.security import Bearer, principal_of
from turnlab.server.api.tracks import detail_of
from turnlab.server.node import current_node
from turnlab.server.problems import Refused
from turnlab.server.roles import Principal
from turnlab.server.running import Running
from turnlab.tracks import TrackStatus

router = Router(tags=["tracks"])

_POLL_S = 0.25
"""Between two looks at a Track that waits for an API process."""


@router.get(
    "/tracks/{track_id}/events",
    auth=Bearer("tracks:read"),
    summary="Follow a Track",
    openapi_extra={
        "responses": {200: {"content": {following.EVENTS: {"schema": following.EVENT_SCHEMA}}}}
    },
)
async def follow_track(
    request: HttpRequest,
    track_id: str,
    audio: following.Sound = following.Sound.NONE,
    last_event_id: LastEventId = 0,
) -> HttpResponseBase:
    """What happens in a Track as server-sent events, from its beginning to its end.

    `track`, `task`, `chunk` and, as the last one, `end`. After a break, Last-Event-ID goes on
    from there.
    """
    principal = principal_of(request)
    await in_database(reading.track_row, principal, track_id)
    sound = audio is following.Sound.BASE64
    events = _events(request, principal, track_id, last_event_id, sound=sound)
    response = StreamingHttpResponse(following.beating(events), content_type=following.EVENTS)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


async def _events(
    request: HttpRequest, principal: Principal, track_id: str, after: int, *, sound: bool
) -> AsyncIterator[bytes]:
    place = await _place(principal, track_id)
    if isinstance(place, str):
        async for part in elsewhere.parts(request, place):
            yield part
    elif place is not None:
        async for event in following.live_events(place, after, sound=sound):
            yield following.encoded(event)
    else:
        detail = await in_database(detail_of, principal, track_id)
        for event in following.past_events(detail, after):
            yield following.encoded(event)


async def _place(principal: Principal, track_id: str) -> Running | str | None:
    """Where the Track runs, once it does: here, or at the address of another API process.

    None if it has ended. A Track may change its place when a process is lost.
    """
    while True:
        node = current_node()
        if (running := node.running(track_id)) is not None:
            return running
        row = await in_database(reading.track_row, principal, track_id)
        if TrackStatus(row["status"]).ended:
            return None
        if row["node"] not in ("", node.id):
            url = await in_database(elsewhere.url_of, row["node"])
            if url is not None:
                return url
        await asyncio.sleep(_POLL_S)


@router.get(
    "/tracks/{track_id}/speech",
    auth=Bearer("media:read"),
    summary="Hear the reply of a Track",
    openapi_extra={
        "responses": {
            code: {"content": {following.WAV: {"schema": {"type": "string", "format": "binary"}}}}
            for code in (200, 206)
        }
    },
)
async def get_speech(request: HttpRequest, track_id: str) -> HttpResponseBase:
    """The reply as a WAV file: while it is made, of unknown length; afterwards whole.

    The answer begins with the first sound.
    """
    place = await _place(principal_of(request), track_id)
    if place is None:
        return await _kept_speech(request, track_id)
    if isinstance(place, str):
        return await elsewhere.forwarded(request, place)
    found = await following.speech_of(place)
    if found is None:
        raise _no_sound(track_id)
    response = StreamingHttpResponse(following.streamed_wav(*found), content_type=following.WAV)
    response["Cache-Control"] = "no-store"
    return response


async def _kept_speech(request: HttpRequest, track_id: str) -> HttpResponseBase:
    _, _, contents = await in_database(queries.get_track, track_id)
    spoken = [each for each in contents if each.kind is ContentKind.RES_SPEECH and each.file]
    if not spoken:
        raise _no_sound(track_id)
    return await send_file(request, spoken[-1].file)


def _no_sound(track_id: str) -> Refused:
    return Refused(404, f"The Track {track_id} has no sound; read it to see what became of it.")
