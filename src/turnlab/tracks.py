"""Tracks: one turn through one Cluster. The only place that makes and parses a track_id."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from turnlab.errors import InvalidTrackId

CLUSTER_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")
_TRACK_ID = re.compile(rf"T-({CLUSTER_NAME.pattern})-([0-9a-f]{{32}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedTrackId:
    """The two parts of a track_id: the Cluster's name and 32 hex digits."""

    cluster_name: str
    uid: str


def new_track_id(cluster_name: str) -> str:
    """A fresh `T-{cluster_name}-{32 hex digits}`. Raises InvalidTrackId on a bad name."""
    if not CLUSTER_NAME.fullmatch(cluster_name):
        raise InvalidTrackId(
            f"{cluster_name!r} cannot name a Cluster: use 1 to 128 of A-Z a-z 0-9 _."
        )
    return f"T-{cluster_name}-{uuid.uuid4().hex}"


def parse_track_id(track_id: str) -> ParsedTrackId:
    """Split a track_id into its parts. Raises InvalidTrackId unless all of it is well formed."""
    match = _TRACK_ID.fullmatch(track_id) if isinstance(track_id, str) else None
    if match is None:
        raise InvalidTrackId(
            f"{str(track_id)[:200]!r} is no track_id: it is T-{{cluster_name}}-{{32 hex digits}}."
        )
    return ParsedTrackId(cluster_name=match[1], uid=match[2])


class Mode(StrEnum):
    """When the Router creates the next Task: after its predecessor, or at the first Chunk."""

    STREAMED = "streamed"
    CHAINED = "chained"


class TrackStatus(StrEnum):
    """How far a Track has come. `pending`: accepted, and waits until there is room to run it."""

    PENDING = "pending"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self not in (TrackStatus.PENDING, TrackStatus.STARTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Which turn of which Run a Track is."""

    run_id: str
    turn_id: str
    """The id of the turn in its dataset."""
    repeat: int
    """Which repetition, from 1; 0 is a warm-up, which belongs in no statistics."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """The record of one turn. Durations are in seconds, `created_at` is an aware datetime."""

    track_id: str
    cluster: str
    cluster_hash: str
    mode: Mode
    created_at: datetime
    status: TrackStatus = TrackStatus.STARTED
    conversation_id: str | None = None
    """The Conversation that it belongs to, if any."""
    speech_s: float | None = None
    """Length of the recording."""
    last_voiced_s: float | None = None
    """Where in the recording the last voiced sample lies."""
    voice_to_voice_s: float | None = None
    """From the last voiced sample to the first audible sample of the reply."""
    spans: tuple[dict[str, Any], ...] = ()
    """The critical path, from the last voiced sample at 0; see profiles.Span."""
    error_code: str = ""
    error_message: str = ""
    host: dict[str, Any] = field(default_factory=dict)
    """Hardware and versions that the figures belong to."""
    run_id: str = ""
    """The Run that it is part of, if any; with `turn_id` and `repeat`, see Replay."""
    turn_id: str = ""
    repeat: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    """Of a turn of a Run: `cpu_s`, the process's time on all cores while it ran, and
    `peak_mib`, the most memory that the process had held by its end."""
