"""How the service fares: plain figures over the tables, for the admin and for metrics."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Count, F, Min, Q, QuerySet
from django.db.models.expressions import RawSQL

from turnlab.server import models
from turnlab.tasks import TaskStatus
from turnlab.tracks import TrackStatus

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The Tasks of one name that have not ended; ages in seconds."""

    task_name: str
    waiting: int
    running: int
    oldest_s: float | None
    """How long the oldest has waited; None if none waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How many Tracks that began within the last hour, and the last day, failed with `code`."""

    code: str
    hour: int
    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk that a folder lies on, in bytes."""

    folder: Path
    total: int
    free: int

    @property
    def free_share(self) -> float:
        """From 0 (full) to 1."""
        return self.free / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Tracks that wait for an API process and those under way."""

    waiting: int
    running: int
    oldest_s: float | None
    """How long the oldest has waited; None if none waits."""


def database_s() -> float:
    """How long the database takes to answer the smallest question. Raises DatabaseError."""
    start_s = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return time.perf_counter() - start_s


def track_queue(now: datetime | None = None) -> Waiting:
    """The Tracks that have not ended."""
    rows = models.Track.objects.filter(status=TrackStatus.PENDING.value)
    waiting = rows.aggregate(count=Count("track_id"), oldest=Min("created_at"))
    running = models.Track.objects.filter(status=TrackStatus.STARTED.value).count()
    return Waiting(
        waiting=waiting["count"], running=running, oldest_s=_age_s(waiting["oldest"], now)
    )


def unfinished_tasks() -> QuerySet[models.Task]:
    """The Tasks that have not ended, read through the partial index `task_unfinished`.

    SQLite takes a partial index only where it sees the condition itself, so the statuses stand in
    the statement and are no parameters of it.
    """
    return models.Task.objects.filter(unfinished())


def unfinished() -> RawSQL:
    """The condition of that index, for Tasks."""
    statuses = ", ".join(f"'{status.value}'" for status in TaskStatus if not status.ended)
    condition = f"{models.Task._meta.db_table}.status IN ({statuses})"
    return RawSQL(condition, (), output_field=BooleanField())


def task_queues(now: datetime | None = None) -> list[Queue]:
    """The Tasks that have not ended, by task_name, the most waited-for first."""
    waits, runs = Q(status=TaskStatus.PENDING.value), Q(status=TaskStatus.STARTED.value)
    found = (
        unfinished_tasks()
        .values("task_name")
        .annotate(
            waiting=Count("id", filter=waits),
            running=Count("id", filter=runs),
            oldest=Min("created_at", filter=waits),
        )
        .order_by("-waiting", "task_name")
    )
    return [_queue({**row}, now) for row in found]


def _queue(row: Mapping[str, Any], now: datetime | None) -> Queue:
    counts = {key: row[key] for key in ("task_name", "waiting", "running")}
    return Queue(**counts, oldest_s=_age_s(row["oldest"], now))


def failures(now: datetime | None = None) -> list[Failures]:
    """Failed Tracks by the code of their error, the most frequent of the day first."""
    now = now or datetime.now(UTC)
    failed = models.Track.objects.filter(status=TrackStatus.FAILED.value, created_at__gte=now - DAY)
    rows = failed.values(code=F("error_code")).annotate(
        day=Count("track_id"), hour=Count("track_id", filter=Q(created_at__gte=now - HOUR))
    )
    return [Failures(**row) for row in rows.order_by("-day", "code")]


def live_workers(lease_s: float, now: datetime | None = None) -> list[models.Worker]:
    """The Workers that are connected and heard of within `lease_s` seconds, by name."""
    since = (now or datetime.now(UTC)) - timedelta(seconds=lease_s)
    rows = models.Worker.objects.filter(heartbeat_at__gte=since, disconnected_at=None)
    return list(rows.order_by("name", "id"))


def live_nodes(lease_s: float, now: datetime | None = None) -> list[models.Node]:
    """The API processes heard of within `lease_s` seconds, the oldest first."""
    since = (now or datetime.now(UTC)) - timedelta(seconds=lease_s)
    return list(models.Node.objects.filter(heartbeat_at__gte=since).order_by("started_at"))


def disks(folders: Iterable[Path]) -> list[Disk]:
    """The disks of those folders that there are, each disk once."""
    found: dict[int, Disk] = {}
    for folder in (each for each in folders if each.exists()):
        usage = shutil.disk_usage(folder)
        disk = Disk(folder=folder, total=usage.total, free=usage.free)
        found.setdefault(folder.stat().st_dev, disk)
    return list(found.values())


def _age_s(moment: datetime | None, now: datetime | None) -> float | None:
    if moment is None:
        return None
    return max(0.0, ((now or datetime.now(UTC)) - moment).total_seconds())
