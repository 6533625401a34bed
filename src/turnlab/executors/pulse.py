"""Whether a worker is there, what its clock says, and how much nonsense is borne of it."""

from __future__ import annotations

import asyncio

from turnlab.clock import Clock
from turnlab.errors import ProtocolViolation
from turnlab.wire.clocks import ClockOffset, Probe
from turnlab.wire.messages import Ping, Pong
from turnlab.wire.outbox import Outbox

ODD_BURST, ODD_A_SECOND = 200, 50
"""How many messages that ask for nothing may come: repeated ends, changed capabilities."""


class Pulse:
    """Pings a worker: each answer is a probe of its clock, and tells how busy it is."""

    def __init__(self, clock: Clock, offset: ClockOffset, outbox: Outbox) -> None:
        self.running, self.memory_mib = 0, 0.0
        self._clock, self._offset, self._outbox = clock, offset, outbox
        self._pings: dict[int, tuple[float, asyncio.Future[None]]] = {}
        self._numbers = 0

    def ping(self) -> asyncio.Future[None]:
        """Send a ping; done when it was answered."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pings[self._numbers] = self._clock.now(), answered
        self._outbox.put(Ping(number=self._numbers))
        self._numbers += 1
        return answered

    def take(self, pong: Pong, now_s: float) -> None:
        """An answer has come. Raises ProtocolViolation if it is to nothing, or impossible."""
        if pong.number not in self._pings:
            raise ProtocolViolation("A pong was sent that nobody had asked for.")
        sent_s, answered = self._pings.pop(pong.number)
        self._offset.add(
            Probe(sent_s=sent_s, got_s=pong.got_s, answered_s=pong.answered_s, back_s=now_s)
        )
        self.running, self.memory_mib = pong.running, pong.memory_mib
        if not answered.done():
            answered.set_result(None)


class Patience:
    """Bears `ODD_BURST` messages that nobody needs, and `ODD_A_SECOND` more each second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left, self._since_s = float(ODD_BURST), clock.now()

    def count(self) -> None:
        """Count one. Raises ProtocolViolation if there are too many."""
        now_s = self._clock.now()
        more = (now_s - self._since_s) * ODD_A_SECOND
        self._left, self._since_s = min(ODD_BURST, self._left + more) - 1, now_s
        if self._left < 0:
            raise ProtocolViolation("Too many messages came that ask for nothing.")
