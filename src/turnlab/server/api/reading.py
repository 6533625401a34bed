"""Reads rows for the API as plain values, each list in one query; call it off the event loop."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet

from turnlab.conversations import check_conversation_id
from turnlab.errors import Forbidden, InvalidRequest, UnknownConversation, UnknownTrack
from turnlab.server import models
from turnlab.server.api.schemas import TrackFilter
from turnlab.server.roles import Principal, may_read
from turnlab.tasks import Task
from turnlab.tracks import parse_track_id

READ_ALL = "tracks:read_all"

_TRACK = (
    "track_id",
    "cluster",
    "cluster_hash",
    "mode",
    "status",
    "priority",
    "owner",
    "project",
    "conversation_id",
    "created_at",
    "updated_at",
    "speech_s",
    "last_voiced_s",
    "voice_to_voice_s",
    "deliver",
    "played_at",
    "rerun_of",
    "error_code",
    "error_message",
)
"""The columns of a Track in a list: none of those that hold JSON, which may be long."""

_DETAIL = (*_TRACK, "spans", "host", "node", "request")


def track_page(principal: Principal, asked: TrackFilter) -> dict[str, Any]:
    """A page of the Tracks that `principal` may read, newest first."""
    rows = _filtered(_readable(models.Track.objects.all(), principal), asked)
    found = _page(rows, "track_id", asked.cursor, asked.limit, _TRACK)
    return {"items": [_track(row) for row in found["items"]], "next": found["next"]}


def track_row(principal: Principal, track_id: str) -> dict[str, Any]:
    """One Track with what was asked of it, as far as `principal` may read it.

    Raises UnknownTrack also where there is one that is somebody else's: who may not read a Track
    is not told whether there is such a one.
    """
    parse_track_id(track_id)
    row = models.Track.objects.filter(track_id=track_id).values(*_DETAIL).first()
    if row is None or not may_read(principal, row["owner"]):
        raise UnknownTrack(f"There is no Track {track_id}; GET /api/v1/tracks lists yours.")
    return {**_track(row), **{key: row[key] for key in ("spans", "host", "node", "request")}}


def require_own(principal: Principal, row: Mapping[str, Any]) -> None:
    """Raise Forbidden unless `row` is the Principal's own, or he is an administrator.

    Who may read what belongs to others may not write to it for that.
    """
    if row["owner"] != principal.owner and "admin" not in principal.scopes:
        raise Forbidden("It belongs to somebody else, who alone may change it; you may read it.")


def conversation_page(principal: Principal, cursor: str | None, limit: int) -> dict[str, Any]:
    """A page of the Conversations that `principal` may read, newest first."""
    rows = _readable(models.Conversation.objects.all(), principal).annotate(count=Count("tracks"))
    found = _page(rows, "id", cursor, limit, (*_CONVERSATION, "count"))
    return {"items": [_conversation(row) for row in found["items"]], "next": found["next"]}


_CONVERSATION = ("id", "owner", "project", "consent", "created_at")


def conversation_row(principal: Principal, conversation_id: str) -> dict[str, Any]:
    """One Conversation. Raises UnknownConversation, also where it is somebody else's."""
    check_conversation_id(conversation_id)
    rows = models.Conversation.objects.annotate(count=Count("tracks"))
    row = rows.filter(id=conversation_id).values(*_CONVERSATION, "count").first()
    if row is None or not may_read(principal, row["owner"]):
        raise UnknownConversation(
            f"There is no Conversation {conversation_id}; GET /api/v1/conversations lists yours."
        )
    return _conversation(row)


def _readable(rows: QuerySet[Any], principal: Principal) -> QuerySet[Any]:
    return rows if READ_ALL in principal.scopes else rows.filter(owner=principal.owner)


def _filtered(rows: QuerySet[models.Track], asked: TrackFilter) -> QuerySet[models.Track]:
    conditions: Mapping[str, Any] = {
        "cluster": asked.cluster,
        "status": asked.status,
        "owner": asked.owner,
        "conversation_id": asked.conversation,
        "created_at__gte": asked.since,
        "created_at__lt": asked.until,
        "voice_to_voice_s__gte": asked.min_latency,
    }
    return rows.filter(**{key: value for key, value in conditions.items() if value is not None})


def _page(
    rows: QuerySet[Any], key: str, cursor: str | None, limit: int, columns: Iterable[str]
) -> dict[str, Any]:
    """`limit` rows after the place that `cursor` names, and the cursor of what follows."""
    if cursor is not None:
        at, last = _place(cursor)
        rows = rows.filter(Q(created_at__lt=at) | Q(**{"created_at": at, f"{key}__lt": last}))
    found = list(rows.order_by("-created_at", f"-{key}").values(*columns)[: limit + 1])
    more = len(found) > limit
    items = found[:limit]
    return {"items": items, "next": _cursor(items[-1], key) if more else None}


def _cursor(row: Mapping[str, Any], key: str) -> str:
    place = json.dumps([row["created_at"].isoformat(), row[key]])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        at, last = json.loads(base64.urlsafe_b64decode(cursor))
        moment = datetime.fromisoformat(at)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        moment, last = None, None
    if moment is None or moment.tzinfo is None or not isinstance(last, str) or "\0" in last:
        raise InvalidRequest("query.cursor: is none that this server gave; leave it out.")
    return moment, last


def _track(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: row[key] for key in _TRACK if not key.startswith("error_")},
        "rerun_of": row["rerun_of"] or None,
        "error": failure(row["error_code"], row["error_message"]),
    }


def task_row(task: Task) -> dict[str, Any]:
    """A Task as the API tells it."""
    keys = ("id", "name", "task_name", "status", "worker", "attempt", "parameters", "created_at")
    made = task.result_json
    return {
        **{key: getattr(task, key) for key in keys},
        "result_profile": made.get("result_profile", {}),
        "latency_profile": made.get("latency_profile", {}),
        "error": failure(task.error_code, task.error_message),
    }


def failure(code: str, message: str) -> dict[str, str] | None:
    """Why something failed; None if it did not."""
    return {"code": code, "message": message} if code else None


def _conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: row[key] for key in _CONVERSATION}, "tracks": row["count"]}
