"""Tracks that were accepted and wait: begun by whichever process has room for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from turnlab.errors import DatabaseUnavailable, TurnlabError
from turnlab.server import ownership
from turnlab.server.ownership import Owned

if TYPE_CHECKING:
    from turnlab.server.node import Node

logger = logging.getLogger(__name__)

FEED_S = 1.0
"""How often waiting Tracks are looked for that this process was not told of."""

AT_ONCE = 16


class Waiting:
    """Claims waiting Tracks for `node` and begins them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._hungry = asyncio.Event()
        self._left = False
        """Whether Tracks may wait that there was no room for."""

    def look(self) -> None:
        """There may be a waiting Track, or a Worker for one."""
        self._hungry.set()

    def ended(self) -> None:
        """A Track has ended, so that there is room for one that waits; mostly none does."""
        if self._left:
            self._hungry.set()

    async def run(self) -> None:
        """Begin Tracks whenever there may be room, until cancelled."""
        while True:
            with suppress(TimeoutError):
                # Not wait_for, which before Python 3.12 lost a cancelling that came with a look.
                async with asyncio.timeout(FEED_S):
                    await self._hungry.wait()
            self._hungry.clear()
            try:
                while self._node.accepts and await self._take_some():
                    pass
            except TurnlabError as error:
                logger.warning("Waiting Tracks cannot be looked for: %s", error)
            except Exception:
                logger.exception("Waiting Tracks cannot be looked for")

    async def _take_some(self) -> bool:
        """Claim and begin some; False if there is no more room or nothing is left that waits."""
        self._left = True
        rooms = self._node.rooms()
        free = {cluster: room for cluster, room in rooms.items() if room}
        room = min(AT_ONCE, self._node.room)
        if room <= 0 or not free:
            return False
        async with self._node.claiming:
            taken, more = await self._node.database.call(
                ownership.claim_waiting, self._node.id, free, room
            )
            begun = await self._begin_all(taken)
        self._left = more or not begun or len(free) < len(rooms)
        return more and begun

    async def _begin_all(self, taken: Iterable[Owned]) -> bool:
        """Begin these; those for which there is no room wait again. False if there were any.

        Raises DatabaseUnavailable; what was not begun by then is found by `Node.strayed`.
        """
        back = []
        for owned in taken:
            try:
                if not await self._node.resume(owned):
                    back.append(owned.track_id)
            except DatabaseUnavailable:
                raise
            except TurnlabError as error:
                await self._node.fail(owned.track_id, error)
        if back:
            await self._node.database.call(ownership.put_back, self._node.id, back)
        return not back
