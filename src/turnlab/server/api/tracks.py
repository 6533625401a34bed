"""/api/v1/tracks: start, list, read, cancel, rerun and follow Tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status

from turnlab.profiles import Span, SpanKind
from turnlab.reports.turn import TaskReport, TurnReport
from turnlab.reports.waterfall import CSS, waterfall_svg
from turnlab.server import queries
from turnlab.server.api import reading, starting
from turnlab.server.api.database import in_database
from turnlab.server.api.media_files import TYPES
from turnlab.server.api.replies import news
from turnlab.server.api.schemas import (
    Accepted,
    Cancelled,
    IdempotencyKey,
    Rerun,
    TrackDetail,
    TrackFilter,
    TrackList,
)
from turnlab.server.api.security import Bearer, principal_of
from turnlab.server.links import media_url
from turnlab.server.media import KeptContent
from turnlab.server.node import Accepted as Taken
from turnlab.server.node import current_node
from turnlab.server.roles import Principal
from turnlab.tracks import TrackStatus

router = Router(tags=["tracks"])

_REQUEST = {"$ref": "#/components/schemas/StartTrack"}
_MULTIPART = {
    "type": "object",
    "required": ["request"],
    "additionalProperties": False,
    "properties": {
        "request": _REQUEST,
        "audio": {"type": "string", "contentMediaType": "application/octet-stream"},
        "images": {
            "type": "array",
            "maxItems": 16,
            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
        },
    },
}
_OF_IT = {"parameters": {"track_id": "$response.body#/track_id"}}
_LINKS = {
    name: {"operationId": name, **_OF_IT}
    for name in ("get_track", "follow_track", "get_speech", "cancel_track", "rerun_track")
}
_START = {
    "responses": {202: {"links": _LINKS}},
    "requestBody": {
        "required": True,
        "content": {
            # Without files there is nothing but the text.
            "application/json": {"schema": {**_REQUEST, "required": ["cluster", "text"]}},
            "multipart/form-data": {
                "schema": _MULTIPART,
                "encoding": {"request": {"contentType": "application/json"}},
            },
        },
    },
}


@router.post(
    "/tracks",
    auth=Bearer("tracks:start"),
    response={202: Accepted},
    openapi_extra=_START,
    summary="Start a Track",
)
async def start_track(
    request: HttpRequest, response: HttpResponse, idempotency_key: IdempotencyKey = None
) -> Status[Accepted]:
    """Run a turn: a recording, a text or pictures, through a Cluster.

    The answer comes once the Track is kept; it runs whether or not anybody follows it.
    """
    taken = await starting.start(request, principal_of(request), current_node())
    news.tell()
    return _accepted(taken, response)


def _accepted(taken: Taken, response: HttpResponse) -> Status[Accepted]:
    response["Location"] = f"/api/v1/tracks/{taken.track_id}"
    if taken.repeated:
        response["Idempotency-Replayed"] = "true"
    body = Accepted(
        track_id=taken.track_id, status=taken.status, conversation_id=taken.conversation_id
    )
    return Status(202, body)


@router.get("/tracks", auth=Bearer("tracks:read"), response=TrackList, summary="List Tracks")
async def list_tracks(request: HttpRequest, asked: Query[TrackFilter]) -> dict[str, Any]:
    """Your Tracks, newest first; everybody's with the scope tracks:read_all."""
    return await in_database(reading.track_page, principal_of(request), asked)


@router.get(
    "/tracks/{track_id}", auth=Bearer("tracks:read"), response=TrackDetail, summary="Read a Track"
)
async def get_track(request: HttpRequest, track_id: str) -> dict[str, Any]:
    """A Track with its Tasks, where its time went, and what was said, with links to the media."""
    return await in_database(detail_of, principal_of(request), track_id)


def detail_of(principal: Principal, track_id: str) -> dict[str, Any]:
    """All that is known of a Track, as the API tells it. Raises InvalidTrackId, UnknownTrack."""
    row = reading.track_row(principal, track_id)
    _, tasks, contents = queries.get_track(track_id)
    shown = "media:read" in principal.scopes
    return {
        **row,
        "tasks": [reading.task_row(each) for each in tasks],
        "contents": [_content(each, principal.owner if shown else None) for each in contents],
    }


def _content(content: KeptContent, owner: str | None) -> dict[str, Any]:
    """`owner` is for whom a link to its media is made; None for no link."""
    linked = content.file and owner is not None
    return {
        "id": content.id,
        "kind": str(content.kind),
        "task_id": content.task_id,
        "text": content.text,
        "profile": dict(content.profile),
        "media_url": media_url(content.file, owner=owner or "") if linked else None,
        "media_type": _media_type(content),
        "duration_s": content.duration_s or None,
        "sample_rate": content.sample_rate or None,
        "created_at": content.created_at,
    }


def _media_type(content: KeptContent) -> str | None:
    if not content.file:
        return None
    return content.media_type or TYPES[".wav"]


@router.get(
    "/tracks/{track_id}/waterfall.svg",
    auth=Bearer("tracks:read"),
    summary="Draw where the time of a Track went",
    openapi_extra={
        "responses": {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}}
    },
)
async def get_waterfall(request: HttpRequest, track_id: str) -> HttpResponse:
    """The critical path and the Tasks as a picture."""
    detail = await in_database(detail_of, principal_of(request), track_id)
    svg = waterfall_svg(_report(detail)).replace(
        "<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1
    )
    styled = svg.replace(">", f"><style>{CSS}</style>", 1)
    return HttpResponse(styled, content_type="image/svg+xml")


def _report(detail: Mapping[str, Any]) -> TurnReport:
    spans = tuple(Span(**{**row, "kind": SpanKind(row["kind"])}) for row in detail["spans"])
    return TurnReport(
        track_id=detail["track_id"],
        cluster=detail["cluster"],
        mode=detail["mode"],
        status=detail["status"],
        voice_to_voice_s=detail["voice_to_voice_s"],
        spans=spans,
        tasks=tuple(_task_report(task) for task in detail["tasks"]),
        error=detail["error"],
    )


def _task_report(task: Mapping[str, Any]) -> TaskReport:
    keys = ("name", "task_name", "status", "latency_profile", "result_profile")
    return TaskReport(**{key: task[key] for key in keys})


@router.post(
    "/tracks/{track_id}/cancel",
    auth=Bearer("tracks:cancel"),
    response={202: Cancelled},
    summary="Cancel a Track",
)
async def cancel_track(request: HttpRequest, track_id: str) -> Status[dict[str, Any]]:
    """Stop a Track, wherever it runs; one that has ended stays as it is."""
    row = await in_database(reading.track_row, principal_of(request), track_id)
    if not TrackStatus(row["status"]).ended:
        await current_node().cancel(track_id)
        row = await in_database(reading.track_row, principal_of(request), track_id)
    return Status(202, {"track_id": track_id, "status": row["status"]})


@router.post(
    "/tracks/{track_id}/rerun",
    auth=Bearer("tracks:start"),
    response={202: Accepted},
    summary="Run a Track's input again",
)
async def rerun_track(
    request: HttpRequest,
    response: HttpResponse,
    track_id: str,
    asked: Rerun,
    idempotency_key: IdempotencyKey = None,
) -> Status[Accepted]:
    """Another Track with the same input, through the same Cluster or another one."""
    principal = principal_of(request)
    row = await in_database(reading.track_row, principal, track_id)
    taken = await starting.start_again(
        request, principal, current_node(), row, cluster=asked.cluster, deliver=asked.deliver
    )
    news.tell()
    return _accepted(taken, response)
