"""Serves the WebSocket that workers dial: handshake, a Link in the Hub, farewell."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from turnlab.errors import Forbidden, ProtocolViolation, TurnlabError
from turnlab.executors.hub import Hub
from turnlab.executors.websocket_link import (
    HEARTBEAT_S,
    LEASE_S,
    WebSocketLink,
)
from turnlab.executors.worker_facts import WorkerFacts
from turnlab.modules.registry import Registry
from turnlab.wire import messages as m
from turnlab.wire.failures import shortened
from turnlab.wire.fields import Offer
from turnlab.wire.media import Media
from turnlab.wire.transports import VIOLATION, Disconnected, Transport

HANDSHAKE_S = 10.0
"""How long a worker may take to say hello."""

_WORKER_ID = re.compile(r"[A-Za-z0-9_.-]{16,64}")


def _nothing(facts: WorkerFacts) -> None:
    """What is done where nobody asks for more."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """What workers find at the other end of their WebSocket. The callbacks must not wait."""

    hub: Hub
    registry: Registry
    media: Media
    node: str
    """The id of this API process."""
    heartbeat_s: float = HEARTBEAT_S
    lease_s: float = LEASE_S
    on_connected: Callable[[WorkerFacts], None] = field(default=_nothing)
    on_heartbeat: Callable[[WorkerFacts], None] = field(default=_nothing)
    on_gone: Callable[[WorkerFacts], None] = field(default=_nothing)


async def serve_worker(
    transport: Transport, door: Door, principal: str, *, may_relay: bool = False
) -> None:
    """Serve one worker's connection, which was accepted and whose token is good, to its end.

    `principal` names whose token it is: only the same may replace a connection of a worker's that
    is still open. `may_relay` allows it to speak for another API process.
    """
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            link, welcome = await _greeted(transport, door, principal, may_relay)
    except (TurnlabError, TimeoutError) as error:
        await _refuse(transport, error)
    except Disconnected:
        return
    else:
        await _served(link, welcome, door)


async def _served(link: WebSocketLink, welcome: m.Welcome, door: Door) -> None:
    joined = False

    def ready() -> None:
        nonlocal joined
        joined = True
        link.welcome(welcome)  # before the first Task, which the Hub may have at once
        door.hub.join(link)
        door.on_connected(link.facts)

    try:
        await link.run(ready, lambda: door.on_heartbeat(link.facts))
    finally:
        if joined:
            door.hub.leave(link)
            if all(each.id != link.id for each in door.hub.links):  # else it has come back
                door.on_gone(link.facts)


async def _greeted(
    transport: Transport, door: Door, principal: str, may_relay: bool
) -> tuple[WebSocketLink, m.Welcome]:
    """The Link of a worker that has said hello, and its answer. Raises TurnlabErrors."""
    hello = m.read(await transport.receive())
    if not isinstance(hello, m.Hello):
        raise ProtocolViolation(f"A worker says hello first, not {hello.type}.")
    if hello.protocol != m.PROTOCOL:
        raise ProtocolViolation(
            f"This server speaks version {m.PROTOCOL} of the protocol, the worker version "
            f"{hello.protocol}; run the same Turnlab on both."
        )
    if not _WORKER_ID.fullmatch(hello.worker_id):
        raise ProtocolViolation("The id of a worker is 16 to 64 of A-Z a-z 0-9 _ . -")
    if hello.node and not may_relay:
        raise Forbidden("This token may not speak for another API process.")
    _replace(door.hub, hello.worker_id, principal)
    refused = refusals(door.registry, hello.modules)
    link = WebSocketLink(
        transport,
        hello,
        accepts=lambda told: (
            {each.task_name for each in told.modules} - set(refusals(door.registry, told.modules))
        ),
        principal=principal,
        clock=door.hub.clock,
        media=door.media,
        changed=door.hub.changed,
        heartbeat_s=door.heartbeat_s,
        lease_s=door.lease_s,
    )
    welcome = m.Welcome(
        worker_id=hello.worker_id,
        node=door.node,
        accepted=tuple(o.task_name for o in hello.modules if o.task_name not in refused),
        refused=refused,
        heartbeat_s=door.heartbeat_s,
        lease_s=door.lease_s,
    )
    return link, welcome


def refusals(registry: Registry, offers: tuple[Offer, ...]) -> dict[str, str]:
    """The Modules that cannot be used, each with the reason: both ends must have the same."""
    reasons: dict[str, str] = {}
    for offer in offers:
        try:
            module = registry.get(offer.task_name)
        except TurnlabError as error:
            reasons[offer.task_name] = shortened(error.message)
            continue
        if module.version != offer.version:
            reasons[offer.task_name] = shortened(
                f"the server has version {module.version} of it, the worker {offer.version}"
            )
    return reasons


def _replace(hub: Hub, worker_id: str, principal: str) -> None:
    """Close the connection that a worker had before it dialled again. Raises Forbidden."""
    for link in hub.links:
        if link.id == worker_id:
            if not isinstance(link, WebSocketLink) or link.principal != principal:
                raise Forbidden("The id of this worker is another's.")
            link.close("the worker has connected anew")


async def _refuse(transport: Transport, error: Exception) -> None:
    """Say why the worker is not taken."""
    reason = error.message if isinstance(error, TurnlabError) else "It did not say hello in time."
    code = error.code if isinstance(error, TurnlabError) else ProtocolViolation.code
    with suppress(Disconnected, TimeoutError):
        async with asyncio.timeout(1.0):
            await transport.send(m.write(m.Bye(code=code, reason=shortened(reason))))
            await transport.close(VIOLATION, reason)


__all__ = ["Door", "WorkerFacts", "refusals", "serve_worker"]
