"""One Task at the AI end: its Work is made from a message, its Chunks become messages."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, cast

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.clusters.declaration import Component
from turnlab.clusters.plan import Step
from turnlab.conversations import Exchange
from turnlab.errors import InvalidModule, ModuleFailed, ProtocolViolation, TurnlabError
from turnlab.modules.base import Inputs
from turnlab.profiles import LatencyProfile
from turnlab.spill import Spill
from turnlab.wire import messages as m
from turnlab.wire.chunks import encode_chunk
from turnlab.wire.credit import Allowance
from turnlab.wire.failures import code_of, shortened
from turnlab.wire.frames import INLINE, from_json, to_json
from turnlab.wire.media import Media
from turnlab.wire.outbox import Outbox
from turnlab.work import EMBEDDED, Executor, Work
from turnlab.worker.feeds import Feed
from turnlab.worker.measured import Measured
from turnlab.worker.offering import Offering


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the jobs of one connection share."""

    executor: Executor
    offering: Offering
    outbox: Outbox
    media: Media

    @property
    def clock(self) -> Clock:
        """The clock of this end."""
        return self.executor.clock


class Job:
    """Runs one Task. `told` once its end was sent, after which nothing more is."""

    def __init__(self, opened: m.Open, bench: Bench, got_s: float) -> None:
        self.told = False
        self._opened, self._bench, self._got_s = opened, bench, got_s
        self._urgency = opened.urgency
        self._allowance = Allowance()
        self._outputs = 0
        spill = Spill()
        self._feeds = {
            each[0]: Feed(
                each, clock=bench.clock, media=bench.media, spill=spill, grant=self._grant
            )
            for each in opened.inputs
        }
        self._inputs = Inputs({feed.kind: feed.stream for feed in self._feeds.values()})
        self._measured = Measured(LatencyProfile(bench.clock), self._inputs)
        self._result: dict[str, Any] = {}

    def take(self, message: m.Message) -> None:
        """A message about this Task. Raises ProtocolViolation."""
        match message:
            case m.In() | m.InEnd() | m.InFail():
                if message.kind not in self._feeds:
                    raise ProtocolViolation(f"The Task reads no {message.kind}.")
                self._feeds[message.kind].take(message)
            case m.Credit(count=count):
                self._allowance.add(count)
            case m.Urgency(value=value):
                self._urgency = value

    async def run(self) -> None:
        """The whole Task. Whatever becomes of it is told; cancelling this call stops it."""
        feeding = [asyncio.create_task(self._feed(feed)) for feed in self._feeds.values()]
        try:
            await self._perform()
        except asyncio.CancelledError:
            self.stopped()
            raise
        except TurnlabError as error:
            await self._fail(error)
        except Exception as error:
            await self._fail(ModuleFailed(f"The worker itself failed: {error!r}"))
        finally:
            for each in feeding:
                each.cancel()
            await asyncio.gather(*feeding, return_exceptions=True)

    def stopped(self) -> None:
        """Tell that the Task is over, if nothing else was told."""
        self._tell(m.Stopped(task=self._opened.task))

    def fail(self, error: TurnlabError) -> None:
        """Tell at once that the Task has failed; stopping it may take a while."""
        self._tell(self._failure(error))

    async def _perform(self) -> None:
        work = await self._work()
        for feed in self._feeds.values():
            await feed.there.wait()
        async with aclosing(cast(Any, self._bench.executor.perform(work))) as chunks:
            async for chunk in chunks:
                await self._out(chunk, work.step)
        payload, media = await self._body(self._result_json())
        self._flush()
        self._tell(
            m.End(task=self._opened.task, payload=payload, media=media, **self._measured.all())
        )

    async def _feed(self, feed: Feed) -> None:
        """Feed one input; what keeps it from coming fails the Task that reads it."""
        try:
            await feed.run()
        except TurnlabError as error:
            feed.stream.fail(error)
            feed.there.set()

    async def _work(self) -> Work:
        opened = self._opened
        module = self._bench.offering.module(opened.task_name)
        data = opened.payload
        if opened.media:
            data = await self._bench.media.get(opened.media)
        values, history = _body(data)
        params = module.check_params(values)
        component = Component(name=opened.component, task_name=opened.task_name, params=values)
        step = Step(
            component=component,
            module=module.wired(params),
            params=params,
            reads={feed.kind: feed.stream.producer for feed in self._feeds.values()},
        )
        return Work(
            track_id=opened.track_id,
            task_id=opened.task_id,
            step=step,
            inputs=self._inputs,
            latency=self._measured.latency,
            urgency=lambda: self._urgency,
            history=history,
            claim=self._claim,
            priority=opened.priority,
            result=self._result,
        )

    def _claim(
        self, worker_id: str = EMBEDDED, attempt: int = 1, at_s: float | None = None
    ) -> None:
        self._bench.offering.began(self._opened.task_name)
        self._tell_more(
            m.Started(
                task=self._opened.task,
                got_s=self._got_s,
                at_s=self._bench.clock.now() if at_s is None else at_s,
                by="" if worker_id == EMBEDDED else worker_id,
            )
        )

    async def _out(self, chunk: Chunk, step: Step) -> None:
        """Send a Chunk as soon as its reader has room for it."""
        if not isinstance(chunk, step.produces):
            raise InvalidModule(
                f"{step.name} emitted {type(chunk).__name__}, not {step.produces.kind}; emit what "
                "`produces` names."
            )
        if flaw := chunk.flaw():
            raise InvalidModule(f"{step.name} emitted {chunk.kind}, but {flaw}.")
        read = self._measured.read()
        await self._allowance.take()
        sent_s = self._bench.clock.now()
        payload, media = await self._body(encode_chunk(chunk))
        await self._bench.outbox.room()
        self._flush()
        self._tell_more(
            m.Out(
                task=self._opened.task,
                kind=step.produces.kind,
                number=self._outputs,
                sent_s=sent_s,
                payload=payload,
                media=media,
                intervals=self._measured.take(),
                **read,
            )
        )
        self._outputs += 1

    async def _body(self, payload: bytes) -> tuple[bytes, str]:
        if len(payload) <= INLINE:
            return payload, ""
        return b"", await self._bench.media.put(payload)

    def _grant(self, kind: str, count: int) -> None:
        self._tell_more(m.Credit(task=self._opened.task, kind=kind, count=count))

    def _flush(self) -> None:
        """Send measurements until the rest fits into one message."""
        while self._measured.plenty:
            self._tell_more(m.Timing(task=self._opened.task, intervals=self._measured.take()))

    def _result_json(self) -> bytes:
        try:
            return to_json(self._result) if self._result else b""
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidModule(
                f"{self._opened.component} added to its result what is no JSON: {error!s:.200}"
            ) from error

    async def _fail(self, error: TurnlabError) -> None:
        """Tell what failed, with what there is of its result."""
        payload, media = b"", ""
        with suppress(TurnlabError):
            payload, media = await self._body(self._result_json())
        self._flush()
        self._tell(self._failure(error, payload=payload, media=media))

    def _failure(self, error: TurnlabError, payload: bytes = b"", media: str = "") -> m.Fail:
        return m.Fail(
            task=self._opened.task,
            code=code_of(error),
            message=shortened(error.message),
            component=shortened(error.component or ""),
            payload=payload,
            media=media,
            **self._measured.all(),
        )

    def _tell(self, end: m.Message) -> None:
        """Send the end of the Task, of which there is one."""
        self._tell_more(end)
        self.told = True

    def _tell_more(self, message: m.Message) -> None:
        if not self.told:
            self._bench.outbox.put(message)


def _body(data: bytes | memoryview) -> tuple[dict[str, Any], tuple[Exchange, ...]]:
    """Parameters and history. Raises ProtocolViolation if they are not as they should be."""
    body = from_json(data)
    try:
        values, rows = dict(body["params"]), body["history"]
        history = tuple(Exchange(text=str(text), reply=str(reply)) for text, reply in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation(f"A Task was opened with a wrong body: {error!r:.200}") from error
    return values, history
