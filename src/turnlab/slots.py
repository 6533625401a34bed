"""The caches of a language model, one for each reply at once, and who is given which."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from itertools import takewhile

from turnlab.profiles import LatencyProfile, SpanKind

Messages = Sequence[dict[str, str]]


class Slots:
    """So many caches, each belonging to one Task for as long as that needs it.

    A reply that pauses keeps its slot, so nobody's prompt takes the place of its own. A Task gets
    the free slot that holds most of its prompt, of equal ones the last used; where none is free,
    whoever has waited longest gets the next.
    """

    def __init__(self, count: int) -> None:
        self._free = list(range(count))
        """The last used last."""
        self._held: dict[int, Messages] = {}
        """What each was last used for."""
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._lock = threading.Lock()

    def unused(self) -> list[int]:
        """Take all free ones that were never used, or else the one that was used longest ago.

        From any thread; each must be given back.
        """
        with self._lock:
            found = [slot for slot in self._free if slot not in self._held] or self._free[:1]
            self._free = [slot for slot in self._free if slot not in found]
        return found

    def pick(self, messages: Messages) -> int | None:
        """Take the best one that is free; None if none is."""
        with self._lock:
            if not self._free:
                return None
            best = max(reversed(self._free), key=lambda slot: self._common(slot, messages))
            self._free.remove(best)
            return best

    async def wait(self, messages: Messages) -> int:
        """Take the best one that is free, or the next that is given back."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        slot = self.pick(messages)  # one may have become free since the last look
        if slot is not None:
            self.give(slot)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give(future.result())
            raise

    def note(self, slot: int, messages: Messages) -> None:
        """It is used for these."""
        self._held[slot] = messages

    def give(self, slot: int) -> None:
        """Give one back, from any thread."""
        with self._lock:
            if not self._waiting:
                self._free.append(slot)
                return
            future = self._waiting.popleft()
        future.get_loop().call_soon_threadsafe(self._hand, future, slot)

    def _hand(self, future: asyncio.Future[int], slot: int) -> None:
        if future.done():
            self.give(slot)
        else:
            future.set_result(slot)

    def _common(self, slot: int, messages: Messages) -> int:
        """How many messages at the beginning are those that it was used for."""
        pairs = zip(self._held.get(slot, ()), messages, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Seat:
    """One Task's claim on a slot; what it took is given back at the end of the block."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._slot: int | None = None

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give back what it has."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._slots.give(slot)

    def at_once(self, messages: Messages) -> int | None:
        """The slot for these messages if it has one or one is free."""
        if self._slot is None:
            self._slot = self._slots.pick(messages)
        if self._slot is not None:
            self._slots.note(self._slot, messages)
        return self._slot

    async def take(self, messages: Messages, latency: LatencyProfile) -> int:
        """The slot for these messages; the wait for a free one is noted as `queue_slot`."""
        slot = self.at_once(messages)
        if slot is None:
            with latency.measure(SpanKind.QUEUE, "slot"):
                slot = self._slot = await self._slots.wait(messages)
            self._slots.note(slot, messages)
        return slot
