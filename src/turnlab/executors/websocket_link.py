"""The API end of one worker's connection: a Link of the Hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, suppress
from typing import Any, cast

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.errors import ProtocolViolation, WorkerLost
from turnlab.executors.hub import NODE, WEBSOCKET
from turnlab.executors.pulse import Patience, Pulse
from turnlab.executors.remote_inputs import Line
from turnlab.executors.remote_task import RemoteTask
from turnlab.executors.worker_facts import WorkerFacts
from turnlab.wire import messages as m
from turnlab.wire.clocks import ClockOffset
from turnlab.wire.failures import shortened
from turnlab.wire.media import Media
from turnlab.wire.outbox import Outbox
from turnlab.wire.transports import NORMAL, OVERLOADED, VIOLATION, Disconnected, Transport
from turnlab.work import Work

HEARTBEAT_S, LEASE_S = 5.0, 15.0

PROBES = 5
"""Before the first Task; the fastest of them says how far the clocks are apart."""

URGENCY_S = 0.02
"""How often a Task is asked whether it has become more or less urgent."""

FAREWELL_S = 1.0
"""How long a worker that no longer reads may keep its connection from being closed."""


class _Gone(Exception):
    """The connection is to end, with this code of WebSocket and for this reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class WebSocketLink:
    """Runs Tasks on the worker at the other end of `transport`, for as long as `run` runs."""

    def __init__(
        self,
        transport: Transport,
        hello: m.Hello,
        *,
        accepts: Callable[[m.Hello | m.Capabilities], Collection[str]],
        principal: str,
        clock: Clock,
        media: Media,
        changed: Callable[[], None],
        heartbeat_s: float = HEARTBEAT_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self.id, self.name, self.principal = hello.worker_id, hello.name, principal
        self.node, self.transport = hello.node, NODE if hello.node else WEBSOCKET
        self.draining = False
        self.reason = ""
        """Why it ended; empty while it has not."""
        self._transport, self._hello, self._accepts = transport, hello, accepts
        self._clock, self._changed = clock, changed
        self._heartbeat_s, self._lease_s = heartbeat_s, lease_s
        self._outbox = Outbox(transport)
        self._offset = ClockOffset()
        self._line = Line(
            worker_id=self.id,
            worker_name=self.name,
            is_node=bool(self.node),
            clock=clock,
            offset=self._offset,
            outbox=self._outbox,
            media=media,
            disown=self._disown,
            violated=self._end,
        )
        self._disowned: set[str] = set()
        self._serve(hello)
        self._tasks: dict[int, RemoteTask] = {}
        self._numbers = 0
        self._pulse = Pulse(clock, self._offset, self._outbox)
        self._heard_s = clock.now()
        self._odd = Patience(clock)
        self._busy = asyncio.Event()
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def room(self) -> int:
        """How many more Tasks it takes now; one that was cancelled counts until it has stopped."""
        if self.draining or self.reason:
            return 0
        return max(0, self._concurrency - len(self._tasks))

    @property
    def facts(self) -> WorkerFacts:
        """The worker as it is now."""
        return WorkerFacts(
            id=self.id,
            name=self.name,
            transport=self.transport,
            principal=self.principal,
            tasks=tuple(offer.as_json() for offer in self._offers.values()),
            hardware=self._hello.hardware,
            pid=self._hello.pid,
            concurrency=self._concurrency,
            running=self._pulse.running,
            memory_mib=self._pulse.memory_mib,
            draining=self.draining,
            clock_offset_s=self._offset.offset_s,
            round_trip_s=self._offset.round_trip_s,
        )

    def places(self, task_name: str) -> int:
        """How many Tasks of this name it runs at once; 0 if it does not serve them."""
        offer = self._offers.get(task_name)
        return offer.places if offer and not self.reason else 0

    async def perform(self, work: Work, attempt: int = 1) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes there. Raises WorkerLost, and what the Module raises."""
        if self.reason:
            raise WorkerLost(f"The worker {self.name} was lost ({shortened(self.reason)}).")
        task = self._tasks[self._numbers] = RemoteTask(self._numbers, work, attempt, self._line)
        self._numbers += 1
        self._busy.set()
        try:
            async with aclosing(cast(Any, task.run())) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            task.cancel()
            if task.over:
                self._tasks.pop(task.number, None)

    async def run(self, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        """Serve the connection until it ends; then `reason` says why.

        `ready` is called once the clocks are compared, `beat` after each heartbeat.
        """
        jobs = [
            asyncio.ensure_future(each)
            for each in (
                self._ending,
                self._outbox.run(),
                self._read(),
                self._beat(ready, beat),
                self._tell_urgencies(),
            )
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            failed = [error for each in done if (error := each.exception())]
            await self._leave(failed[0] if failed else Disconnected("it said farewell"))
        except asyncio.CancelledError:
            await self._leave(_Gone(NORMAL, "the server stops"))
            raise
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    def welcome(self, message: m.Welcome) -> None:
        """Tell the worker that it is in."""
        self._outbox.put(message)

    def close(self, reason: str) -> None:
        """End the connection."""
        self._end(_Gone(NORMAL, reason))

    def _end(self, error: Exception) -> None:
        if not self._ending.done():
            self._ending.set_exception(error)

    async def _leave(self, error: BaseException) -> None:
        """Tell everybody why it ends: the Tasks, the worker."""
        self.reason = str(error) or repr(error)
        for task in self._tasks.values():
            task.lose(self.reason)
        code = error.code if isinstance(error, _Gone) else VIOLATION
        with suppress(TimeoutError, Disconnected):
            async with asyncio.timeout(FAREWELL_S):
                if not isinstance(error, Disconnected):
                    kind = ProtocolViolation.code if code == VIOLATION else ""
                    bye = m.Bye(code=kind, reason=shortened(self.reason))
                    await self._transport.send(m.write(bye))
                await self._transport.close(code, self.reason)
        if not isinstance(error, (Disconnected, ProtocolViolation, _Gone)):
            raise error

    async def _read(self) -> None:
        while True:
            data = await self._transport.receive()
            self._heard_s = self._clock.now()
            message = m.read(data)
            if isinstance(message, m.Bye):
                raise Disconnected(message.reason or "it said farewell")
            self._take(message, self._heard_s)

    def _take(self, message: m.Message, now_s: float) -> None:
        match message:
            case m.Pong():
                self._pulse.take(message, now_s)
            case m.Capabilities():
                self._odd.count()
                self._serve(message)
                self._changed()
            case m.Drain():
                self._odd.count()
                self.draining = True
                self._changed()
            case m.Credit() | m.Started() | m.Out() | m.Timing() | m.End() | m.Fail() | m.Stopped():
                self._take_of_task(message, now_s)
            case _:
                raise ProtocolViolation(f"A worker does not send a {message.type}.")

    def _take_of_task(self, message: Any, now_s: float) -> None:
        if message.task >= self._numbers:
            raise ProtocolViolation(f"Task {message.task} was never opened.")
        task = self._tasks.get(message.task)
        if task is None:  # it has ended: told twice, or too late
            self._odd.count()
            return
        task.take(message, now_s)
        if task.over:
            del self._tasks[message.task]
            if not self._tasks:
                self._busy.clear()
            self._changed()

    def _serve(self, told: m.Hello | m.Capabilities) -> None:
        """Take over what the worker serves, as far as it is accepted."""
        self._concurrency = told.concurrency
        accepted = set(self._accepts(told)) - self._disowned
        self._offers = {o.task_name: o for o in told.modules if o.task_name in accepted}

    def _disown(self, task_name: str) -> None:
        self._disowned.add(task_name)
        self._offers.pop(task_name, None)
        self._changed()

    async def _beat(self, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(self._lease_s):
                for _ in range(PROBES):
                    await self._pulse.ping()
        except TimeoutError:
            raise _Gone(VIOLATION, "it did not answer the first pings") from None
        ready()
        while True:
            await self._clock.sleep_until(self._clock.now() + self._heartbeat_s)
            self._check()
            beat()
            self._pulse.ping()

    def _check(self) -> None:
        """Raise what says that the worker is gone although its connection is not."""
        if self._outbox.overfull:
            raise _Gone(OVERLOADED, "it does not read what it is sent")
        if self._clock.now() - self._heard_s > self._lease_s:
            raise _Gone(NORMAL, f"nothing was heard of it for {self._lease_s:g} s")

    async def _tell_urgencies(self) -> None:
        while True:
            await self._busy.wait()
            for task in list(self._tasks.values()):
                task.tell_urgency()
            await self._clock.sleep_until(self._clock.now() + URGENCY_S)
