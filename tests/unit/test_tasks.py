"""Tasks: what a status may become, and ids that sort by time."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

import pytest

from turnlab.errors import InvalidTransition
from turnlab.tasks import Task, TaskStatus, new_id

ALLOWED = {
    ("pending", "started"),
    ("pending", "failed"),
    ("pending", "cancelled"),
    ("started", "completed"),
    ("started", "failed"),
    ("started", "cancelled"),
}


def task(status: TaskStatus = TaskStatus.PENDING) -> Task:
    return Task(
        id=new_id(),
        track_id="T-X-" + "0" * 32,
        name="reply",
        task_name="quantization_llm",
        parameters={},
        created_at=datetime.now(UTC),
        status=status,
    )


@pytest.mark.parametrize("after", TaskStatus)
@pytest.mark.parametrize("before", TaskStatus)
def test_only_what_can_follow_follows(before, after):
    first = task(before)
    if (before, after) in ALLOWED:
        following = first.to(after, error_code="x")
        assert (following.status, following.error_code, following.id) == (after, "x", first.id)
        assert first.status is before
    else:
        with pytest.raises(InvalidTransition, match=f"{before} Task cannot become {after}"):
            first.to(after)


def test_an_ended_status_is_one_that_nothing_follows():
    assert {status for status in TaskStatus if status.ended} == {"completed", "failed", "cancelled"}


def test_ids_are_uuids_of_version_7_that_sort_by_time(monkeypatch):
    ids = []
    for milliseconds in (1, 2, 3, 1_700_000_000_000, 1_700_000_000_001):
        monkeypatch.setattr(time, "time_ns", lambda ms=milliseconds: ms * 1_000_000)
        ids.append(new_id())
    assert ids == sorted(ids)
    for each in map(uuid.UUID, ids):
        assert each.version == 7
        assert each.variant == uuid.RFC_4122
    assert uuid.UUID(ids[3]).int >> 80 == 1_700_000_000_000


def test_ids_of_one_moment_differ():
    assert len({new_id() for _ in range(1_000)}) == 1_000
