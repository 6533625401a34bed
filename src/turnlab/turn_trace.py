"""What a Task of a Run did, Chunk by Chunk: what simulations of other Clusters are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from turnlab.chunks import Chunk, Origin, Sound
from turnlab.profiles import LatencyProfile

MOST_INTERVALS = 2_000


@dataclass(kw_only=True)
class Trace:
    """The Chunks that left one Task, each with its cause, and what the Task measured of itself.

    Its record holds `chunks`, a list of `[emitted, producer, cause, asked, read, size]`: when the
    Chunk left; who had emitted its cause and when, the latter also being how to find that Chunk in
    the producer's own trace; when the Task asked for the cause and when it got it. All moments are
    in seconds since the start of the Track; `producer` and `cause` are null for what nothing
    caused. `size` is the length of a sound in seconds, of a text in characters, 0 of all else.
    `end` is such a row for the end of the stream. `intervals` are `[kind, label, start, end]`.
    `cpu_s` is the Task's share of the processor's time (see Machine), null where it ran elsewhere.
    """

    chunks: list[tuple[Origin, float]] = field(default_factory=list)
    end: Origin | None = None

    def note(self, chunk: Chunk, origin: Origin) -> None:
        """A Chunk left the Task."""
        self.chunks.append((origin, _size(chunk)))

    def as_json(self, latency: LatencyProfile, zero_s: float) -> dict[str, Any]:
        """The record of it; `zero_s` is the start of the Track."""
        intervals = latency.intervals[:MOST_INTERVALS]
        return {
            "chunks": [_row(origin, size, zero_s) for origin, size in self.chunks],
            "end": None if self.end is None else _row(self.end, 0.0, zero_s),
            "intervals": [
                [i.kind, i.label, _since(i.start_s, zero_s), _since(i.end_s, zero_s)]
                for i in intervals
            ],
            "cpu_s": None if latency.cpu_s is None else round(latency.cpu_s, 6),
        }


def _row(origin: Origin, size: float, zero_s: float) -> list[Any]:
    left = _since(origin.emitted_s, zero_s)
    if origin.cause is None:
        return [left, None, None, None, None, size]
    cause = origin.cause
    moments = (cause.emitted_s, origin.asked_s, origin.read_s)
    return [left, cause.producer, *(_since(at, zero_s) for at in moments), size]


def _since(at_s: float, zero_s: float) -> float:
    return round(at_s - zero_s, 6)


def _size(chunk: Chunk) -> float:
    if isinstance(chunk, Sound):
        return round(chunk.duration_s, 6)
    return float(len(getattr(chunk, "text", "")))
