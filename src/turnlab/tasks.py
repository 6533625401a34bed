"""Tasks: one run of one task Component in one Track, and what a Task may become."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from turnlab.errors import InvalidTransition


class TaskStatus(StrEnum):
    """How far a Task has come."""

    PENDING = "pending"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self not in (TaskStatus.PENDING, TaskStatus.STARTED)


_NEXT = {
    TaskStatus.PENDING: {TaskStatus.STARTED, TaskStatus.FAILED, TaskStatus.CANCELLED},
    TaskStatus.STARTED: {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED},
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """The record of a Task; `to()` makes its successor and refuses what cannot follow."""

    id: str
    track_id: str
    name: str
    """The Component's name; Tasks are aggregated by it."""
    task_name: str
    """What a Module performs."""
    parameters: dict[str, Any]
    created_at: datetime
    status: TaskStatus = TaskStatus.PENDING
    worker: str = ""
    """Who took it: the id of a Worker, `embedded`, or empty while nobody has."""
    attempt: int = 1
    """2 once it was given to another Worker after the first was lost."""
    result_json: dict[str, Any] = field(default_factory=dict)
    """`result_profile` and `latency_profile`."""
    trace: dict[str, Any] = field(default_factory=dict)
    """Of a turn of a Run: what left it when, and why; see turn_trace."""
    error_code: str = ""
    error_message: str = ""

    def to(self, status: TaskStatus, **changes: Any) -> Task:
        """The same Task with a later status. Raises InvalidTransition if it cannot follow."""
        if status not in _NEXT.get(self.status, set()):
            raise InvalidTransition(f"A {self.status} Task cannot become {status}.")
        return replace(self, status=status, **changes)


def new_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): ids made by the client that sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))
