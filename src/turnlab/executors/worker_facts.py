"""A worker as records have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """A worker as records have it."""

    id: str
    name: str
    transport: str
    principal: str
    tasks: tuple[dict[str, Any], ...]
    """Of each Module: task_name, version, loaded, places."""
    hardware: Mapping[str, Any]
    pid: int
    concurrency: int
    running: int
    memory_mib: float
    draining: bool
    clock_offset_s: float
    """Its monotonic clock less this process's."""
    round_trip_s: float
