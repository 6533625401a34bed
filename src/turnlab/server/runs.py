"""The Runs in the database: begun, gone on with, read back, deleted. Call it off the event loop."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet

from turnlab.errors import RunUnderWay, UnknownRun
from turnlab.home import home_folder, make_folder
from turnlab.runs import LAST, Run, RunStatus, check_run_id
from turnlab.server import models
from turnlab.server.audit import audit
from turnlab.server.deleting import AT_ONCE, batches, delete_tracks, raw_delete, settle
from turnlab.server.roles import LOCAL
from turnlab.server.tally import Tally
from turnlab.tasks import TaskStatus
from turnlab.tracks import TrackStatus

TurnKey = tuple[str, str, str, int]
"""Cluster, mode, turn and repetition."""

_LOST = "The process that ran it ended before it did; it was run again when its Run went on."


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Tracks:
    """How many Tracks of a Run have one status, by Cluster and mode, warm-ups left out."""

    cluster: str
    mode: str
    status: str
    count: int


def of_run(run_id: str, way: str = "") -> Q:
    """What belongs to a Run, of a table whose `way` to the Track is such as `track__`.

    As the index by Run says it (track_by_run), or SQLite would read every Track there is.
    """
    return ~Q(**{f"{way}run_id": ""}) & Q(**{f"{way}run_id": run_id})


def begin_run(run: Run) -> None:
    """Keep that a Run begins."""
    models.Run.objects.create(**asdict(run))


def end_run(run_id: str) -> None:
    """Every turn of the Run has ended."""
    models.Run.objects.filter(id=run_id).update(status=RunStatus.COMPLETED)


def get_run(which: str) -> Run:
    """The Run of this id, else the newest one of this name; `last` is the newest of all.

    Raises UnknownRun.
    """
    rows = models.Run.objects.order_by("-created_at", "-id")
    by = rows if which == LAST else rows.filter(Q(id=which) | Q(name=which))
    row = by.values().first() if which else None
    if row is None:
        known = "There is no Run yet" if which == LAST else f"There is no Run {which[:80]!r}"
        raise UnknownRun(f"{known}; `turnlab runs list` shows those there are.")
    return _run(row)


def list_runs(limit: int = 20) -> list[tuple[Run, int]]:
    """The newest Runs first, and how many of its turns have completed or failed."""
    rows = models.Run.objects.order_by("-created_at", "-id").values()[:limit]
    return [(_run(row), _ended(row["id"]).count()) for row in rows]


def ended_turns(run_id: str) -> set[TurnKey]:
    """The turns of the Run that completed or failed, warm-ups left out."""
    rows = _ended(run_id).values_list("cluster", "mode", "turn_id", "repeat")
    return set(rows.iterator())


def count_tracks(run_id: str) -> list[Tracks]:
    """How many Tracks of the Run there are by Cluster, mode and status."""
    rows = models.Track.objects.filter(of_run(run_id), repeat__gt=0).order_by()
    counted = rows.values("cluster", "mode", "status").annotate(count=Count("*"))
    return sorted(Tracks(**row) for row in counted)


def close_lost(run_id: str) -> int:
    """Mark as cancelled what a process left unfinished that was killed; how many Tracks.

    Only for whoever holds the Run, see `holding`.
    """
    with transaction.atomic():
        lost = models.Track.objects.filter(of_run(run_id), status=TrackStatus.STARTED)
        unfinished = [status.value for status in TaskStatus if not status.ended]
        tasks = models.Task.objects.filter(track__in=lost, status__in=unfinished)
        tasks.update(status=TaskStatus.CANCELLED)
        return lost.update(status=TrackStatus.CANCELLED, error_message=_LOST)


@contextmanager
def holding(run_id: str) -> Iterator[None]:
    """Be the one process that runs turns of this Run. Raises RunUnderWay if another one does.

    The lock goes with the process that holds it. In PostgreSQL it is an advisory one, on a
    connection of its own, so that it holds for all machines that share the database; otherwise it
    is on a file of the home folder.
    """
    check_run_id(run_id)
    with _database_lock(run_id) if connection.vendor == "postgresql" else _file_lock(run_id):
        yield


@contextmanager
def _database_lock(run_id: str) -> Iterator[None]:
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_lock_key(run_id)])
            if not cursor.fetchone()[0]:
                raise _under_way(run_id)
        yield
    finally:
        own.close()


def _lock_key(run_id: str) -> int:
    digest = hashlib.sha256(f"turnlab run {run_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def _file_lock(run_id: str) -> Iterator[None]:
    folder = home_folder() / "runs"
    make_folder(folder)
    with (folder / f"{run_id}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _under_way(run_id) from None
        yield


def _under_way(run_id: str) -> RunUnderWay:
    return RunUnderWay(f"{run_id} is being run by another process; let it end, or stop it.")


def delete_run(run_id: str, *, dry_run: bool = False) -> Tally:
    """Delete a Run, by its id, with its Tracks, Conversations and their media. Raises UnknownRun.

    `dry_run` only counts. Raises RunUnderWay while a process runs turns of it.
    """
    get_run(check_run_id(run_id))
    tally = Tally()
    if dry_run:
        for ids in batches(models.Track.objects.filter(of_run(run_id))):
            delete_tracks(ids, tally, dry_run=True)
        return tally
    with _deleting(run_id):
        try:
            _delete(run_id, tally)
        finally:  # also of what is cut off
            audit(LOCAL, "purge", f"Run {run_id}", tally.as_json())
    settle()
    return tally


def drop_empty_runs(ids: Iterable[str], tally: Tally) -> None:
    """Delete those of these Runs that have no Track any more, and that no process runs."""
    for run_id in sorted(ids):
        if not models.Track.objects.filter(of_run(run_id)).exists():
            with suppress(RunUnderWay), _deleting(run_id):
                _delete(run_id, tally)


@contextmanager
def _deleting(run_id: str) -> Iterator[None]:
    """Hold the Run for the last time. Raises RunUnderWay."""
    with holding(run_id):
        yield
        (home_folder() / "runs" / f"{run_id}.lock").unlink(missing_ok=True)


def _delete(run_id: str, tally: Tally) -> None:
    tracks = models.Track.objects.filter(of_run(run_id))
    talks = set(tracks.exclude(conversation=None).values_list("conversation_id", flat=True))
    for ids in batches(tracks):
        delete_tracks(ids, tally)
    ordered = sorted(talks)
    for start in range(0, len(ordered), AT_ONCE):
        some = ordered[start : start + AT_ONCE]
        empty = models.Conversation.objects.filter(id__in=some, tracks=None)
        ids = list(empty.values_list("id", flat=True))
        tally.conversations += raw_delete(models.Conversation.objects.filter(id__in=ids))
    tally.row("Run", raw_delete(models.Run.objects.filter(id=run_id)))


def _ended(run_id: str) -> QuerySet[models.Track]:
    ended = (TrackStatus.COMPLETED, TrackStatus.FAILED)
    return models.Track.objects.filter(of_run(run_id), repeat__gt=0, status__in=ended)


def _run(row: Mapping[str, Any]) -> Run:
    values = {f.name: row[f.name] for f in fields(Run)}
    return Run(**values | {"status": RunStatus(row["status"])})
