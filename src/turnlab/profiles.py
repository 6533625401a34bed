"""Latency: what a Task measures of itself, and the critical path of a turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

from turnlab.chunks import Origin
from turnlab.clock import Clock

USER = "user"
"""The producer of what the user said and showed."""

SLIVER_S = 1e-4
"""A span below 0.1 ms adds its time to the one before it, if that is of the same Component."""


class SpanKind(StrEnum):
    """What the time of a span went into."""

    ENDPOINTING = "endpointing"
    QUEUE = "queue"
    TRANSFER = "transfer"
    MODEL = "model"
    WAIT = "wait"
    PLAYOUT = "playout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A stretch of a Task's time on the host's monotonic clock, in seconds."""

    kind: SpanKind
    label: str
    start_s: float
    end_s: float


class LatencyProfile:
    """What one Task measures of itself: time points and intervals, by label.

    Its record keeps the key families of `latency_profile`: `ts_<point>` in seconds since the
    start of the Track, `model_<label>`, `transfer_<label>`, `queue_<label>` and `wait_<label>`
    as durations in seconds, summed by label; and `cpu_s`, its share of the processor's time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.points: dict[str, float] = {}
        self.intervals: list[Interval] = []
        self.cpu_s: float | None = None
        """Its share of the processor's time, see Machine; None where it ran elsewhere."""

    def point(self, name: str, at_s: float | None = None) -> None:
        """Note the first time that `name` happened, by default now."""
        self.points.setdefault(name, self._clock.now() if at_s is None else at_s)

    def forget(self) -> None:
        """Nothing was measured but its creation: the Task begins again elsewhere."""
        self.points = {name: at for name, at in self.points.items() if name == "created"}
        self.intervals.clear()
        self.cpu_s = None

    def add(self, kind: SpanKind, label: str, start_s: float, end_s: float) -> None:
        """Note an interval that was measured elsewhere, such as in a thread."""
        self.intervals.append(Interval(kind=kind, label=label, start_s=start_s, end_s=end_s))

    @contextmanager
    def measure(self, kind: SpanKind, label: str) -> Iterator[None]:
        """Note the time that the block takes."""
        start_s = self._clock.now()
        try:
            yield
        finally:
            self.add(kind, label, start_s, self._clock.now())

    def model(self, label: str) -> AbstractContextManager[None]:
        """Note the block as inference."""
        return self.measure(SpanKind.MODEL, label)

    def transfer(self, label: str) -> AbstractContextManager[None]:
        """Note the block as moving data."""
        return self.measure(SpanKind.TRANSFER, label)

    def as_json(self, zero_s: float) -> dict[str, float]:
        """The record of it; `zero_s` is the start of the Track."""
        profile = {f"ts_{name}": round(at - zero_s, 6) for name, at in self.points.items()}
        for each in self.intervals:
            key = f"{each.kind}_{each.label}"
            profile[key] = round(profile.get(key, 0.0) + each.end_s - each.start_s, 6)
        if self.cpu_s is not None:
            profile["cpu_s"] = round(self.cpu_s, 6)
        return profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of the critical path, in seconds from the last voiced sample at 0."""

    kind: SpanKind
    component: str
    start_s: float
    end_s: float
    label: str = ""

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s

    def as_json(self) -> dict[str, Any]:
        """The span as records and `--json` keep it, to the microsecond."""
        row = asdict(self)
        return {**row, "start_s": round(self.start_s, 6), "end_s": round(self.end_s, 6)}


@dataclass(slots=True, kw_only=True)
class Activity:
    """When a Component was at work, for the walk back along the critical path."""

    created_s: float
    claimed_s: float
    ended_s: float | None = None
    newest: Origin | None = None
    """Where its end came from: what it had read by then."""
    intervals: list[Interval] = field(default_factory=list)


def critical_path(
    heard: Origin, lead_s: float, zero_s: float, activities: dict[str, Activity]
) -> list[Span]:
    """The spans from `zero_s` (the last voiced sample) to the first audible sample, in order.

    `heard` is the listener's own link: it read the first audible Speech at `emitted_s`, and
    that Chunk plays `lead_s` seconds of quiet first. The walk goes from effect to cause: the
    time between a Chunk's leaving and its being read is `queue` until the reader's Task was
    claimed, then what kept the reader (`wait` where it measured nothing), then `transfer`;
    the time between a Component's reading the cause and its emitting the effect is split by
    the intervals that it measured, `model` where it measured none. A Component that was
    created after its cause's producer had ended (chained) was caused by that end.
    """
    pieces = [_span(SpanKind.PLAYOUT, heard.producer, heard.emitted_s, heard.emitted_s + lead_s)]
    link = heard
    while link.cause is not None:
        reader = activities[link.producer]
        source, left_s = _released(link.cause, reader, activities)
        pieces += reversed(_hop(link, left_s, reader))
        if source.cause is None:
            pieces += reversed(_root(source, left_s, zero_s, activities.get(source.producer)))
        else:
            pieces += reversed(_work(source, left_s, activities[source.producer].intervals))
        link = source
    return _tidy(reversed(pieces), zero_s)


def _released(
    cause: Origin, reader: Activity, activities: dict[str, Activity]
) -> tuple[Origin, float]:
    """What the reader really waited for: the Chunk, or (chained) its producer's end."""
    producer = activities.get(cause.producer)
    if producer is None or producer.ended_s is None or reader.created_s < producer.ended_s:
        return cause, cause.emitted_s
    return producer.newest or cause, producer.ended_s


def _root(source: Origin, left_s: float, zero_s: float, unasked: Activity | None) -> list[Span]:
    """What lies before the first link: the user, or a Component that spoke without reading."""
    if unasked is None:
        return [_span(SpanKind.ENDPOINTING, source.producer, zero_s, left_s)]
    created_s = min(unasked.created_s, left_s)
    claimed_s = min(max(created_s, unasked.claimed_s), left_s)
    return [
        _span(SpanKind.ENDPOINTING, USER, zero_s, created_s),
        *_cut(source.producer, created_s, claimed_s, unasked.intervals, SpanKind.QUEUE),
        *_work(replace(source, read_s=claimed_s), left_s, unasked.intervals),
    ]


def _hop(link: Origin, left_s: float, reader: Activity) -> list[Span]:
    """[left, read] between two Components; what kept a busy reader is named."""
    claimed_s = min(max(left_s, reader.claimed_s), link.read_s)
    asked_s = min(max(claimed_s, link.asked_s), link.read_s)
    return [
        *_cut(link.producer, left_s, claimed_s, reader.intervals, SpanKind.QUEUE),
        *_cut(link.producer, claimed_s, asked_s, reader.intervals, SpanKind.WAIT),
        _span(SpanKind.TRANSFER, link.producer, asked_s, link.read_s),
    ]


def _work(link: Origin, left_s: float, intervals: list[Interval]) -> list[Span]:
    """[read, left] of one Component; what it did not measure counts as inference."""
    return _cut(link.producer, link.read_s, left_s, intervals, SpanKind.MODEL)


def _cut(
    component: str, start_s: float, end_s: float, intervals: list[Interval], otherwise: SpanKind
) -> list[Span]:
    """[start, end] of one Component, cut where its measured intervals begin and end."""
    inside = [each for each in intervals if each.start_s < end_s and each.end_s > start_s]
    edges = {edge for each in inside for edge in (each.start_s, each.end_s)}
    cuts = [start_s, *sorted(e for e in edges if start_s < e < end_s), end_s]
    return [
        _span(kind, component, begin_s, until_s, label)
        for begin_s, until_s in pairwise(cuts)
        for kind, label in [_what(inside, (begin_s + until_s) / 2, otherwise)]
    ]


def _what(intervals: list[Interval], moment_s: float, otherwise: SpanKind) -> tuple[SpanKind, str]:
    """What a Component did at a moment: waiting of any sort counts before inference."""
    there = [each for each in intervals if each.start_s <= moment_s < each.end_s]
    there.sort(key=lambda each: (each.kind is SpanKind.MODEL, -each.start_s))
    return (there[0].kind, there[0].label) if there else (otherwise, "")


def _span(kind: SpanKind, component: str, start_s: float, end_s: float, label: str = "") -> Span:
    return Span(kind=kind, component=component, label=label, start_s=start_s, end_s=end_s)


def _tidy(spans: Iterable[Span], zero_s: float) -> list[Span]:
    """Relative to `zero_s`, nothing before it, empty ones dropped, like neighbours merged."""
    tidy: list[Span] = []
    for span in spans:
        start_s, end_s = max(span.start_s, zero_s) - zero_s, span.end_s - zero_s
        if end_s <= start_s:
            continue
        moved = replace(span, start_s=start_s, end_s=end_s)
        if tidy and _one(tidy[-1], moved):
            tidy[-1] = replace(tidy[-1], end_s=end_s)
        else:
            tidy.append(moved)
    return tidy


def _one(last: Span, span: Span) -> bool:
    """Whether two neighbours are shown as one: alike, or the later a sliver of the same Task."""
    if last.component != span.component:
        return False
    alike = (last.kind, last.label) == (span.kind, span.label)
    return alike or span.duration_s < SLIVER_S
