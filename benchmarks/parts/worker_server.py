"""The API end of a worker for benchmarks: real sockets and a real `turnlab worker`, no Django."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from turnlab.executors.hub import Hub
from turnlab.executors.websocket_server import Door, serve_worker
from turnlab.modules.registry import Registry
from turnlab.wire.media import MediaExchange
from turnlab.wire.transports import AsgiTransport

TOKEN = "benchmark"
START_S = 120.0


class Place:
    """Serves the workers' WebSocket as `turnlab serve` does."""

    def __init__(self, registry: Registry) -> None:
        self.hub = Hub()
        self._door = Door(
            hub=self.hub, registry=registry, media=MediaExchange("benchmark"), node="benchmark"
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] == "websocket":
            transport = AsgiTransport(receive, send)
            await transport.accept()
            await serve_worker(transport, self._door, "benchmark")


@asynccontextmanager
async def served(registry: Registry, *arguments: str) -> AsyncIterator[Hub]:
    """A Hub with one worker in a process of its own; `arguments` are those of `turnlab worker`."""
    place = Place(registry)
    config = uvicorn.Config(
        place,
        host="127.0.0.1",
        port=0,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="error",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await _until(lambda: server.started, serving)
    port = server.servers[0].sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "turnlab", "worker", "--api", f"http://127.0.0.1:{port}"),
        *arguments,
        env={**os.environ, "TURNLAB_TOKEN": TOKEN},
        stderr=asyncio.subprocess.DEVNULL,
    )
    ended = asyncio.create_task(process.wait())
    try:
        await _until(lambda: bool(place.hub.links), ended)
        yield place.hub
    finally:
        if process.returncode is None:
            process.terminate()
        await ended
        server.should_exit = True
        await serving


async def _until(ready: Any, alive: asyncio.Task[Any]) -> None:
    async with asyncio.timeout(START_S):
        while not ready():
            if alive.done():
                raise RuntimeError("the worker or the server ended before it was ready")
            await asyncio.sleep(0.01)
