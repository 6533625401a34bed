"""The worker: connects, serves, and connects again, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable

from turnlab.errors import Forbidden, InvalidToken, TurnlabError
from turnlab.host import host_facts
from turnlab.tasks import new_id
from turnlab.wire import messages as m
from turnlab.wire.media import Media
from turnlab.wire.transports import Disconnected, Transport
from turnlab.work import Executor
from turnlab.worker.dial import HttpMedia, dial
from turnlab.worker.offering import Offering
from turnlab.worker.session import Session

LEAST_PAUSE_S, MOST_PAUSE_S = 0.2, 10.0
"""Between two attempts to connect: doubled each time, the half of it left to chance."""

LASTED_S = 10.0
"""A connection that lasted so long was a good one."""

STOP_S = 1.0
"""How long cancelled Tasks may take to stop when the worker ends."""

_FATAL = (InvalidToken, Forbidden)
"""What no further attempt mends."""


def _silent(text: str) -> None:
    """Where nobody listens."""


class WorkerClient:
    """Runs the Tasks of the API process at `api_url` through `executor`, as `offering` says.

    `executor` may be anything that runs Tasks: the Modules of this process, or the Workers of
    another API process. `authorization` gives the header of that name, anew for each attempt.
    `say` is told in words what goes on.
    """

    def __init__(
        self,
        executor: Executor,
        offering: Offering,
        *,
        api_url: str,
        authorization: Callable[[], str],
        name: str | None = None,
        worker_id: str | None = None,
        node: str = "",
        say: Callable[[str], None] = _silent,
        connect: Callable[[], Awaitable[Transport]] | None = None,
        media: Callable[[m.Welcome], Media] | None = None,
    ) -> None:
        self.worker_id = worker_id or new_id()
        self._executor, self._offering, self._say = executor, offering, say
        self._api_url, self._authorization = api_url, authorization
        self._name, self._node = (name or socket.gethostname())[:128], node
        self._connect = connect or self._dial
        self._media = media or self._http_media
        self._session: Session | None = None
        self._stop = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()
        self._attempts = 0

    @property
    def running(self) -> int:
        """How many Tasks it has."""
        return self._session.running if self._session else 0

    async def run(self) -> None:
        """Serve until `drain` was called and no Task is left.

        Raises InvalidToken, Forbidden or ProtocolViolation if the server does not want it.
        """
        try:
            while not self._stop.is_set():
                try:
                    await self._once()
                except _FATAL:
                    raise
                except (Disconnected, TurnlabError) as error:
                    await self._pause(error)
        finally:
            await self._stopped()

    def drain(self) -> None:
        """Take no more Tasks; `run` returns once those under way have ended."""
        self._stop.set()
        if self._session is not None:
            self._session.drain()

    def changed(self) -> None:
        """What it serves may not be as it was: tell the server."""
        if self._session is not None:
            self._session.changed()

    async def fail(self, error: TurnlabError) -> None:
        """Fail all Tasks under way, tell the server, and end."""
        self._stop.set()
        if self._session is not None:
            self._session.fail(error)
            await self._session.leave(error.message)

    async def _dial(self) -> Transport:
        return await dial(self._api_url, self._authorization())

    def _http_media(self, welcome: m.Welcome) -> Media:
        return HttpMedia(self._api_url, self._authorization, welcome.node)

    async def _once(self) -> None:
        """One connection, to its end. Raises why it ended, unless this worker drained."""
        transport = await self._connect()
        session = Session(transport, self._executor, self._offering, self._media)
        try:
            self._told(await self._greet(session))
        except BaseException:
            await asyncio.shield(transport.close())
            raise
        self._session = session
        session.changed()  # what it serves may have changed while it was greeted
        began_s = self._executor.clock.now()
        serving = asyncio.create_task(session.run())
        leaving = asyncio.create_task(self._drained(session))
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            self._session = None
            if self._executor.clock.now() - began_s >= LASTED_S:
                self._attempts = 0
            for job in session.stopping:
                self._ending.add(job)
                job.add_done_callback(self._ending.discard)
            leaving.cancel()
            serving.cancel()
            await asyncio.gather(serving, leaving, return_exceptions=True)

    async def _greet(self, session: Session) -> m.Welcome:
        """Say hello. Raises ProtocolViolation if the server speaks another version."""
        hello = m.Hello(
            protocol=m.PROTOCOL,
            worker_id=self.worker_id,
            name=self._name,
            node=self._node,
            modules=self._offering.offers(),
            concurrency=self._offering.concurrency,
            hardware=host_facts(),
            pid=os.getpid(),
        )
        return await session.open(hello)

    def _told(self, welcome: m.Welcome) -> None:
        names = ", ".join(welcome.accepted) or "nothing"
        self._say(f"connected to {self._api_url} as {self._name}; serves {names}")
        for name, reason in welcome.refused.items():
            self._say(f"{name} is not asked for: {reason}")

    async def _drained(self, session: Session) -> None:
        await self._stop.wait()
        session.drain()
        await session.idle()
        await session.leave("the worker stops")

    async def _pause(self, error: Exception) -> None:
        """Say what happened and wait a while, unless it is time to stop."""
        if self._stop.is_set():
            return
        longest_s = min(MOST_PAUSE_S, LEAST_PAUSE_S * 2**self._attempts)
        self._attempts += 1
        pause_s = longest_s * random.uniform(0.5, 1.0)
        what = str(error).rstrip(".") or repr(error)
        self._say(f"no connection: {what}; trying again in {pause_s:.1f} s")
        stop = asyncio.create_task(self._stop.wait())
        clock = self._executor.clock
        wait = asyncio.create_task(clock.sleep_until(clock.now() + pause_s))
        try:
            await asyncio.wait({stop, wait}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            wait.cancel()

    async def _stopped(self) -> None:
        """Give what was cancelled a moment to stop."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=STOP_S)
