"""How long an answer took: to its first piece, and from there to its last."""

from __future__ import annotations

from turnlab.clock import Clock
from turnlab.profiles import LatencyProfile, SpanKind


class Stopwatch:
    """Notes one answer as `model_<first>` and `model_stream`; it begins when it is made."""

    def __init__(self, latency: LatencyProfile, clock: Clock, first: str) -> None:
        self._latency = latency
        self._clock = clock
        self._label = first
        self._begun = False
        self._since_s = clock.now()

    def piece(self) -> None:
        """A piece is there."""
        if not self._begun:
            self.end()
            self._begun, self._label = True, "stream"

    def end(self) -> None:
        """The answer is over, or has failed."""
        now_s = self._clock.now()
        self._latency.add(SpanKind.MODEL, self._label, self._since_s, now_s)
        self._since_s = now_s
