"""Modules on a worker at the other end of a connection, in one process, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from turnlab.clock import Clock, MonotonicClock
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.executors.hub import Hub
from turnlab.executors.websocket_server import Door, WorkerFacts, serve_worker
from turnlab.machine import Machine
from turnlab.modules.base import Module
from turnlab.runner import Runner
from turnlab.testing import Rig
from turnlab.testing.clock import settle
from turnlab.wire.media import MediaExchange
from turnlab.wire.transports import AsgiTransport, Disconnected, Transport, pair
from turnlab.work import Executor
from turnlab.worker import ServedModules, WorkerClient


class Skewed:
    """The clock of another host: `offset_s` ahead of `base`."""

    def __init__(self, base: Clock, offset_s: float) -> None:
        self._base, self.offset_s = base, offset_s

    def now(self) -> float:
        return self._base.now() + self.offset_s

    async def sleep_until(self, moment_s: float) -> None:
        await self._base.sleep_until(moment_s - self.offset_s)


class Slow:
    """An end of a connection whose frames arrive `delay_s` after they were sent."""

    def __init__(self, transport: Transport, clock: Clock, delay_s: float) -> None:
        self._transport, self._clock, self._delay_s = transport, clock, delay_s
        self._frames: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._pump = asyncio.create_task(self._run())

    async def send(self, data: bytes) -> None:
        if self._pump.done():
            raise Disconnected("the line is broken")
        self._frames.put_nowait((self._clock.now() + self._delay_s, data))

    async def receive(self) -> bytes:
        return await self._transport.receive()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self._pump.cancel()
        await self._transport.close(code, reason)

    async def _run(self) -> None:
        while True:
            due_s, data = await self._frames.get()
            await self._clock.sleep_until(due_s)
            await self._transport.send(data)


class WorkerRig(Rig):
    """A Rig whose Modules run on workers. `worker` starts one; see `working`."""

    def __init__(self, *modules: type[Module], there: float = 0.0, **fields: Any) -> None:
        super().__init__(*modules, **fields)
        self.hub = Hub(self.clock)
        self.media = MediaExchange("node-of-the-test")
        self.connected: list[WorkerFacts] = []
        self.beats: list[WorkerFacts] = []
        self.gone: list[WorkerFacts] = []
        self.said: list[str] = []
        self.door = Door(
            hub=self.hub,
            registry=self.registry,
            media=self.media,
            node="node-of-the-test",
            on_connected=self.connected.append,
            on_heartbeat=self.beats.append,
            on_gone=self.gone.append,
        )
        self.runner = Runner(self.hub, self.recorder)
        self.there = Skewed(self.clock, there)
        self.machine = Machine(clock=self.there, threads=4)
        self.executor = EmbeddedExecutor(self.machine)
        self.serving: list[asyncio.Task[None]] = []
        self.runs: list[asyncio.Task[None]] = []
        self.ends: list[Transport] = []
        """The worker's end of each connection."""

    def dial(self, delays: tuple[float, float] = (0.0, 0.0), most: int = 64) -> Transport:
        """A new connection; the worker's end of it. `delays`: of what goes there, comes back."""
        here, there = pair(most)
        ends: list[Transport] = [here, there]
        if any(delays):
            ends = [Slow(here, self.clock, delays[0]), Slow(there, self.clock, delays[1])]
        self.serving.append(asyncio.create_task(serve_worker(ends[0], self.door, "test")))
        self.ends.append(ends[1])
        return ends[1]

    def worker(
        self,
        *task_names: str,
        executor: Executor | None = None,
        delays: tuple[float, float] = (0.0, 0.0),
        most: int = 64,
        concurrency: int | None = None,
        **fields: Any,
    ) -> WorkerClient:
        """A worker that is not yet running."""
        names = task_names or tuple(module.task_name for module in self.registry)

        async def connect() -> Transport:
            return self.dial(delays, most)

        return WorkerClient(
            executor or self.executor,
            ServedModules(self.registry, names, concurrency),
            **{
                "api_url": "memory",
                "authorization": str,
                "connect": connect,
                "media": lambda _: self.media,
                "say": self.said.append,
                **fields,
            },
        )

    def start(self, client: WorkerClient) -> asyncio.Task[None]:
        """Let a worker run until the rig is closed."""
        self.runs.append(asyncio.create_task(client.run()))
        return self.runs[-1]

    async def close(self) -> None:
        """End the workers and their connections."""
        for job in [*self.runs, *self.serving]:
            job.cancel()
        await asyncio.gather(*self.runs, *self.serving, return_exceptions=True)
        self.media.close()
        await self.executor.close()

    async def joined(self, count: int = 1) -> None:
        """Wait until so many workers are in the hub."""
        await self.drive(self.until(lambda: len(self.hub.links) >= count))

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition()` holds; no time of the clock passes."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what it looks at tells nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def working(
    *modules: type[Module], delays: tuple[float, float] = (0.0, 0.0), **fields: Any
) -> AsyncIterator[WorkerRig]:
    """A rig with one worker that serves all of its Modules."""
    async with opened(*modules, **fields) as rig:
        rig.start(rig.worker(delays=delays))
        await rig.joined()
        yield rig


@asynccontextmanager
async def opened(*modules: type[Module], **fields: Any) -> AsyncIterator[WorkerRig]:
    """A rig without a worker."""
    rig = WorkerRig(*modules, **fields)
    try:
        yield rig
    finally:
        await rig.close()


class LoopbackServer:
    """The workers' WebSocket and media of a rig, served over real sockets; no Django."""

    TOKEN = "a-good-token"

    def __init__(self, rig: WorkerRig) -> None:
        self.rig = rig
        self.headers: list[str] = []
        """The Authorization of each request."""
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        config = uvicorn.Config(
            self,
            host="127.0.0.1",
            port=self.port,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            lifespan="off",
            log_level="error",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.create_task(self._server.serve())
        await self.rig.until(lambda: self._server.started)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for link in self.rig.hub.links:
            link.close("the server stops")
        self._server.should_exit = True
        await self._task

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        header = dict(scope["headers"]).get(b"authorization", b"").decode()
        self.headers.append(header)
        good = header == f"Bearer {self.TOKEN}"
        if scope["type"] == "websocket":
            transport = AsgiTransport(receive, send)
            if not good:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            await transport.accept()
            await serve_worker(transport, self.rig.door, "test")
        elif good:
            await self._medium(scope, receive, send)

    async def _medium(self, scope: Any, receive: Any, send: Any) -> None:
        ref = scope["path"].rpartition("/")[2]
        body = b""
        if scope["method"] == "PUT":
            await self.rig.media.receive(ref, _pieces(receive))
        else:
            body = await self.rig.media.get(ref)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def _pieces(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


@asynccontextmanager
async def loopback(*modules: type[Module]) -> AsyncIterator[LoopbackServer]:
    """A rig on the real clock, served over real sockets."""
    async with opened(*modules, clock=MonotonicClock()) as rig:
        server = LoopbackServer(rig)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


__all__ = ["LoopbackServer", "Skewed", "WorkerRig", "loopback", "opened", "settle", "working"]
