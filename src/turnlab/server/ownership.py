"""Which API process a Track belongs to: accepted, claimed, given up, adopted from the dead.

Each of these is one conditional UPDATE, so that of two processes exactly one succeeds; rows that
another one is at are skipped on PostgreSQL (SKIP LOCKED), and on SQLite one writer at a time is in.
All functions here use the ORM: call them off the event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from turnlab.conversations import Conversation
from turnlab.errors import IdempotencyConflict
from turnlab.server import models
from turnlab.server.requests import TrackRequest
from turnlab.tasks import TaskStatus
from turnlab.tracks import Track, TrackStatus

MOST_BEGINNINGS = 2
"""How often a Track may be begun: again once after the process that had it was lost."""


@dataclass(frozen=True, kw_only=True)
class Owned:
    """A Track that belongs to this process, and what is asked of it."""

    track_id: str
    request: TrackRequest
    owner: str
    project: str


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """An idempotency key, and the SHA-256 of the request that it came with."""

    key: str
    fingerprint: str


def repeated(owner: str, repeat: Repeat) -> str | None:
    """The Track of an earlier request under the key. Raises IdempotencyConflict."""
    row = models.IdempotencyKey.objects.filter(owner=owner, key=repeat.key).first()
    if row is None:
        return None
    if row.fingerprint != repeat.fingerprint:
        raise IdempotencyConflict()
    return row.track_id


def insert(
    track: Track,
    owned: Owned,
    *,
    node: str,
    new_conversation: Conversation | None = None,
    consent: str = "",
    repeat: Repeat | None = None,
) -> str:
    """Accept a Track, durably; `node` is who runs it, empty if it is to wait.

    Returns its id, or that of an earlier one under the same key. Raises IdempotencyConflict.
    """
    request, now = owned.request, datetime.now(UTC)
    try:
        with transaction.atomic():
            if repeat is not None:
                models.IdempotencyKey.objects.create(
                    owner=owned.owner,
                    key=repeat.key,
                    fingerprint=repeat.fingerprint,
                    track_id=track.track_id,
                    created_at=now,
                )
            if new_conversation is not None:
                models.Conversation.objects.create(
                    id=new_conversation.id,
                    created_at=new_conversation.created_at,
                    owner=owned.owner,
                    project=owned.project,
                    consent=consent,
                )
            models.Track.objects.create(
                **_columns(track),
                updated_at=now,
                owner=owned.owner,
                project=owned.project,
                priority=request.priority,
                request=request.as_json(),
                node=node,
                deliver=request.deliver,
                rerun_of=request.rerun_of,
            )
    except IntegrityError:
        earlier = repeated(owned.owner, repeat) if repeat else None
        if earlier is None:
            raise
        return earlier
    return track.track_id


def _columns(track: Track) -> dict[str, Any]:
    return {
        "track_id": track.track_id,
        "cluster": track.cluster,
        "cluster_hash": track.cluster_hash,
        "mode": track.mode,
        "status": track.status,
        "conversation_id": track.conversation_id,
        "speech_s": track.speech_s,
        "last_voiced_s": track.last_voiced_s,
        "host": track.host,
        "created_at": track.created_at,
    }


def count_waiting() -> int:
    """How many accepted Tracks wait to be begun."""
    return models.Track.objects.filter(status=TrackStatus.PENDING).count()


def claim_waiting(node: str, rooms: Mapping[str, int], limit: int) -> tuple[list[Owned], bool]:
    """Make up to `limit` waiting Tracks this process's own, live ones first; and whether more wait.

    `rooms` tells how many of each Cluster may be taken.
    """
    waiting = models.Track.objects.filter(status=TrackStatus.PENDING, cluster__in=list(rooms))
    left = Counter(rooms)
    with transaction.atomic():
        found = _locked(waiting.order_by("-priority", "created_at"), limit)
        fitting = []
        for row in found:
            if left[row["cluster"]] > 0:
                left[row["cluster"]] -= 1
                fitting.append(row)
        taken = _taken(fitting, node)
    return taken, len(found) == limit or len(taken) < len(found)


def under_way(node: str) -> list[str]:
    """The Tracks that this process runs, as the table has it."""
    mine = models.Track.objects.filter(node=node, status=TrackStatus.STARTED)
    return list(mine.values_list("track_id", flat=True))


def take_again(node: str, track_ids: Collection[str]) -> list[Owned]:
    """Tracks of this process that it does not run, as if it had inherited them."""
    mine = models.Track.objects.filter(node=node, status=TrackStatus.STARTED)
    with transaction.atomic():
        return _taken(_locked(mine.filter(track_id__in=track_ids), len(track_ids)), node)


def is_kept(track_id: str) -> bool:
    """Whether there is such a Track."""
    return models.Track.objects.filter(track_id=track_id).exists()


def adopt(node: str, dead: Collection[str], limit: int = 100) -> list[Owned]:
    """Make Tracks of processes that are gone this process's own."""
    left = models.Track.objects.filter(status=TrackStatus.STARTED, node__in=dead)
    with transaction.atomic():
        return _taken(_locked(left.order_by("created_at"), limit), node)


def _locked(tracks: QuerySet[models.Track], limit: int) -> list[dict[str, Any]]:
    """The first of them that no other process is at; none may be at these until the commit."""
    rows = tracks.select_for_update(skip_locked=True)
    found = rows.values("track_id", "cluster", "request", "owner", "project")[:limit]
    return [dict(row) for row in found]


def _taken(rows: Iterable[Mapping[str, Any]], node: str) -> list[Owned]:
    """Make locked Tracks the process's own."""
    taken = [_owned(row) for row in rows]
    for each in taken:
        models.Track.objects.filter(track_id=each.track_id).update(
            node=node, status=TrackStatus.STARTED, request=each.request.as_json()
        )
    return taken


def _owned(row: Mapping[str, Any]) -> Owned:
    request = TrackRequest.from_json(row["request"])
    return Owned(
        track_id=row["track_id"],
        request=request,
        owner=row["owner"],
        project=row["project"],
    )


def may_begin_again(owned: Owned) -> bool:
    """Whether nothing of it had been begun by a Worker, and it was not begun twice already."""
    tasks = models.Task.objects.filter(track_id=owned.track_id)
    untouched = not tasks.exclude(status=TaskStatus.PENDING).exists()
    return untouched and owned.request.begun < MOST_BEGINNINGS


def drop_untouched_tasks(track_id: str) -> None:
    """Forget Tasks that were created and never run: the Track begins again and makes new ones."""
    models.Task.objects.filter(track_id=track_id, status=TaskStatus.PENDING).delete()


def put_back(node: str, track_ids: Collection[str]) -> None:
    """Let Tracks that were not begun wait again, for whoever has room."""
    mine = models.Track.objects.filter(track_id__in=track_ids, node=node)
    mine.filter(status=TrackStatus.STARTED).update(node="", status=TrackStatus.PENDING)


def note_beginning(owned: Owned) -> Owned:
    """Count that the Track is begun, just before it is."""
    request = replace(owned.request, begun=owned.request.begun + 1)
    models.Track.objects.filter(track_id=owned.track_id).update(request=request.as_json())
    return replace(owned, request=request)


def lost(node: str, track_ids: Collection[str]) -> list[str]:
    """Those of these Tracks that another process has taken over."""
    taken = models.Track.objects.filter(track_id__in=track_ids).exclude(node=node)
    return list(taken.values_list("track_id", flat=True))


def cancel_waiting(track_id: str) -> bool:
    """Cancel a Track that nobody has begun; False if it is not one."""
    waiting = models.Track.objects.filter(track_id=track_id, status=TrackStatus.PENDING)
    return bool(waiting.update(status=TrackStatus.CANCELLED, updated_at=datetime.now(UTC)))


def ask_to_cancel(track_id: str) -> None:
    """Have the process that runs the Track cancel it."""
    models.Track.objects.filter(track_id=track_id).update(cancel_asked=True)


def to_be_cancelled(node: str) -> list[str]:
    """The Tracks of this process that somebody elsewhere wants cancelled."""
    mine = models.Track.objects.filter(node=node, status=TrackStatus.STARTED, cancel_asked=True)
    return list(mine.values_list("track_id", flat=True))


def beat(node: str, url: str, version: str, started_at: datetime) -> None:
    """Say that this process is alive. By the database's clock: the processes' own may differ."""
    values = {"url": url, "version": version, "started_at": started_at, "heartbeat_at": Now()}
    if not models.Node.objects.filter(id=node).update(**values):
        models.Node.objects.create(id=node, **values)


def others(node: str) -> list[models.Node]:
    """The other API processes."""
    return list(models.Node.objects.exclude(id=node))


def silent(lease_s: float) -> set[str]:
    """The processes that have not said for longer than `lease_s` that they are alive."""
    oldest = Now() - timedelta(seconds=lease_s)
    return set(models.Node.objects.filter(heartbeat_at__lt=oldest).values_list("id", flat=True))


def forget_node(node: str) -> None:
    """The process is gone, and nothing belongs to it any more."""
    if not models.Track.objects.filter(node=node, status=TrackStatus.STARTED).exists():
        models.Node.objects.filter(id=node).delete()
        gone = models.Worker.objects.filter(node=node, disconnected_at=None)
        gone.update(disconnected_at=datetime.now(UTC))
