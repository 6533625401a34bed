"""One Task on a worker elsewhere, as the API end has it: what goes there, what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from turnlab.chunks import Chunk
from turnlab.errors import (
    InvalidParams,
    NotReady,
    NoWorker,
    ProtocolViolation,
    TurnlabError,
    UnknownModule,
    WorkerLost,
)
from turnlab.executors.remote_account import Account
from turnlab.executors.remote_inputs import Line, RemoteInputs
from turnlab.wire import messages as m
from turnlab.wire.chunks import decode_chunk
from turnlab.wire.credit import Grants
from turnlab.wire.failures import error_of, shortened
from turnlab.wire.frames import from_json, to_json
from turnlab.work import Work

_ELSEWHERE = frozenset({UnknownModule.code, NotReady.code, NoWorker.code})
"""Codes that say, before the Module began, that another worker should have the Task."""


class RemoteTask:
    """A Task under way on a worker. `over` once the worker has told its end."""

    def __init__(self, number: int, work: Work, attempt: int, line: Line) -> None:
        self.number, self.work, self.over = number, work, False
        self._line, self._attempt = line, attempt
        self._open = self._unwanted = False
        self._outputs = 0
        self._urgency = work.urgency()
        self._inbox: asyncio.Queue[tuple[m.Message | Exception, float]] = asyncio.Queue()
        self._inputs = RemoteInputs(number, work.inputs.streams, line, self.tell_urgency)
        self._account = Account(work, attempt, line, self._inputs)
        self._grants = Grants(self._grant)

    async def run(self) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes. Raises WorkerLost, and what the worker tells."""
        feeding: asyncio.Task[None] | None = None
        try:
            self._line.outbox.put(await self._opening())
            self._open = True
            feeding = asyncio.create_task(self._feed())
            while (chunk := await self._next()) is not None:
                yield chunk
                self._grants.taken()
        except ProtocolViolation as error:
            self._line.violated(error)
            raise self._lost(str(error)) from error
        finally:
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
            await self._inputs.forget()

    def cancel(self) -> None:
        """Tell the worker, if it has heard of it, that nobody wants it any more."""
        self._unwanted = True
        self.over = self.over or not self._open
        if not self.over:
            self._line.outbox.put(m.Cancel(task=self.number))

    def lose(self, reason: str) -> None:
        """The worker is gone."""
        self._inbox.put_nowait((self._lost(reason), self._line.clock.now()))

    def tell_urgency(self) -> None:
        """Tell the worker if the Task has become more or less urgent."""
        urgency = self.work.urgency()
        if urgency != self._urgency and not self.over:
            self._urgency = urgency
            self._line.outbox.put(m.Urgency(task=self.number, value=urgency))

    def take(self, message: m.Message, now_s: float) -> None:
        """A message of the worker's about this Task. Raises ProtocolViolation."""
        match message:
            case m.Credit(kind=kind, count=count):
                self._inputs.allow(kind, count)
                return
            case m.Started():
                self._account.started(message, now_s, wanted=not self._unwanted)
                return
            case m.Out():
                self._check(message)
            case m.Timing() if not message.intervals:
                raise ProtocolViolation("A timing was sent that tells of nothing.")
            case m.End() | m.Fail() | m.Stopped():
                self.over = True
        if isinstance(message, m.Told):
            self._account.bound(message)
        if not self._unwanted:
            self._inbox.put_nowait((message, now_s))

    async def _feed(self) -> None:
        try:
            await self._inputs.feed()
        except Exception as error:  # nobody waits for this job: whoever reads the Chunks is told
            self._inbox.put_nowait((error, self._line.clock.now()))

    def _lost(self, reason: str) -> WorkerLost:
        return WorkerLost(
            f"The worker {self._line.worker_name} was lost while it had {self.work.step.name} "
            f"({shortened(reason)}); look at its log, then run the Track again.",
            component=self.work.step.name,
        )

    async def _opening(self) -> m.Open:
        work, step = self.work, self.work.step
        history = [[each.text, each.reply] for each in work.history]
        body = {"params": plain_params(step.params), "history": history}
        payload, media = await self._inputs.body(to_json(body))
        self._account.open()
        return m.Open(
            task=self.number,
            task_id=work.task_id,
            attempt=self._attempt,
            track_id=work.track_id,
            component=step.name,
            task_name=step.module.task_name,
            version=step.module.version,
            inputs=self._inputs.declared(),
            urgency=self._urgency,
            priority=work.priority,
            payload=payload,
            media=media,
        )

    def _grant(self, count: int) -> None:
        if not self.over:
            self._line.outbox.put(m.Credit(task=self.number, count=count))

    def _check(self, message: m.Out) -> None:
        """Hold an output to its kind, its number and the credit that there was for it."""
        made = self.work.step.produces.kind
        if message.kind != made or message.number != self._outputs:
            raise ProtocolViolation(
                f"{message.kind} {message.number} came in place of {made} {self._outputs}."
            )
        self._outputs += 1
        self._grants.arrived()

    async def _next(self) -> Chunk | None:
        """The next Chunk, None once the Task has completed."""
        while True:
            message, now_s = await self._inbox.get()
            match message:
                case Exception():
                    raise message
                case m.Out():
                    data = await self._payload(message)
                    self._account.out(message, self._line.clock.now() if message.media else now_s)
                    return decode_chunk(message.kind, data)
                case m.Timing():
                    self._account.told(message, now_s)
                case m.End() | m.Fail():
                    self._account.told(message, now_s)
                    await self._result(message)
                    if isinstance(message, m.End):
                        return None
                    raise self._failure(message)
                case _:
                    raise ProtocolViolation("A Task was stopped that nobody had cancelled.")

    async def _payload(self, message: m.Bulky) -> bytes | memoryview:
        return await self._inputs.fetch(message.media) if message.media else message.payload

    async def _result(self, message: m.End | m.Fail) -> None:
        data = await self._payload(message)
        result = from_json(data) if len(data) else {}
        if not isinstance(result, dict):
            raise ProtocolViolation("The result of a Task is no JSON object.")
        self.work.result.update(result)

    def _failure(self, message: m.Fail) -> TurnlabError:
        """The error that the worker told of; before the Module began it may concern only it."""
        if not self._account.starts and message.code in _ELSEWHERE:
            if message.code == UnknownModule.code:
                self._line.disown(self.work.step.module.task_name)
            return self._lost(message.message)
        return error_of(message.code, message.message, message.component or self.work.step.name)


def plain_params(params: BaseModel) -> dict[str, Any]:
    """Params as JSON that the Module takes back, secrets as they are, for the worker needs them.

    Raises InvalidParams if they cannot be.
    """
    try:
        values: dict[str, Any] = from_json(to_json(params.model_dump(), default=_plain))
    except (TypeError, ValueError) as error:
        raise InvalidParams(f"Parameters cannot be sent to a worker: {error!s:.200}.") from error
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return to_jsonable_python(value)
