"""The door for workers: their WebSocket, their media, and the table that tells of them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from turnlab.errors import Forbidden, InvalidRequest, InvalidToken, TurnlabError
from turnlab.executors.websocket_server import Door, WorkerFacts, serve_worker
from turnlab.server import models
from turnlab.server.node import Node
from turnlab.server.node_tickets import node_of_ticket
from turnlab.server.problems import status_of
from turnlab.server.tokens import authenticate, require
from turnlab.wire.media import MediaExchange
from turnlab.wire.transports import VIOLATION, AsgiTransport, Disconnected

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH = "/api/v1/worker"
MEDIA = f"{PATH}/media/"
_BLOCK = 1 << 18


class Workers:
    """Lets in who has the token of a worker, or is another API process of the same database."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._media = MediaExchange(node.id)
        self._jobs: set[asyncio.Task[None]] = set()
        self._door = Door(
            hub=node.hub,
            registry=node.registry,
            media=self._media,
            node=node.id,
            heartbeat_s=node.settings.lease_s / 3,
            lease_s=node.settings.lease_s,
            on_connected=self._connected,
            on_heartbeat=self._beat,
            on_gone=self._gone,
        )

    async def end(self) -> None:
        """Forget all media, once what is under way has been written down."""
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=5.0)
        self._media.close()

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """One WebSocket, from its handshake to its end."""
        try:
            if scope["path"] != PATH:
                raise Forbidden("There is no WebSocket here but that of workers.")
            principal, relays = await self._who(scope)
        except TurnlabError as error:
            await receive()
            await _refuse(send, error)
            return
        transport = AsgiTransport(receive, send)
        try:
            await transport.accept()
        except Disconnected:
            return
        watch = asyncio.create_task(self._watch_token(scope, transport))
        try:
            await serve_worker(transport, self._door, principal, may_relay=relays)
        finally:
            watch.cancel()

    async def _watch_token(self, scope: Message, transport: AsgiTransport) -> None:
        """Close the connection when its token is good no more."""
        header = _authorization(scope)
        while node_of_ticket(header) is None:
            await asyncio.sleep(self._door.heartbeat_s)
            try:
                await self._node.database.call(authenticate, header)
            except InvalidToken as error:
                await transport.close(VIOLATION, error.message)
                return
            except TurnlabError:
                continue  # the database is gone for a while, which is not the worker's fault

    async def serve_media(self, scope: Message, receive: Receive, send: Send) -> None:
        """A medium that is too large for a frame: GET it, or PUT it."""
        ref = scope["path"].removeprefix(MEDIA)
        try:
            sender, _ = await self._who(scope)
            if scope["method"] == "PUT":
                await self._media.receive(ref, _body(receive), sender)
                await _answer(send, 204, b"")
            elif scope["method"] == "GET":
                await _give(send, self._media.path(ref))
            else:
                await _answer(send, 405, b"")
        except TurnlabError as error:
            await _answer(send, status_of(error), error.message.encode())

    async def _who(self, scope: Message) -> tuple[str, bool]:
        """Whose token it is, and whether it speaks for an API process. Raises InvalidToken."""
        header = _authorization(scope)
        if node_id := node_of_ticket(header):
            await self._node.database.call(_require_node, node_id)
            return f"node {node_id}", True
        principal = await self._node.database.call(authenticate, header)
        require(principal, "workers:connect")
        return principal.token_id or principal.owner, False

    # The table

    def _connected(self, facts: WorkerFacts) -> None:
        self._later(_keep_worker, self._node.id, facts)

    def _beat(self, facts: WorkerFacts) -> None:
        self._later(_keep_worker, self._node.id, facts)

    def _gone(self, facts: WorkerFacts) -> None:
        self._later(_part_from, facts.id, self._node.id)

    def _later(self, write: Callable[..., None], *args: object) -> None:
        job = asyncio.create_task(self._written(write, *args))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _written(self, write: Callable[..., None], *args: object) -> None:
        try:
            await self._node.database.call(write, *args)
        except TurnlabError as error:
            logger.warning("A worker's row cannot be written: %s", error)


def _require_node(node_id: str) -> None:
    if not models.Node.objects.filter(id=node_id).exists():
        raise InvalidToken("There is no such API process any more.")


def _keep_worker(node: str, facts: WorkerFacts) -> None:
    now = datetime.now(UTC)
    values = {
        "name": facts.name[:128],
        "transport": facts.transport,
        "node": node,
        "token": facts.principal[:32],
        "tasks": list(facts.tasks),
        "hardware": {**facts.hardware, "pid": facts.pid, "memory_mib": facts.memory_mib},
        "concurrency": facts.concurrency,
        "running": facts.running,
        "draining": facts.draining,
        "clock_offset_s": facts.clock_offset_s,
        "round_trip_s": facts.round_trip_s,
        "heartbeat_at": now,
        "disconnected_at": None,
    }
    models.Worker.objects.update_or_create(
        id=facts.id, defaults=values, create_defaults={**values, "connected_at": now}
    )


def _part_from(worker_id: str, node: str) -> None:
    """The worker is gone, unless it is connected elsewhere by now."""
    row = models.Worker.objects.filter(id=worker_id, node=node)
    row.update(disconnected_at=datetime.now(UTC), running=0)


def _authorization(scope: Message) -> str:
    value: bytes = dict(scope["headers"]).get(b"authorization", b"")
    return value.decode("latin-1")


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidToken("It went away.")
        if body := message.get("body"):
            yield body
        more = message.get("more_body", False)


async def _give(send: Send, path: Path) -> None:
    """Answer with a file, of which only a block is in memory at a time."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:  # in this moment
        raise InvalidRequest("There is no such medium; its Task has ended.") from None
    with file:
        await _begin(send, 200, os.fstat(file.fileno()).st_size)
        while block := await asyncio.to_thread(file.read, _BLOCK):
            await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, status: int, body: bytes) -> None:
    await _begin(send, status, len(body))
    await send({"type": "http.response.body", "body": body})


async def _begin(send: Send, status: int, length: int) -> None:
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(length).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _refuse(send: Send, error: TurnlabError) -> None:
    """Answer the handshake with a status and the error's code, so that the worker can tell why."""
    status = status_of(error)
    headers = [(b"content-type", b"text/plain"), (b"x-turnlab-error", error.code.encode())]
    body = error.message.encode()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
