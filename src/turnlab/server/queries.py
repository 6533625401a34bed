"""Reads the records back as the frozen dataclasses that were written; see setup.open_database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from turnlab.errors import UnknownTrack
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
