"""The ASGI application: Django for requests, a WebSocket for workers, the node for the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Future
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler

from turnlab.clusters import Catalogue
from turnlab.clusters.plan import Plan
from turnlab.modules.registry import Registry
from turnlab.server.api.bodies import limited
from turnlab.server.config import Config
from turnlab.server.http_workers import close_polls
from turnlab.server.membership import Membership
from turnlab.server.node import Node, NodeSettings, set_node
from turnlab.server.peers import Peers
from turnlab.server.retention import sweep_retention
from turnlab.server.settings_service import PROGRAMS_MIDDLEWARE
from turnlab.server.workers import MEDIA, Workers

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


_PROGRAMS = ("/api/", "/v1/", "/media/", "/healthz", "/readyz", "/metrics")
_PEOPLE_TOO = ("/api/v1/docs", "/api/v1/openapi.json")
"""Read by people who are signed in, so these need their session."""


def is_for_programs(path: str) -> bool:
    """Whether only tokens and signed links count there, no session of a person."""
    return path.startswith(_PROGRAMS) and not path.startswith(_PEOPLE_TOO)


class _Programs(ASGIHandler):
    """Django without a thread for each request, begun and joined beside the Tracks under way.

    All that hops to a thread here are Django's own signals, which share one: the views use none.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As Django's, less its ThreadSensitiveContext."""
        await self.handle(scope, receive, send)


def _for_programs() -> Any:
    """Django without sessions, forms and messages: each of them hops to a thread and back."""
    whole = settings.MIDDLEWARE
    settings.MIDDLEWARE = PROGRAMS_MIDDLEWARE
    try:
        return _Programs()
    finally:
        settings.MIDDLEWARE = whole


class Application:
    """One API process. Everything that runs begins and ends with the server's lifespan."""

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        config: Config,
        *,
        embedded: bool,
        url: str,
        warm: Iterable[Plan] = (),
    ) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._warm = tuple(warm)
        self._settings = NodeSettings(
            url=url,
            embedded=embedded,
            longest_speech_s=config.max_speech_s,
            most_running=config.max_running,
            most_waiting=config.max_pending,
            lease_s=config.lease_s,
        )
        # Django's own files (the admin's styles) are served here: one process is enough to begin.
        most_bytes = config.max_upload_mib * 2**20
        people: Any = ASGIStaticFilesHandler(ASGIHandler())
        self._people = limited(people, most_bytes)
        self._programs = limited(_for_programs(), most_bytes)
        self._drained: Future[None] | None = None
        self._node: Node | None = None
        self._membership: Membership | None = None
        self._workers: Workers | None = None
        self._peers: Peers | None = None
        self._sweep: asyncio.Task[None] | None = None

    @property
    def draining(self) -> bool:
        """Whether it was told to stop, or has nothing that could be waited for."""
        return self._drained is not None or self._node is None

    def drain(self, then: Callable[[], None]) -> None:
        """Let the Tracks under way end, then call `then`; callable from a signal handler."""
        assert self._node is not None
        self._drained = self._node.submit(self._finish())
        self._drained.add_done_callback(lambda _: then())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        match scope["type"]:
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket" if self._workers is not None:
                await self._workers.serve(scope, receive, send)
            case "http" if self._workers is not None and scope["path"].startswith(MEDIA):
                await self._workers.serve_media(scope, receive, send)
            case "http" if is_for_programs(scope["path"]):
                await self._programs(scope, receive, send)
            case "http":
                await self._people(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except Exception as error:
            logger.exception("The server cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        self._node = Node(self._registry, self._catalogue, self._settings)
        self._membership = Membership(self._node)
        self._workers = Workers(self._node)
        self._peers = Peers(self._node, self._membership)
        set_node(self._node)
        await self._node.warm(self._warm)
        await self._membership.begin()
        await self._peers.begin()
        self._sweep = asyncio.create_task(sweep_retention(self._node.database))

    async def _finish(self) -> None:
        """Accept nothing more; workers stay until the Tracks under way have ended."""
        if self._node is not None:
            await self._node.finish()
            close_polls(self._node.hub)

    async def _stop(self) -> None:
        if not (self._node and self._membership and self._workers and self._peers):
            return
        await self._finish()
        if self._sweep is not None:
            self._sweep.cancel()
        await self._peers.end()
        await self._workers.end()
        await self._membership.end()
        await self._node.stop()
        set_node(None)
