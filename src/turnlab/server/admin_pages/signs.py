"""The figures of the health page, each with a state in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from turnlab.server import health
from turnlab.server.admin_pages.desk import here
from turnlab.server.admin_pages.look import State, ago, badge, lasting, mebibytes, moment
from turnlab.server.config import config

LATE_S, LOST_S = 10.0, 60.0
"""Waiting of a Task or a Track that calls for attention, and that nobody should put up with."""

SLOW_DATABASE_S = 0.25
SCARCE, OUT = 0.10, 0.02
"""Free share of a disk."""
BEHIND = 1_000
"""Records that wait to be written."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One figure: what it is of, the figure, and its state with a word for it."""

    name: str
    value: str
    state: State
    word: str

    @property
    def badge(self) -> str:
        """The word on its colour."""
        return badge(self.word, self.state)


def signs_context() -> dict[str, Any]:
    """All that the health page shows. A database that does not answer is a figure too."""
    now = datetime.now(UTC)
    try:
        answer_s = health.database_s()
    except DatabaseError as error:
        down = Sign("Database", str(error)[:200], State.BAD, "no answer")
        return {"signs": [down, *_disks()], "at": moment(now), "summary": down}
    lease_s = config().lease_s
    tracks, queues = health.track_queue(now), health.task_queues(now)
    workers, nodes = health.live_workers(lease_s, now), health.live_nodes(lease_s, now)
    failures = health.failures(now)
    signs = [
        _database(answer_s),
        _waiting("Waiting Tracks", tracks.waiting, tracks.oldest_s),
        _waiting(
            "Waiting Tasks",
            sum(queue.waiting for queue in queues),
            max((q.oldest_s for q in queues if q.oldest_s is not None), default=None),
        ),
        Sign("Tracks under way", str(tracks.running), State.GOOD, "ok"),
        _alive("API processes", len(nodes)),
        Sign("Workers", f"{len(workers)} connected", State.GOOD, "ok"),
        _failed(failures),
        *_journal(),
        *_disks(),
    ]
    return {
        "signs": signs,
        "summary": _summary(signs),
        "queues": [{"queue": each, "oldest": lasting(each.oldest_s)} for each in queues],
        "failures": failures,
        "workers": [{"row": row, "heard": ago(row.heartbeat_at, now)} for row in workers],
        "nodes": [{"row": row, "heard": ago(row.heartbeat_at, now)} for row in nodes],
        "at": moment(now),
    }


def _summary(signs: list[Sign]) -> Sign:
    """The worst of them, in a sentence."""
    for state, words in ((State.BAD, "Needs help"), (State.ATTENTION, "Needs attention")):
        names = [sign.name for sign in signs if sign.state is state]
        if names:
            return Sign(words, ", ".join(names), state, words)
    return Sign("All is well", "", State.GOOD, "ok")


def _database(answer_s: float) -> Sign:
    slow = answer_s > SLOW_DATABASE_S
    took = "under 1 ms" if answer_s < 0.001 else lasting(answer_s)
    value = f"answers in {took}"
    return Sign("Database", value, *((State.ATTENTION, "slow") if slow else _OK))


def _waiting(name: str, count: int, oldest_s: float | None) -> Sign:
    value = f"{count}, the oldest for {lasting(oldest_s)}" if oldest_s is not None else "none"
    return Sign(name, value, *_late(oldest_s or 0.0))


def _late(oldest_s: float) -> tuple[State, str]:
    if oldest_s > LOST_S:
        return State.BAD, "too long"
    return (State.ATTENTION, "late") if oldest_s > LATE_S else _OK


def _alive(name: str, count: int) -> Sign:
    return Sign(name, f"{count} alive", *(_OK if count else (State.BAD, "none")))


def _failed(failures: list[health.Failures]) -> Sign:
    hour, day = sum(each.hour for each in failures), sum(each.day for each in failures)
    value = f"{hour} in the last hour, {day} in the last day"
    return Sign("Failed Tracks", value, *((State.ATTENTION, "look") if hour else _OK))


def _journal() -> list[Sign]:
    node = here()
    if node is None:
        return []
    waiting = node.journal.waiting
    behind = (State.ATTENTION, "behind") if waiting > BEHIND else _OK
    return [Sign("Records to be written", f"{waiting:,}", *behind)]


def _disks() -> list[Sign]:
    folders = (Path(settings.TURNLAB_HOME), Path(settings.MEDIA_ROOT))
    return [_disk(disk) for disk in health.disks(folders)]


def _disk(disk: health.Disk) -> Sign:
    value = f"{mebibytes(disk.free)} of {mebibytes(disk.total)} free"
    share = disk.free_share
    state = (State.BAD, "full") if share < OUT else _OK
    if OUT <= share < SCARCE:
        state = (State.ATTENTION, "scarce")
    return Sign(f"Disk of {disk.folder.name or disk.folder}", value, *state)


_OK = (State.GOOD, "ok")
