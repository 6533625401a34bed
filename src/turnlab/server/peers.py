"""Lends this process's workers to the other API processes of its database.

To each of them it is one more worker: it dials their WebSocket, offers what its own workers serve,
and runs what it is given on those. So a Track started on one process reaches a worker that is
connected to another, by the protocol that there is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from turnlab.errors import TurnlabError
from turnlab.executors.hub import HTTP, WEBSOCKET, Hub, Link, OwnWorkers
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.server.membership import Membership
from turnlab.server.node import Node
from turnlab.server.node_tickets import node_ticket
from turnlab.wire.fields import Offer
from turnlab.worker.client import WorkerClient

logger = logging.getLogger(__name__)

SETTLE_S = 0.05
"""Changes within this time are told together."""


class Lent:
    """What the workers that are connected here serve for one other process, all together.

    That is what they have free and what they do for it already, so that two processes do not
    reckon with the same places. `workers` runs what the other process gives. It is as it was when
    `renew` was called last, since to find it out for each Task would take too long.
    """

    def __init__(self, hub: Hub, registry: Registry, workers: OwnWorkers) -> None:
        self._hub, self._registry, self._workers = hub, registry, workers
        self._concurrency = 0
        self._offers: tuple[Offer, ...] = ()
        self.renew()

    @property
    def concurrency(self) -> int:
        """How many Tasks of the other process they take at once."""
        return self._concurrency

    def offers(self) -> tuple[Offer, ...]:
        """Their Modules, each with the places for it; one at least, so that it is waited for."""
        return self._offers

    def renew(self) -> None:
        """Find out what there is to lend now."""
        links = self._own
        free = sum(max(0, link.room) for link in links)
        self._concurrency = free + self._workers.running.total()
        served = [m for m in self._registry if any(link.places(m.task_name) for link in links)]
        self._offers = tuple(
            Offer(
                task_name=module.task_name,
                version=module.version,
                loaded=True,
                places=max(1, self._places(module.task_name, links)),
            )
            for module in served
        )

    def _places(self, name: str, links: Iterable[Link]) -> int:
        """The places that nobody else has."""
        free = sum(link.places(name) - self._hub.running_on(link, name) for link in links)
        return free + self._workers.running[name]

    def module(self, task_name: str) -> type[Module]:
        """The Module, of which only the kinds are used here."""
        return self._registry.get(task_name)

    def began(self, task_name: str) -> None:
        """Nothing is loaded here."""

    @property
    def _own(self) -> list[Link]:
        links = self._hub.links
        return [each for each in links if each.transport in (WEBSOCKET, HTTP) and not each.draining]


class Peers:
    """A connection to every other API process that is alive."""

    def __init__(self, node: Node, membership: Membership) -> None:
        self._node = node
        self._membership = membership
        self._lent: dict[str, Lent] = {}
        self._clients: dict[str, tuple[WorkerClient, asyncio.Task[None]]] = {}
        self._news = asyncio.Event()
        self._jobs: list[asyncio.Task[None]] = []
        node.hub.watch(self._news.set, tasks=True)

    async def begin(self) -> None:
        """Connect, and keep up with who is there and what there is to lend."""
        self._membership.watch(self._meet)
        self._meet()
        self._jobs = [asyncio.create_task(self._tell())]

    async def end(self) -> None:
        """Take no more of the others' Tasks, and leave."""
        jobs = [*self._jobs, *(job for _, job in self._clients.values())]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    def _meet(self) -> None:
        """Dial who is new, leave who is gone."""
        alive = {other.id: other.url for other in self._membership.others}
        for node_id in set(self._clients) - set(alive):
            self._clients.pop(node_id)[1].cancel()
            del self._lent[node_id]
        for node_id in set(alive) - set(self._clients):
            workers = self._node.hub.own()
            lent = self._lent[node_id] = Lent(self._node.hub, self._node.registry, workers)
            client = WorkerClient(
                workers,
                lent,
                api_url=alive[node_id],
                authorization=lambda: node_ticket(self._node.id),
                name=f"workers of {self._node.id}",
                worker_id=self._node.id,
                node=self._node.id,
                say=lambda text: logger.info("%s", text),
            )
            self._clients[node_id] = client, asyncio.create_task(self._serve(client))

    async def _serve(self, client: WorkerClient) -> None:
        try:
            await client.run()
        except TurnlabError as error:
            logger.warning("Another API process does not take this one's workers: %s", error)

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE_S)
            self._news.clear()
            for node_id, (client, _) in self._clients.items():
                self._lent[node_id].renew()
                with suppress(TurnlabError):
                    client.changed()  # which tells only what it has not told
