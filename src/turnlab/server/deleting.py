"""Deletes what is kept of Tracks: rows in bounded transactions, then the files that they named.

Rows go first. A process that is killed in between leaves files without a row, which
`server.leftovers` finds; the other way round it would leave rows that promise a file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from turnlab.records import ContentKind
from turnlab.server import models
from turnlab.server.incoming import FOLDER as UPLOADS
from turnlab.server.tally import Tally
from turnlab.tracks import TrackStatus

AT_ONCE = 200
"""Tracks in one transaction, so that the journal's writes get their turn."""

LONGEST_TRACK = timedelta(days=1)
"""A Track under way that is older was lost with its process, if that has been silent as long."""

MEDIA: tuple[type[Any], ...] = (models.DataAudio, models.DataImage, models.ResSpeech)
CONTENTS: tuple[type[Any], ...] = tuple(getattr(models, kind.value) for kind in ContentKind)

FORGOTTEN = "forgotten"
"""The key in a Track's `request` that says that its contents were deleted."""

_LONGEST_PAUSE_S = 0.1


def ended(now: datetime) -> Q:
    """Tracks that nothing runs any more, nor will: one that waits may do so for days."""
    over = [status.value for status in TrackStatus if status.ended]
    oldest = now - LONGEST_TRACK
    alive = models.Node.objects.filter(heartbeat_at__gte=oldest).values("id")
    old = Q(status=TrackStatus.STARTED.value, created_at__lt=oldest)
    return Q(status__in=over) | (old & ~Q(node__in=alive))


def batches(tracks: QuerySet[models.Track], most: int | None = None) -> Iterator[list[str]]:
    """The ids of `tracks`, oldest first, `AT_ONCE` at a time and at most `most` together.

    Each batch is a query of its own from where the last one ended, and leaves other processes
    as much time as the work on it took.
    """
    place: tuple[datetime, str] | None = None
    given = 0
    while most is None or given < most:
        size = AT_ONCE if most is None else min(AT_ONCE, most - given)
        page = tracks.order_by("created_at", "track_id")
        if place is not None:
            at, after = place
            page = page.filter(Q(created_at__gt=at) | Q(created_at=at, track_id__gt=after))
        found = list(page.values_list("created_at", "track_id")[:size])
        if not found:
            return
        began_s = time.monotonic()
        yield [track_id for _, track_id in found]
        given += len(found)
        place = found[-1]
        time.sleep(min(_LONGEST_PAUSE_S, time.monotonic() - began_s))


def with_reruns(tracks: QuerySet[models.Track]) -> Iterator[list[str]]:
    """The ids of `tracks` and of those that run one of them again, in batches."""
    waiting = [tracks]
    while waiting:
        for ids in batches(waiting.pop()):
            yield ids
            waiting.append(models.Track.objects.filter(rerun_of__in=ids))


def delete_tracks(ids: list[str], tally: Tally, *, dry_run: bool = False) -> None:
    """Delete these Tracks with all that belongs to them, and count it."""
    names = media_of(ids)
    if dry_run:
        _count(ids, tally)
    else:
        with _writing():
            _delete_rows(ids, tally)
    delete_files(names, tally, dry_run=dry_run)


def drop_media(ids: list[str], now: datetime, tally: Tally) -> None:
    """Delete the sounds and pictures of these Tracks; texts and figures stay."""
    names = media_of(ids)
    with _writing():
        for table in MEDIA:
            table._default_manager.filter(track_id__in=ids).exclude(file="").update(file="")
        _rewrite_requests(ids, ("audio", "images"))
        changed = models.Track.objects.filter(track_id__in=ids).update(media_deleted_at=now)
    tally.tracks += changed
    delete_files(names, tally)


def drop_contents(ids: list[str], now: datetime, tally: Tally) -> None:
    """Delete all that was said, shown, heard, found and replied in these Tracks.

    Of the Tracks and Tasks the figures stay, that is status, error code, latency and spans;
    what an error said goes too, since it may quote the user.
    """
    names = media_of(ids)
    with _writing():
        _delete_contents(ids, tally)
        _forget_results(ids)
        _forget_requests(ids)
        # Scores stay; what was said of the reply may quote it.
        models.Annotation.objects.filter(track_id__in=ids).update(comment="")
        tracks = models.Track.objects.filter(track_id__in=ids)
        tally.tracks += tracks.update(media_deleted_at=now)
    delete_files(names, tally)


def media_of(ids: list[str]) -> list[str]:
    """The names of the files that these Tracks have in the media storage."""
    names: dict[str, None] = {}
    for table in MEDIA:
        rows = table._default_manager.filter(track_id__in=ids).exclude(file="")
        names.update(dict.fromkeys(rows.values_list("file", flat=True)))
    requests = models.Track.objects.filter(track_id__in=ids).values_list("request", flat=True)
    for request in requests:
        names.update(dict.fromkeys(uploads_of(request)))
    return list(names)


def uploads_of(request: Any) -> list[str]:
    """The names of the files that a request for a Track came with.

    Not those of an earlier Track that it runs again, which belong to that one.
    """
    if not isinstance(request, dict):
        return []
    names = [request.get("audio"), *(request.get("images") or ())]
    return [name for name in names if isinstance(name, str) and name.startswith(f"{UPLOADS}/")]


def delete_files(names: Iterable[str], tally: Tally, *, dry_run: bool = False) -> None:
    """Delete these files from the storage and count their bytes; what fails is told."""
    for name in names:
        try:
            size = default_storage.size(name)
            if not dry_run:
                default_storage.delete(name)
        except FileNotFoundError:
            tally.is_missing(name)
        except (OSError, SuspiciousOperation) as error:
            tally.has_failed(name, error)
        else:
            tally.files += 1
            tally.bytes += size


def raw_delete(rows: QuerySet[Any]) -> int:
    """Delete rows that nothing refers to any more, and return how many.

    Django's own `delete` would first look for what refers to them: contents by their Task, which
    has no index.
    """
    return rows._raw_delete(rows.db) or 0


def settle() -> None:
    """Have SQLite write what was deleted into its one file, and empty its log."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _writing() -> Iterator[None]:
    """One transaction, in which SQLite overwrites what is deleted instead of unlinking it."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = ON")
    with transaction.atomic():
        yield


def _delete_rows(ids: list[str], tally: Tally) -> None:
    _delete_contents(ids, tally)
    tally.row("Task", raw_delete(models.Task.objects.filter(track_id__in=ids)))
    tally.row("Annotation", raw_delete(models.Annotation.objects.filter(track_id__in=ids)))
    raw_delete(models.IdempotencyKey.objects.filter(track_id__in=ids))
    tally.tracks += raw_delete(models.Track.objects.filter(track_id__in=ids))


def _delete_contents(ids: list[str], tally: Tally) -> None:
    for table in CONTENTS:
        rows = table._default_manager.filter(track_id__in=ids)
        tally.row(table.__name__, raw_delete(rows))


def _count(ids: list[str], tally: Tally) -> None:
    tables: tuple[type[Any], ...] = (*CONTENTS, models.Task, models.Annotation)
    for table in tables:
        tally.row(table.__name__, table._default_manager.filter(track_id__in=ids).count())
    tally.tracks += len(ids)


def _forget_results(ids: list[str]) -> None:
    tasks = list(models.Task.objects.filter(track_id__in=ids).only("id", "result_json"))
    for task in tasks:
        latency = task.result_json.get("latency_profile", {})
        task.result_json = {"result_profile": {}, "latency_profile": latency}
        task.error_message = ""
    models.Task.objects.bulk_update(tasks, ["result_json", "error_message"], batch_size=AT_ONCE)


def _forget_requests(ids: list[str]) -> None:
    """Keep of what was asked for only that it is forgotten."""
    tracks = models.Track.objects.filter(track_id__in=ids)
    tracks.update(request={FORGOTTEN: True}, error_message="")


def _rewrite_requests(ids: list[str], keys: tuple[str, ...]) -> None:
    """Take `keys` out of what was asked for."""
    rows = models.Track.objects.filter(track_id__in=ids).only("track_id", "request")
    changed = [
        row for row in rows if isinstance(row.request, dict) and set(keys) & set(row.request)
    ]
    for row in changed:
        row.request = {key: value for key, value in row.request.items() if key not in keys}
    models.Track.objects.bulk_update(changed, ["request"], batch_size=AT_ONCE)
