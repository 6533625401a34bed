"""How long an answer took: to its first piece, and from there to its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from turnlab.clock import Clock
from turnlab.profiles import SLIVER_S, LatencyProfile, SpanKind


class Stopwatch:
    """Notes one answer as `model_<first>` and `model_<then>`.

    It begins at `since_s` of the clock, by default when it is made.
    """

    def __init__(
        self,
        latency: LatencyProfile,
        clock: Clock,
        first: str,
        then: str = "stream",
        since_s: float | None = None,
    ) -> None:
        self._latency = latency
        self._clock = clock
        self._label, self._then = first, then
        self._begun = False
        self._since_s = clock.now() if since_s is None else since_s

    def piece(self) -> None:
        """A piece is there, for a caller who does not hand it on before asking for the next."""
        if not self._begun:
            self.end()
            self._begun, self._label = True, self._then

    @contextmanager
    def handing_on(self) -> Iterator[None]:
        """A piece is there and leaves in the block.

        How long whoever reads it keeps the block waiting is not the answer's time.
        """
        self.piece()
        left_s = self._clock.now()
        try:
            yield
        finally:
            back_s = self._clock.now()
            if back_s - left_s >= SLIVER_S:
                self._note(left_s)
                self._since_s = back_s

    def end(self) -> None:
        """The answer is over, or has failed."""
        self._note(self._clock.now())

    def _note(self, now_s: float) -> None:
        self._latency.add(SpanKind.MODEL, self._label, self._since_s, now_s)
        self._since_s = now_s
