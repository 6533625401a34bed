"""Reads the records back as the frozen dataclasses that were written; see setup.open_database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.db.models import Count, QuerySet

from turnlab.conversations import Conversation, Exchange, check_conversation_id
from turnlab.errors import UnknownConversation, UnknownTrack
from turnlab.records import ContentKind
from turnlab.server import models
from turnlab.server.media import KeptContent
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Mode, Track, TrackStatus, parse_track_id


def list_tracks(
    cluster: str | None = None, status: TrackStatus | None = None, limit: int = 20
) -> list[Track]:
    """The newest Tracks first, of one Cluster and in one status where given."""
    rows = models.Track.objects.order_by("-created_at")
    if cluster is not None:
        rows = rows.filter(cluster=cluster)
    if status is not None:
        rows = rows.filter(status=status)
    return [_track(row) for row in rows.values()[:limit]]


def get_track(track_id: str) -> tuple[Track, list[Task], list[KeptContent]]:
    """A Track, its Tasks and its contents, oldest first; `media.load_sound` reads a sound.

    Raises InvalidTrackId, UnknownTrack.
    """
    parse_track_id(track_id)
    row = models.Track.objects.filter(track_id=track_id).values().first()
    if row is None:
        raise UnknownTrack(
            f"There is no Track {track_id}; `turnlab tracks list` shows those there are."
        )
    tasks = models.Task.objects.filter(track_id=track_id).order_by("created_at", "id")
    return _track(row), [_task(each) for each in tasks.values()], _contents(track_id)


def list_conversations(limit: int = 20) -> list[tuple[Conversation, int]]:
    """The newest Conversations first, without their exchanges, and how many Tracks each has."""
    rows = models.Conversation.objects.annotate(count=Count("tracks")).order_by("-created_at")
    return [(Conversation(id=r.id, created_at=r.created_at), r.count) for r in rows[:limit]]


def get_conversation(conversation_id: str) -> Conversation:
    """A Conversation with its exchanges: those of its Tracks that completed, oldest first.

    Raises UnknownConversation.
    """
    row = models.Conversation.objects.filter(id=check_conversation_id(conversation_id)).first()
    if row is None:
        raise UnknownConversation(
            f"There is no Conversation {conversation_id}; `turnlab conversations list` shows "
            "those there are."
        )
    done = row.tracks.filter(status=TrackStatus.COMPLETED).order_by("created_at", "track_id")
    ids = list(done.values_list("track_id", flat=True))
    heard, written, spoken = (_texts(table, done) for table in _TEXTS)
    exchanges = [
        Exchange(text=heard.get(each, ""), reply=written.get(each) or spoken.get(each, ""))
        for each in ids
    ]
    return Conversation(id=row.id, created_at=row.created_at, exchanges=exchanges)


_TEXTS = (models.DataText, models.ResText, models.ResSpeech)


def _texts(
    table: type[models.DataText | models.ResText | models.ResSpeech],
    tracks: QuerySet[models.Track],
) -> dict[str, str]:
    """The newest text that the table has of each of the Tracks, by its id."""
    # Not a list of ids: a long Conversation has more than SQLite takes in one statement.
    rows = table._default_manager.filter(track_id__in=tracks.values("track_id"))
    found = rows.order_by("created_at", "id").values_list("track_id", "text")
    return dict(found.iterator())


def _contents(track_id: str) -> list[KeptContent]:
    found = []
    for kind in ContentKind:
        model: type[models.Content] = getattr(models, kind.value)
        rows = model._default_manager.filter(track_id=track_id).values()
        found += [KeptContent(kind=kind, **row) for row in rows]
    return sorted(found, key=lambda content: (content.created_at, content.id))


def _track(row: Mapping[str, Any]) -> Track:
    values = {f.name: row[f.name] for f in fields(Track)}
    values |= {
        "mode": Mode(row["mode"]),
        "status": TrackStatus(row["status"]),
        "spans": tuple(row["spans"]),
    }
    return Track(**values)


def _task(row: Mapping[str, Any]) -> Task:
    values = {f.name: row[f.name] for f in fields(Task)}
    return Task(**values | {"status": TaskStatus(row["status"])})
