"""What Runs have recorded of Components: the traces that predictions are made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnlab.profiles import USER


@dataclass(frozen=True, kw_only=True)
class Part:
    """A Component as a Cluster has it."""

    name: str
    task_name: str
    produces: str
    """The kind of its Chunks."""
    reads: Mapping[str, str]
    """The producer of each kind that it reads: a Component's name, or `user`."""
    needs: tuple[str, ...] = ()
    """The producers whose first Chunk begins it, where Components overlap; none: any of `reads`."""
    after: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    code: str | None = None
    places: int = 8
    """How many Tasks one instance has room for."""
    lanes: int = 8
    """How many of them compute at once; the others wait."""
    batches: bool = False
    """Whether these share each step of the model."""
    can_pause: bool = False
    instance: str = ""
    """Components of equal instance share places."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """Versions or hashes of the engines and models that it uses, where they are known."""

    @property
    def key(self) -> str:
        """Equal for Components that do the same, whatever they read from."""
        told = [self.task_name, self.version, self.code, dict(self.params), self.produces]
        return _hash([*told, dict(self.made_with)])


@dataclass(frozen=True, kw_only=True)
class TracedTask:
    """One Task. Moments are in seconds since the start of its Track."""

    part: str
    created_s: float
    claimed_s: float
    chunks: Sequence[Sequence[Any]]
    """See turn_trace.Trace."""
    end: Sequence[Any]
    intervals: Sequence[Sequence[Any]]
    cpu_s: float | None
    cost_usd: float | None = 0.0


@dataclass(frozen=True, kw_only=True)
class TracedTurn:
    """One completed Track of a Run whose reply was heard."""

    track_id: str
    turn_id: str
    repeat: int
    speech_s: float
    last_voiced_s: float
    voice_to_voice_s: float
    playout_s: float
    """From reading the first audible Speech to its first audible sample."""
    began_s: float
    """On the calendar's clock, to order Tracks and to see what lay between them."""
    tasks: Mapping[str, TracedTask]


@dataclass(frozen=True, kw_only=True)
class Group:
    """All turns of one Cluster in one mode of one Run."""

    run_id: str
    cluster: str
    mode: str
    pace: str
    concurrency: int
    cores: int
    hardware: str
    began: str
    """When the Run began (ISO 8601)."""
    parts: Mapping[str, Part]
    """By name, in the Cluster's order."""
    turns: tuple[TracedTurn, ...]
    dataset: str = ""
    """The hash of the dataset that its turns are of: equal ids in another one are other turns."""
    lost: int = 0
    """Tracks that failed, or ended without a reply that was heard; no part of `turns`."""

    def question(self, turn: TracedTurn) -> str:
        """Equal for repetitions of one turn of one dataset, in whichever Run."""
        return f"{self.dataset}/{turn.turn_id}"

    @property
    def questions(self) -> list[str]:
        """The different turns of the dataset that it holds, in order."""
        return sorted({self.question(turn) for turn in self.turns})

    def __str__(self) -> str:
        return f"{self.run_id}:{self.cluster}"


def signature(parts: Mapping[str, Part], name: str) -> str:
    """Equal for Components that do the same on the output of Components that do the same."""
    if name == USER:
        return USER
    part = parts[name]
    upstream = {kind: signature(parts, made_by) for kind, made_by in part.reads.items()}
    return _hash([part.key, upstream])


def _hash(told: Any) -> str:
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
