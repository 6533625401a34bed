"""/api/v1/tracks/{track_id}/events and /speech: a Track while it runs, wherever it does."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from ninja import Router

from turnlab.errors import NotReady, ServerLost
from turnlab.records import ContentKind
from turnlab.server import queries
from turnlab.server.api import elsewhere, following, reading
from turnlab.server.api.database import in_database
from turnlab.server.api.media_files import send_file
from turnlab.server.api.schemas import LastEventId
from turnlab.server.api.security import Bearer, principal_of
from turnlab.server.api.tracks import detail_of
from turnlab.server.forwarding import url_of
from turnlab.server.node import current_node
from turnlab.server.problems import Refused
from turnlab.server.roles import Principal
from turnlab.server.running import Running
from turnlab.tracks import TrackStatus

router = Router(tags=["tracks"])

_POLL_S = 0.25
"""Between two looks at a Track that waits for an API process."""

_WAIT_S = 30.0
"""How long a Track that waits is waited for before the first byte of an answer."""


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
    last_event_id: LastEventId = "",
) -> HttpResponseBase:
    """What happens in a Track as server-sent events, from its beginning to its end.

    `track`, `task`, `chunk` and, as the last one, `end`. After a break, Last-Event-ID goes on
    from there; if the Track has ended meanwhile, its records tell it from the beginning.
    """
    principal = principal_of(request)
    place = await _look(principal, track_id)
    if isinstance(place, str):
        return await elsewhere.forwarded(request, place)
    sound = audio is following.Sound.BASE64
    events = _events(request, principal, track_id, last_event_id, sound=sound)
    response = StreamingHttpResponse(following.beating(events), content_type=following.EVENTS)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


async def _events(
    request: HttpRequest, principal: Principal, track_id: str, last_id: str, *, sound: bool
) -> AsyncIterator[bytes]:
    place = await _place(principal, track_id)
    if isinstance(place, str):  # it waited when the answer began
        async for part in _from_elsewhere(request, place):
            yield part
    elif place is not None:
        after = following.seen_of(last_id, place.telling)
        async for event in following.live_events(place, after, sound=sound):
            yield following.encoded(event, place.telling)
    else:
        detail = await in_database(detail_of, principal, track_id)
        after = following.seen_of(last_id, following.RECORDS)
        for event in following.past_events(detail, after):
            yield following.encoded(event, following.RECORDS)


async def _from_elsewhere(request: HttpRequest, url: str) -> AsyncIterator[bytes]:
    """The events that another API process tells, once it does."""
    end_s = time.monotonic() + _WAIT_S
    while time.monotonic() < end_s:
        try:
            async for part in elsewhere.parts(request, url):
                yield part
            return
        except ServerLost:  # before its first part
            await asyncio.sleep(1.0)
    # Without an end, whoever follows asks again, and is answered with what is the matter.


class _Waiting:
    """The place of a Track that nobody runs yet."""


async def _look(principal: Principal, track_id: str) -> Running | str | _Waiting | None:
    """Where the Track runs: here, or at the address of another API process.

    None if it has ended. A Track may change its place when a process is lost.
    """
    row = await in_database(reading.track_row, principal, track_id)
    node = current_node()
    if (running := node.running(track_id)) is not None:
        return running
    if TrackStatus(row["status"]).ended:
        return None
    if row["node"] in ("", node.id):
        return _Waiting()
    url = await in_database(url_of, row["node"])
    return _Waiting() if url is None else url


async def _place(
    principal: Principal, track_id: str, most_s: float = math.inf
) -> Running | str | None:
    """The same once it is begun. Raises NotReady if it still waits after `most_s` seconds."""
    end_s = time.monotonic() + most_s
    while isinstance(place := await _look(principal, track_id), _Waiting):
        if time.monotonic() >= end_s:
            raise NotReady(f"The Track {track_id} waits to be begun; ask again later.")
        await asyncio.sleep(_POLL_S)
    return place


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

    The answer begins with the first sound; it is 503 where the Track waits for longer.
    """
    place = await _place(principal_of(request), track_id, _WAIT_S)
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
