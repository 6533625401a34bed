"""One turn while it runs: its Tasks are created when their moment has come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any, cast

from turnlab.chunks import Chunk, Speech
from turnlab.clusters.manager import create_task
from turnlab.clusters.plan import Plan, Step
from turnlab.conversations import Conversation, Exchange
from turnlab.errors import (
    ModuleFailed,
    ModuleTimeout,
    TooMuchOutput,
    TurnlabError,
    UpstreamFailed,
)
from turnlab.listener import NAME as LISTENER
from turnlab.listener import Listener
from turnlab.machine import BACKGROUND
from turnlab.modules.base import Inputs
from turnlab.profiles import USER, Activity, LatencyProfile, Span, critical_path
from turnlab.records import Recorder
from turnlab.spill import Spill
from turnlab.streams import LEAD, Stream
from turnlab.tasks import TaskStatus
from turnlab.tracks import Mode, Replay, TrackStatus
from turnlab.turn_records import TurnRecords, begin_track, result_of
from turnlab.turn_result import TurnResult, turn_result
from turnlab.turn_trace import Trace
from turnlab.usage import Usage
from turnlab.work import EMBEDDED, Executor, Observer, Priority, Source, Work, priority_of

MOST_CHUNKS = 100_000
"""How many Chunks a Task may make; more than an hour of sound in pieces of 40 ms."""

GRACE_S = 0.5
"""How much later than its time a Task may end that nobody stopped."""

Sources = Mapping[type[Chunk], Stream[Any]]


class Turn:
    """The state of one turn while it runs."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        *,
        executor: Executor,
        recorder: Recorder,
        mode: Mode,
        conversation: Conversation | None,
        observer: Observer,
        host: Mapping[str, Any],
        track_id: str | None,
        priority: Priority,
        history: tuple[Exchange, ...],
        replay: Replay | None,
    ) -> None:
        self.executor = executor
        self.clock = executor.clock
        self.plan = plan
        self.source = source
        self.mode = mode
        self.conversation = conversation
        self.history = tuple(conversation.exchanges) if conversation else history
        self.observer = observer
        self.start_s = self.clock.now()
        self.priority = priority_of(priority, first=not self.history)
        track = begin_track(plan, source, mode, host, conversation, track_id, replay)
        self.traces: dict[str, Trace] | None = None if replay is None else {}
        self.usage = Usage() if replay is not None else None
        self.records = TurnRecords(track=track, recorder=recorder, observer=observer)
        self.works: dict[str, Work] = {}
        self.activities: dict[str, Activity] = {}
        self.listener = Listener(self.clock)
        self.spill = Spill()
        speaker = plan.newest(Speech)
        self.speaker = speaker.name if speaker else None
        self.inputs = {kind: self._stream(kind, USER) for kind in source.kinds}
        self.outputs = {step.name: self._stream(step.produces, step.name) for step in plan.steps}

    async def run(self) -> TurnResult:
        """Everything at once: input, Components, listener; then the records."""
        self.records.open(self.conversation)
        jobs = [asyncio.create_task(self._feed())]
        jobs += [asyncio.create_task(self._component(step)) for step in self.plan.steps]
        jobs.append(asyncio.create_task(self._listen()))
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
            for job in done:
                job.result()
        except asyncio.CancelledError:
            try:
                await self._cancel(jobs)
            finally:
                failed = self.records.error is not None
                self._finish(TrackStatus.FAILED if failed else TrackStatus.CANCELLED)
            raise
        except TurnlabError as error:
            self.records.fail(error)
            await self._cancel(jobs)
        except Exception as error:
            self.records.fail(ModuleFailed(f"The runner itself failed: {error!r}"))
            await self._cancel(jobs)
        return self._finish(TrackStatus.FAILED if self.records.error else TrackStatus.COMPLETED)

    async def _cancel(self, jobs: list[asyncio.Task[None]]) -> None:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    def _stream(self, kind: type[Chunk], producer: str) -> Stream[Any]:
        readers = sum(step.reads.get(kind) == producer for step in self.plan.steps)
        return Stream(
            kind,
            clock=self.clock,
            producer=producer,
            consumers=readers + (producer == self.speaker),
            lead=LEAD if self._bounded(producer) else None,
            spill=self.spill,
        )

    def _bounded(self, producer: str) -> bool:
        """Not where a reader may begin only after an end that is yet to come: both would wait.

        That end is the producer's own where `after` names it, and that of another kind where
        the user gives several at once.
        """
        awaited = any(producer in step.component.after for step in self.plan.steps)
        several = producer == USER and len(self.source.kinds) > 1
        return self.mode is Mode.STREAMED and not awaited and not several

    async def _feed(self) -> None:
        try:
            await self.source.feed(self.inputs, self.start_s)
            for stream in self.inputs.values():
                stream.end()
        except TurnlabError as error:
            self.records.fail(error)
            for stream in self.inputs.values():
                stream.fail(UpstreamFailed(f"The input failed: {error}"))
        finally:
            for stream in self.inputs.values():
                stream.cancel()
                self.records.content(stream, None)

    async def _component(self, step: Step) -> None:
        """One Component: wait for its moment, perform its Task, keep what it made."""
        output = self.outputs[step.name]
        sources = self._sources(step)
        try:
            await self._moment(step, sources)
            await self._perform(step, sources, output)
        except UpstreamFailed as error:
            self._end(step, TaskStatus.CANCELLED, error)
            output.fail(error)
        except TurnlabError as error:
            error.component = error.component or step.name
            self.records.fail(error)
            self._end(step, TaskStatus.FAILED, error)
            output.fail(UpstreamFailed(f"{step.name} failed: {error}", component=step.name))
        except asyncio.CancelledError:
            self._end(step, TaskStatus.CANCELLED)
            output.cancel()
            raise
        finally:
            for stream in sources.values():
                stream.release()

    def _sources(self, step: Step) -> Sources:
        """What the Component reads, but for kinds that it only uses and nobody gives."""
        return {
            kind: self.inputs[kind] if name == USER else self.outputs[name]
            for kind, name in step.reads.items()
            if name != USER or kind in self.inputs
        }

    async def _moment(self, step: Step, sources: Sources) -> None:
        """Chained: what it reads from has completed. Streamed: a first Chunk is there."""
        for name in step.component.after:
            if name in self.outputs:
                await self.outputs[name].finished()
        if self.mode is Mode.CHAINED:
            for stream in sources.values():
                await stream.finished()
            return
        needed = [sources[kind] for kind in step.module.consumes] or list(sources.values())
        await _any_begun(needed)
        for stream in needed:
            if stream.closed and not len(stream):
                await stream.finished()

    async def _perform(self, step: Step, sources: Sources, output: Stream[Any]) -> None:
        work = self._create(step, sources)
        try:
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(self._limit(step, sources, limit))
                try:
                    await self._emit(step, work, output)
                finally:
                    watch.cancel()
        except TimeoutError as error:
            raise self._too_slow(step) from error
        output.end(work.inputs.link(step.name, self.clock.now()))
        self._check_time(step, sources)
        activity = self.activities[step.name]
        activity.ended_s, activity.newest = output.ended_s, output.end_origin
        self._end(step, TaskStatus.COMPLETED)

    def _check_time(self, step: Step, sources: Sources) -> None:
        """Hold a Module to its time that kept the event loop, and so the timer, from running."""
        waited_s = self.works[step.name].placed_s
        began_s = max([s.ended_s or 0.0 for s in sources.values()] + [self.start_s, waited_s])
        if self.clock.now() - began_s > _allowed_s(step) + GRACE_S:
            raise self._too_slow(step)

    def _too_slow(self, step: Step) -> ModuleTimeout:
        return ModuleTimeout(
            f"{step.name} took longer than {_allowed_s(step):g} s; raise its timeout_s or "
            "take a faster model."
        )

    async def _limit(self, step: Step, sources: Sources, limit: asyncio.Timeout) -> None:
        """A Task's time counts from the end of its input, so that long speech may be long.

        Waiting for a Worker is not part of it: that is bounded by whoever hands the Tasks out.
        """
        with suppress(TurnlabError):
            for stream in sources.values():
                await stream.finished()
        await self.works[step.name].placed.wait()
        await self.clock.sleep_until(self.clock.now() + _allowed_s(step))
        limit.reschedule(asyncio.get_running_loop().time())

    async def _emit(self, step: Step, work: Work, output: Stream[Any]) -> None:
        async with aclosing(cast(Any, self.executor.perform(work))) as chunks:
            async for chunk in chunks:
                if len(output) >= MOST_CHUNKS:
                    raise TooMuchOutput(
                        f"{step.name} made more than {MOST_CHUNKS:,} Chunks; make its output end."
                    )
                now_s = self.clock.now()
                work.latency.points.setdefault("first_output", now_s)
                origin = work.inputs.link(step.name, now_s)
                if self.traces is not None:
                    self.traces[step.name].note(chunk, origin)
                await output.put(chunk, origin)
                self.observer.chunk(step.name, chunk)

    def _create(self, step: Step, sources: Sources) -> Work:
        """Create the Component's Task."""
        track_id = self.records.track.track_id
        task = create_task(track_id, step.component, step.params.model_dump(mode="json"))
        latency = LatencyProfile(self.clock)
        latency.point("created")
        depth = BACKGROUND + 2 + self.plan.depth(step.name)

        def claim(worker_id: str = EMBEDDED, attempt: int = 1, at_s: float | None = None) -> None:
            latency.points.pop("claimed", None)
            latency.point("claimed", at_s)
            self.activities[step.name].claimed_s = latency.points["claimed"]
            self.records.claim(step.name, worker_id, attempt)

        def urgency() -> int:
            return depth if self.listener.short_of_sound else BACKGROUND + 1

        if self.traces is not None:
            self.traces[step.name] = Trace()
        self.works[step.name] = Work(
            track_id=track_id,
            task_id=task.id,
            step=step,
            inputs=Inputs(sources),
            latency=latency,
            urgency=urgency,
            history=self.history,
            claim=claim,
            priority=self.priority,
        )
        self.activities[step.name] = Activity(
            created_s=latency.points["created"],
            claimed_s=float("inf"),
            intervals=latency.intervals,
        )
        self.records.task(task)
        return self.works[step.name]

    async def _listen(self) -> None:
        if self.speaker is None:
            return
        stream = self.outputs[self.speaker]
        try:
            if self.mode is Mode.CHAINED:
                await stream.finished()
            now_s = self.clock.now()
            self.activities[LISTENER] = Activity(created_s=now_s, claimed_s=now_s)
            await self.listener.listen(stream)
        except UpstreamFailed:
            return
        finally:
            stream.release()

    def _end(self, step: Step, status: TaskStatus, error: TurnlabError | None = None) -> None:
        """Close the Component's Task, if it has one that is still open."""
        task = self.records.tasks.get(step.name)
        if task is not None and not task.status.ended:
            output = self.outputs[step.name]
            work = self.works[step.name]
            result = result_of(work, output, self.start_s)
            self.records.end(
                step.name,
                status,
                output=output,
                result=result,
                trace=self._trace(step, work, output),
                error=error,
            )

    def _trace(self, step: Step, work: Work, output: Stream[Any]) -> dict[str, Any]:
        """What the Task did, Chunk by Chunk; only of a turn of a Run."""
        if self.traces is None:
            return {}
        trace = self.traces[step.name]
        trace.end = output.end_origin
        return trace.as_json(work.latency, self.start_s)

    def _finish(self, status: TrackStatus) -> TurnResult:
        """Close everything that is still open, which nothing is after a turn that completed."""
        for step in self.plan.steps:
            self._end(step, TaskStatus.CANCELLED)
        for stream in (*self.inputs.values(), *self.outputs.values()):
            stream.cancel()
        zero_s = self.source.turn_over_s(self.start_s)
        spans = self._spans(zero_s) if status is TrackStatus.COMPLETED else ()
        heard_s = self.listener.first_audible_s if status is TrackStatus.COMPLETED else None
        total_s = None if heard_s is None else round(heard_s - zero_s, 6)
        self.records.close(status, spans, total_s, self.usage.so_far() if self.usage else {})
        result = turn_result(self.plan, self.outputs, self.records, spans)
        if self.conversation and status is TrackStatus.COMPLETED:
            exchange = Exchange(text=result.transcript, reply=result.reply)
            self.conversation.exchanges.append(exchange)
        return result

    def _spans(self, zero_s: float) -> tuple[Span, ...]:
        heard = self.listener.heard
        if heard is None:
            return ()
        return tuple(critical_path(heard, self.listener.lead_s, zero_s, self.activities))


async def _any_begun(streams: list[Stream[Any]]) -> None:
    """Wait until one of the streams has a first Chunk or has closed without one."""
    waits = [asyncio.create_task(stream.begun()) for stream in streams]
    try:
        if waits:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _allowed_s(step: Step) -> float:
    return step.component.timeout_s or step.module.timeout_s
