"""How far another host's monotonic clock is from this one's, and by how much that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass

from turnlab.errors import ProtocolViolation

DRIFT = 15e-6
"""Seconds by which two clocks may part in a second (PHI of RFC 5905, section 4)."""

ROUNDING_S = 1e-3
"""By how much a round trip may seem shorter than nothing: two clocks, two resolutions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One exchange: sent and back are moments here, got and answered there."""

    sent_s: float
    got_s: float
    answered_s: float
    back_s: float

    @property
    def offset_s(self) -> float:
        """The clock there less the clock here, if both ways took equally long (RFC 5905, 8)."""
        return ((self.got_s - self.sent_s) + (self.answered_s - self.back_s)) / 2

    @property
    def round_trip_s(self) -> float:
        """The time on the way, both ways together."""
        return max(0.0, self._away_s)

    @property
    def possible(self) -> bool:
        """Whether time passed there as it did here, but for what the clocks part by."""
        return self.got_s <= self.answered_s and self._away_s >= -ROUNDING_S

    @property
    def _away_s(self) -> float:
        return (self.back_s - self.sent_s) - (self.answered_s - self.got_s)

    def doubt_s(self, now_s: float) -> float:
        """By how much the offset may be wrong at `now_s`."""
        return self.round_trip_s / 2 + DRIFT * (now_s - self.back_s)


class ClockOffset:
    """Follows another host's clock by probes; the one that may be wrong by least counts."""

    def __init__(self) -> None:
        self._best: Probe | None = None

    @property
    def offset_s(self) -> float:
        """The clock there less the clock here; 0 before the first probe."""
        return self._best.offset_s if self._best else 0.0

    @property
    def round_trip_s(self) -> float:
        """That of the probe that counts."""
        return self._best.round_trip_s if self._best else 0.0

    def add(self, probe: Probe) -> None:
        """Take a probe that has just come back.

        Raises ProtocolViolation if the time there went backwards or faster than here.
        """
        if not probe.possible:
            raise ProtocolViolation("A probe of the clock was answered with impossible moments.")
        best = self._best
        if best is None or probe.doubt_s(probe.back_s) <= best.doubt_s(probe.back_s):
            self._best = probe

    def here(self, there_s: float) -> float:
        """A moment of the clock there, on the clock here."""
        return there_s - self.offset_s

    def there(self, here_s: float) -> float:
        """A moment of the clock here, on the clock there."""
        return here_s + self.offset_s
