"""Several API processes on one database: each lives visibly, and inherits from the dead."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import IO

from turnlab import __version__
from turnlab.errors import DatabaseUnavailable, ServerLost, TurnlabError
from turnlab.home import home_folder, make_folder
from turnlab.server import models, ownership
from turnlab.server.node import Node
from turnlab.server.ownership import Owned

logger = logging.getLogger(__name__)

ASKED_S = 0.5
"""How often Tracks are looked for that somebody cancelled through another process."""


class Membership:
    """Keeps the heartbeat of `node`, and the Tracks of processes whose heart has stopped.

    A process is dead when its last beat is older than the lease, or at once where its lock lies in
    the same home folder and nobody holds it any more. Nobody is judged by a process that could
    itself not reach the database for as long.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock: IO[str] | None = None
        self._beaten_s: list[float] = []
        self._jobs: list[asyncio.Task[None]] = []
        self.others: list[models.Node] = []
        """The other processes that are alive."""
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called when processes have come or gone."""
        self._watchers.append(watcher)

    async def begin(self) -> None:
        """Join, take on what a process of this home left behind, and go on with both."""
        self._lock = await asyncio.to_thread(_locked, self._node.id)
        every_s = self._node.settings.lease_s / 5
        await self._beat()
        # By itself: inheriting many Tracks takes longer than a lease.
        self._jobs = [asyncio.create_task(self._go_on(self._beat, every_s))]
        await self._sweep()
        self._jobs += [
            asyncio.create_task(self._go_on(self._sweep, every_s)),
            asyncio.create_task(self._go_on(self._cancel, ASKED_S)),
        ]

    async def end(self) -> None:
        """Leave; nothing may run here any more."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        with suppress(TurnlabError):
            await self._node.database.call(ownership.forget_node, self._node.id)
        if self._lock is not None:
            await asyncio.to_thread(_unlocked, self._lock)

    async def _go_on(self, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await work()
            except TurnlabError as error:
                logger.warning("%s", error)
            except Exception:
                logger.exception("The company of other processes cannot be kept")

    async def _beat(self) -> None:
        node = self._node
        await node.database.call(
            ownership.beat, node.id, node.settings.url, __version__, node.started_at
        )
        now_s = node.hub.clock.now()
        lease_s = node.settings.lease_s
        await node.let_go()
        self._beaten_s = [at for at in self._beaten_s if at > now_s - 2 * lease_s] + [now_s]

    @property
    def _may_judge(self) -> bool:
        """Whether this process has itself been alive in the table for a lease, without a gap."""
        lease_s = self._node.settings.lease_s
        beats = self._beaten_s
        gaps = [later - at for at, later in pairwise(beats)]
        return bool(beats) and beats[-1] - beats[0] >= lease_s and max(gaps) < lease_s

    async def _sweep(self) -> None:
        others = await self._node.database.call(ownership.others, self._node.id)
        silent = await self._node.database.call(ownership.silent, self._node.settings.lease_s)
        dead = [
            other.id
            for other in others
            if (self._may_judge and other.id in silent) or _abandoned(other.id)
        ]
        before = {other.id for other in self.others}
        self.others = [other for other in others if other.id not in dead]
        if before != {other.id for other in self.others}:
            for watcher in self._watchers:
                watcher()
        for node_id in dead:
            await self._bury(node_id)
        for owned in await self._node.strayed():
            await self._inherit(owned)

    async def _bury(self, node_id: str) -> None:
        """Close what a process that is gone had begun: nothing of it is lost, stuck or run twice.

        What it had accepted and not begun waits in the table for whoever has room.
        """
        call = self._node.database.call
        while taken := await call(ownership.adopt, self._node.id, [node_id]):
            for owned in taken:
                # Its Tasks are written down behind their running: what the table does not have
                # may have run all the same, and nothing is to run twice.
                await self._node.fail(owned.track_id, ServerLost())
        await call(ownership.forget_node, node_id)
        _lock_file(node_id).unlink(missing_ok=True)

    async def _inherit(self, owned: Owned) -> None:
        """Begin a Track of this process that it had never begun, or close it."""
        call = self._node.database.call
        try:
            if await call(ownership.may_begin_again, owned):
                await call(ownership.drop_untouched_tasks, owned.track_id)
                if not await self._node.resume(owned):
                    await call(ownership.put_back, self._node.id, [owned.track_id])
                return
            raise ServerLost()
        except DatabaseUnavailable:
            raise  # the next sweep finds it
        except TurnlabError as error:
            await self._node.fail(owned.track_id, error)

    async def _cancel(self) -> None:
        if self._node.under_way:
            asked = await self._node.database.call(ownership.to_be_cancelled, self._node.id)
            for track_id in asked:
                self._node.cancel_here(track_id)


def _lock_file(node_id: str) -> Path:
    return home_folder() / "nodes" / f"{node_id}.lock"


def _locked(node_id: str) -> IO[str]:
    """A lock that is held as long as this process lives."""
    make_folder(_lock_file(node_id).parent)
    file = open(_lock_file(node_id), "w")  # noqa: SIM115 (closed when the process leaves)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _unlocked(lock: IO[str]) -> None:
    Path(lock.name).unlink(missing_ok=True)
    lock.close()


def _abandoned(node_id: str) -> bool:
    """Whether it ran with this home folder and lives no more."""
    try:
        with open(_lock_file(node_id)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except OSError:  # none here, or held
        return False
