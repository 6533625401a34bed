"""Third-party Workers of this process: known by their token, kept in the table while they poll."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from turnlab.errors import InvalidRequest, Saturated, TurnlabError, UnknownWorker
from turnlab.executors.http_link import HttpLink
from turnlab.executors.hub import HTTP, Hub
from turnlab.server import models
from turnlab.server.handover import StoredHandover
from turnlab.server.node import Node
from turnlab.server.roles import Principal

logger = logging.getLogger(__name__)

ALL = "all"
"""In place of a task_name: every task that the Worker serves."""

MOST_WORKERS = 1_000
"""Third-party Workers of one process."""

_REGISTERED = re.compile(r"W-[0-9a-f]{32}")
_BEATS = 3
"""Heartbeats in the table in a lease."""

_attending: set[asyncio.Task[None]] = set()
"""Held here, since the event loop holds its jobs only weakly."""


async def register(
    node: Node, principal: Principal, name: str, tasks: Iterable[str], concurrency: int
) -> HttpLink:
    """A new Worker, which polls from now on. Raises UnknownModule, Saturated."""
    known = [node.registry.get(each).task_name for each in dict.fromkeys(tasks)]
    worker_id = f"W-{uuid.uuid4().hex}"
    return await _joined(node, worker_id, name, known, concurrency, _whose(principal))


async def polling(node: Node, principal: Principal, worker: str, task_name: str) -> HttpLink:
    """The Worker that asks for a Task of `task_name`, or for `all`.

    One that was registered is known by its id, also after it was silent, or at another API
    process. Any other name is a Worker of its own for each task that it asks for, as is. Raises
    UnknownWorker, UnknownModule, InvalidRequest, Saturated.
    """
    if _REGISTERED.fullmatch(worker):
        link = _link(node.hub, worker) or await _restored(node, principal, worker)
        if link.whose != _whose(principal):
            raise UnknownWorker()
        if task_name not in (ALL, *link.tasks) or (task_name != ALL and len(link.tasks) > 1):
            raise InvalidRequest(
                f"The worker is registered for {', '.join(sorted(link.tasks))}: ask for all of "
                "it, or register one worker for each task."
            )
        return link
    tasks = _all(node) if task_name == ALL else [node.registry.get(task_name).task_name]
    worker_id = _implied_id(principal, worker, task_name)
    found = _link(node.hub, worker_id)
    return found or await _joined(node, worker_id, worker, tasks, 1, _whose(principal))


def holder(node: Node, principal: Principal, task_id: str, claim: str) -> HttpLink | None:
    """The Worker of this process that has, or had, the Task by this claim, if it is the caller."""
    whose = _whose(principal)
    links = (each for each in node.hub.links if isinstance(each, HttpLink) and each.whose == whose)
    return next((each for each in links if each.knows(task_id, claim)), None)


def close_polls(hub: Hub) -> None:
    """Have all polls end without a Task, and their Workers leave: the process is stopping."""
    for link in hub.links:
        if isinstance(link, HttpLink):
            link.close()


def _all(node: Node) -> list[str]:
    return [module.task_name for module in node.registry]


def _whose(principal: Principal) -> str:
    return principal.token_id or f"user {principal.owner}"


def _implied_id(principal: Principal, worker: str, task_name: str) -> str:
    text = "\n".join((_whose(principal), worker, task_name))
    return f"W-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _link(hub: Hub, worker_id: str) -> HttpLink | None:
    found = next((each for each in hub.links if each.id == worker_id), None)
    return found if isinstance(found, HttpLink) else None


async def _restored(node: Node, principal: Principal, worker_id: str) -> HttpLink:
    """The Worker as it was registered, at whichever process. Raises UnknownWorker."""
    row = await node.database.call(_row, worker_id, _whose(principal))
    if row is None:
        raise UnknownWorker()
    tasks = [each["task_name"] for each in row.tasks if each["task_name"] in node.registry]
    return await _joined(node, worker_id, row.name, tasks, row.concurrency, _whose(principal))


def _row(worker_id: str, whose: str) -> models.Worker | None:
    return models.Worker.objects.filter(id=worker_id, transport=HTTP, token=whose[:32]).first()


async def _joined(
    node: Node, worker_id: str, name: str, tasks: list[str], concurrency: int, whose: str
) -> HttpLink:
    if sum(isinstance(each, HttpLink) for each in node.hub.links) >= MOST_WORKERS:
        raise Saturated(f"There are {MOST_WORKERS} workers here already; end some.")
    link = HttpLink(
        id=worker_id,
        name=name,
        tasks=tasks,
        concurrency=concurrency,
        lease_s=node.settings.lease_s,
        clock=node.hub.clock,
        handover=StoredHandover(),
        node_id=node.id,
        whose=whose,
        changed=node.hub.changed,
        left=node.hub.leave,
    )
    await node.database.call(_keep, _facts(node, link))
    if (other := _link(node.hub, worker_id)) is not None:  # two first polls at once
        link.close()
        return other
    node.hub.join(link)
    attending = asyncio.create_task(_attend(node, link))
    _attending.add(attending)
    attending.add_done_callback(_attending.discard)
    return link


async def _attend(node: Node, link: HttpLink) -> None:
    """Say in the table that the Worker is there, as long as it is."""
    while _link(node.hub, link.id) is link:
        await asyncio.sleep(link.lease_s / _BEATS)
        gone = _link(node.hub, link.id) is not link
        try:
            await node.database.call(_beat, link.id, node.id, link.running, gone=gone)
        except TurnlabError as error:
            logger.warning("The heartbeat of worker %s cannot be kept: %s", link.name, error)


def _facts(node: Node, link: HttpLink) -> dict[str, Any]:
    now = datetime.now(UTC)
    served = [node.registry.get(name) for name in sorted(link.tasks)]
    rows = [{"task_name": m.task_name, "version": m.version, "loaded": True} for m in served]
    return {
        "id": link.id,
        "name": link.name,
        "transport": HTTP,
        "node": node.id,
        "token": link.whose[:32],
        "tasks": rows,
        "concurrency": link.concurrency,
        "running": 0,
        "draining": False,
        "connected_at": now,
        "heartbeat_at": now,
        "disconnected_at": None,
    }


def _keep(facts: dict[str, Any]) -> None:
    values = {key: value for key, value in facts.items() if key != "id"}
    models.Worker.objects.update_or_create(id=facts["id"], defaults=values)


def _beat(worker_id: str, node_id: str, running: int, *, gone: bool) -> None:
    now = datetime.now(UTC)
    # Not where it polls at another process by now.
    mine = models.Worker.objects.filter(id=worker_id, node=node_id)
    mine.update(heartbeat_at=now, running=running, disconnected_at=now if gone else None)
