"""Runs: a dataset replayed through Clusters, and what its figures belong to."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from turnlab.errors import InvalidRequest, UnknownRun

_RUN_ID = re.compile(r"R-\d{8}T\d{6}-[0-9a-f]{6}")

LAST = "last"
"""What the newest Run is called."""

LONGEST_NAME = 128
"""Characters."""


class RunStatus(StrEnum):
    """`started` until every turn has ended: an interrupted Run can be resumed."""

    STARTED = "started"
    COMPLETED = "completed"


@dataclass(frozen=True, kw_only=True)
class Run:
    """The record of a Run. Its turns are Tracks that carry its id."""

    id: str
    created_at: datetime
    status: RunStatus = RunStatus.STARTED
    name: str = ""
    dataset: str = ""
    """The dataset's name."""
    dataset_hash: str = ""
    """Over everything in the dataset that a Cluster or a metric reads; see Dataset.content_hash."""
    turns: int = 0
    """How many Tracks it consists of when it is complete, warm-ups left out."""
    asked: dict[str, Any] = field(default_factory=dict)
    """What was asked for: `dataset` (its folder), `clusters`, `modes`, `repeat`, `concurrency`,
    `pace`, `budget` (texts), `overrides`."""
    pins: dict[str, Any] = field(default_factory=dict)
    """What the figures belong to: `clusters` (by name: hash, budget, components with Module,
    version, params), `host`, `git`, `turnlab`, `models`."""


def new_run_id() -> str:
    """Such as `R-20260131T093000-1a2b3c`: sorts by time, can be read aloud."""
    return f"R-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def check_run_id(run_id: str) -> str:
    """`run_id` if it is well formed. Raises UnknownRun."""
    if not _RUN_ID.fullmatch(run_id):
        raise UnknownRun(f"{run_id[:60]!r} is no id of a Run; `turnlab runs list` shows them.")
    return run_id


def check_run_name(name: str) -> str:
    """`name` if a Run can be called so, or is empty. Raises InvalidRequest."""
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"A Run's name has at most {LONGEST_NAME} characters, in one line.")
    if name == LAST or _RUN_ID.fullmatch(name):
        raise InvalidRequest(f"{name} means another Run; give this one a name of its own.")
    return name
