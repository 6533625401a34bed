"""What a Task measures of itself, as messages take it."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

from turnlab.modules.base import Inputs
from turnlab.profiles import Interval, LatencyProfile
from turnlab.wire.fields import MOST_INTERVALS, MOST_LABEL, MOST_SECONDS
from turnlab.worker.feeds import FedOrigin

_OF_THE_TURN = frozenset({"created", "claimed", "first_input", "first_output", "end"})
"""Time points that the API end notes itself."""


class Measured:
    """Each interval of `latency` once, its points at the end, and what was read of `inputs`."""

    def __init__(self, latency: LatencyProfile, inputs: Inputs) -> None:
        self.latency, self._inputs = latency, inputs
        self._told = 0

    @property
    def plenty(self) -> bool:
        """Whether there is more to tell than fits into one message."""
        return len(self.latency.intervals) - self._told > MOST_INTERVALS

    def read(self) -> dict[str, Any]:
        """What was read last, as far as the API end knows of it."""
        link = self._inputs.link("", 0.0)
        read: dict[str, Any] = {"first_read_s": self._inputs.first_read_s}
        if isinstance(link.cause, FedOrigin):
            read["cause"] = (link.cause.kind, link.cause.number)
            read |= {"asked_s": link.asked_s, "read_s": link.read_s}
        return read

    def take(self) -> tuple[Interval, ...]:
        """Intervals that were not told yet, as many as fit; what makes no sense is left out."""
        # An executor that gives the Task to another Worker has them begin anew.
        start = min(self._told, len(self.latency.intervals))
        taken = self.latency.intervals[start : start + MOST_INTERVALS]
        self._told = start + len(taken)
        return tuple(
            Interval(
                kind=each.kind,
                label=str(each.label)[:MOST_LABEL],
                start_s=each.start_s,
                end_s=each.end_s,
            )
            for each in taken
            if _sendable(each.start_s) and _sendable(each.end_s)
        )

    def all(self) -> dict[str, Any]:
        """What there is to tell at the end."""
        points = (
            (str(name)[:MOST_LABEL], at_s)
            for name, at_s in self.latency.points.items()
            if name not in _OF_THE_TURN and _sendable(at_s)
        )
        return {
            **self.read(),
            "intervals": self.take(),
            "points": dict(islice(points, MOST_INTERVALS)),
        }


def _sendable(moment_s: float) -> bool:
    return math.isfinite(moment_s) and abs(moment_s) <= MOST_SECONDS
