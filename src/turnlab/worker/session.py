"""One connection of a worker's, from hello to farewell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from turnlab.errors import NotReady, ProtocolViolation, TurnlabError
from turnlab.wire import messages as m
from turnlab.wire.failures import error_of, shortened
from turnlab.wire.fields import Offer
from turnlab.wire.media import Media
from turnlab.wire.outbox import Outbox
from turnlab.wire.transports import Disconnected, Transport
from turnlab.work import Executor
from turnlab.worker.job import Bench, Job
from turnlab.worker.memory import resident_mib
from turnlab.worker.offering import Offering

HANDSHAKE_S = 10.0
FAREWELL_S = 2.0
"""How long what is left to say may take."""


class Session:
    """Serves one connection: `open`, then `run` until it ends."""

    def __init__(
        self,
        transport: Transport,
        executor: Executor,
        offering: Offering,
        media: Callable[[m.Welcome], Media],
    ) -> None:
        self._transport, self._executor, self._offering = transport, executor, offering
        self._make_media = media
        self._outbox = Outbox(transport)
        self._jobs: dict[int, tuple[Job, asyncio.Task[None]]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._told: tuple[tuple[Offer, ...], int] | None = None
        self._lease_s = 0.0
        self._heard_s = executor.clock.now()
        self._draining = False
        self._bench: Bench | None = None

    @property
    def running(self) -> int:
        """How many Tasks it has."""
        return len(self._jobs)

    @property
    def stopping(self) -> list[asyncio.Task[None]]:
        """The jobs that have not ended yet."""
        return [task for _, task in self._jobs.values()]

    async def open(self, hello: m.Hello) -> m.Welcome:
        """Say hello. Raises Disconnected, or what the server refuses the worker for."""
        self._told = hello.modules, hello.concurrency
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._transport.send(m.write(hello))
                answer = await self._answer()
        except TimeoutError:
            raise Disconnected("the server did not answer the greeting in time") from None
        if isinstance(answer, m.Bye):
            if not answer.code:
                raise Disconnected(answer.reason)
            raise error_of(answer.code, answer.reason, "")
        if not isinstance(answer, m.Welcome):
            raise ProtocolViolation(f"The server answered the greeting with {answer.type}.")
        self._lease_s = answer.lease_s
        self._bench = Bench(
            executor=self._executor,
            offering=self._offering,
            outbox=self._outbox,
            media=self._make_media(answer),
        )
        return answer

    async def _answer(self) -> m.Message:
        """What the server answers to the greeting, once it has compared the clocks."""
        while True:
            message = m.read(await self._transport.receive())
            if not isinstance(message, m.Ping):
                return message
            pong = self._pong(message.number, self._executor.clock.now())
            await self._transport.send(m.write(pong))

    async def run(self) -> None:
        """Do what the server says until the connection ends. Raises Disconnected and why."""
        self._heard_s = self._executor.clock.now()
        parts = (self._outbox.run(), self._read(), self._watch())
        jobs = [asyncio.ensure_future(each) for each in parts]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        except ProtocolViolation as error:
            await self._leave(error)
            raise
        finally:
            for each in [*jobs, *self.stopping]:
                each.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            with suppress(TimeoutError, Disconnected):
                async with asyncio.timeout(FAREWELL_S):
                    await self._transport.close()

    def drain(self) -> None:
        """Take no more Tasks, and say so."""
        if not self._draining:
            self._draining = True
            self._outbox.put(m.Drain())

    async def idle(self) -> None:
        """Wait until no Task is left."""
        await self._idle.wait()

    async def leave(self, reason: str) -> None:
        """Say all that is left to say, and farewell."""
        self._outbox.put(m.Bye(code="", reason=shortened(reason)))
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._outbox.flushed()

    def fail(self, error: TurnlabError) -> None:
        """Fail all Tasks under way."""
        for job, task in self._jobs.values():
            job.fail(error)
            task.cancel()

    def changed(self) -> None:
        """Tell what is served now, if it is not as it was told."""
        offers, concurrency = self._offering.offers(), self._offering.concurrency
        if self._bench is not None and (offers, concurrency) != self._told:
            self._told = offers, concurrency
            self._outbox.put(m.Capabilities(modules=offers, concurrency=concurrency))

    async def _leave(self, error: TurnlabError) -> None:
        with suppress(TimeoutError, Disconnected):
            bye = m.Bye(code=error.code, reason=shortened(error.message))
            async with asyncio.timeout(FAREWELL_S):
                await self._transport.send(m.write(bye))

    async def _watch(self) -> None:
        """End the connection when the server has been silent for too long."""
        clock = self._executor.clock
        while clock.now() - self._heard_s <= self._lease_s:
            await clock.sleep_until(self._heard_s + self._lease_s + 0.001)
        raise Disconnected(f"nothing was heard of the server for {self._lease_s:g} s")

    async def _read(self) -> None:
        while True:
            data = await self._transport.receive()
            self._heard_s = self._executor.clock.now()
            self._take(m.read(data), self._heard_s)

    def _take(self, message: m.Message, now_s: float) -> None:
        match message:
            case m.Ping(number=number):
                self._outbox.put(self._pong(number, now_s))
            case m.Open():
                self._open(message, now_s)
            case m.Cancel(task=number):
                if number in self._jobs:
                    self._jobs[number][1].cancel()
            case m.In() | m.InEnd() | m.InFail() | m.Credit() | m.Urgency():
                if message.task in self._jobs:  # else it has just ended
                    self._jobs[message.task][0].take(message)
            case m.Bye(code=code, reason=reason):
                raise error_of(code, reason, "") if code else Disconnected(reason)
            case _:
                raise ProtocolViolation(f"A server does not send a {message.type}.")

    def _pong(self, number: int, got_s: float) -> m.Pong:
        return m.Pong(
            number=number,
            got_s=got_s,
            memory_mib=resident_mib(),
            running=len(self._jobs),
            answered_s=self._executor.clock.now(),
        )

    def _open(self, opened: m.Open, got_s: float) -> None:
        if self._bench is None or opened.task in self._jobs:
            raise ProtocolViolation(f"Task {opened.task} was opened twice.")
        job = Job(opened, self._bench, got_s)
        if self._draining:
            job.fail(NotReady("The worker is stopping."))
            return
        task = asyncio.create_task(job.run())
        self._jobs[opened.task] = job, task
        self._idle.clear()
        # Not in the job itself, of which nothing runs if it is cancelled before its first step.
        task.add_done_callback(lambda _: self._ended(opened.task, job))

    def _ended(self, number: int, job: Job) -> None:
        job.stopped()
        del self._jobs[number]
        if not self._jobs:
            self._idle.set()
        self.changed()
