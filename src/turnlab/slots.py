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
    """So many caches, each belonging to one Task from its reply's beginning to its end.

    A reply that pauses keeps its slot, so nobody's prompt takes the place of its own. A Task gets
    the free slot that it has filled ahead itself, else of those that nobody has the one that holds
    most of what precedes its question, of equal ones the last used; where none is free, whoever has
    waited longest gets the next.
    """

    def __init__(self, count: int) -> None:
        self._free = list(range(count))
        """The last used last."""
        self._held: dict[int, Messages] = {}
        """What each was last used for."""
        self._ahead: dict[int, Seat] = {}
        """Free ones that a Task has filled ahead."""
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._lock = threading.Lock()

    def unused(self) -> list[int]:
        """Take all free ones that were never used, or else the one that was used longest ago.

        From any thread; each must be given back.
        """
        with self._lock:
            found = [slot for slot in self._free if slot not in self._held] or self._free[:1]
            for slot in found:
                self._remove(slot)
        return found

    def pick(self, messages: Messages, seat: Seat | None = None) -> int | None:
        """Take the best one that is free; None if none is."""
        with self._lock:
            if not self._free:
                return None
            best = max(reversed(self._free), key=lambda slot: self._worth(slot, messages, seat))
            self._remove(best)
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

    def give(self, slot: int, ahead_of: Seat | None = None) -> None:
        """Give one back, from any thread; `ahead_of` a Task that will want it again."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._free.append(slot)
                    if ahead_of is not None:
                        self._ahead[slot] = ahead_of
                    return
                future = self._waiting.popleft()
            try:
                future.get_loop().call_soon_threadsafe(self._hand, future, slot)
            except RuntimeError:  # whoever waited is gone with its event loop
                continue
            return

    def _hand(self, future: asyncio.Future[int], slot: int) -> None:
        if future.done():
            self.give(slot)
        else:
            future.set_result(slot)

    def _remove(self, slot: int) -> None:
        self._free.remove(slot)
        self._ahead.pop(slot, None)

    def _worth(self, slot: int, messages: Messages, seat: Seat | None) -> tuple[int, int]:
        """The question itself does not count: asked again it would look fast."""
        owner = self._ahead.get(slot)
        whose = 1 if owner is None else 2 if owner is seat else 0
        pairs = zip(self._held.get(slot, ()), messages[:-1], strict=False)
        return whose, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Seat:
    """One Task's claim on a slot; what it took is given back at the end of the block."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._slot: int | None = None

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self, ahead: bool = False) -> None:
        """Give back what it has; `ahead`: others may have it, but it will be wanted again."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._slots.give(slot, self if ahead else None)

    def at_once(self, messages: Messages) -> int | None:
        """The slot for these messages if it has one or one is free."""
        if self._slot is None:
            self._slot = self._slots.pick(messages, self)
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
