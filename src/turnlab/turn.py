"""One turn while it runs: its Tasks are created when their moment has come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from turnlab.chunks import Chunk, Reply, Speech, Transcript
from turnlab.clusters.manager import create_task
from turnlab.clusters.plan import USER, Plan, Step
from turnlab.errors import ModuleFailed, ModuleTimeout, TurnlabError, UpstreamFailed
from turnlab.listener import NAME as LISTENER
from turnlab.listener import Listener
from turnlab.machine import BACKGROUND
from turnlab.modules.base import Exchange, Inputs
from turnlab.profiles import Activity, LatencyProfile, Span, critical_path
from turnlab.records import Recorder, content_of
from turnlab.spill import Spill
from turnlab.streams import LEAD, Stream
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id
from turnlab.work import Executor, Observer, Source, Work


@dataclass(frozen=True, kw_only=True)
class TurnResult:
    """What became of a turn; `error` is None if it completed."""

    track: Track
    tasks: tuple[Task, ...]
    spans: tuple[Span, ...]
    transcript: str
    reply: str
    speech: Speech | None
    error: TurnlabError | None


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
        history: tuple[Exchange, ...],
        observer: Observer,
        host: Mapping[str, Any],
    ) -> None:
        self.executor = executor
        self.recorder = recorder
        self.clock = executor.clock
        self.plan = plan
        self.source = source
        self.mode = mode
        self.history = history
        self.observer = observer
        self.start_s = self.clock.now()
        self.track = Track(
            track_id=new_track_id(plan.cluster.name),
            cluster=plan.cluster.name,
            cluster_hash=plan.cluster.content_hash,
            mode=mode,
            created_at=datetime.now(UTC),
            speech_s=source.speech_s,
            last_voiced_s=source.last_voiced_s,
            host={
                **host,
                "modules": {s.module.task_name: s.module.version for s in plan.steps},
            },
        )
        self.tasks: dict[str, Task] = {}
        self.works: dict[str, Work] = {}
        self.activities: dict[str, Activity] = {}
        self.error: TurnlabError | None = None
        self.listener = Listener(self.clock)
        self.spill = Spill()
        speaker = plan.newest(Speech)
        self.speaker = speaker.name if speaker else None
        self.inputs = {kind: self._stream(kind, USER) for kind in source.kinds}
        self.outputs = {step.name: self._stream(step.produces, step.name) for step in plan.steps}

    def _stream(self, kind: type[Chunk], producer: str) -> Stream[Any]:
        """Bounded where stages overlap; a whole stage's output must fit when they do not."""
        readers = sum(
            1 for s in self.plan.steps for k, p in s.reads.items() if p == producer and k is kind
        )
        return Stream(
            kind,
            clock=self.clock,
            producer=producer,
            consumers=readers + (producer == self.speaker),
            lead=LEAD if self.mode is Mode.STREAMED else None,
            spill=self.spill,
        )

    async def run(self) -> TurnResult:
        """Everything at once: input, Components, listener; then the records."""
        self.recorder.track(self.track)
        jobs = [asyncio.create_task(self._feed())]
        jobs += [asyncio.create_task(self._component(step)) for step in self.plan.steps]
        jobs.append(asyncio.create_task(self._listen()))
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
            for job in done:
                job.result()
        except asyncio.CancelledError:
            await self._cancel(jobs)
            self._finish(TrackStatus.CANCELLED)
            raise
        except Exception as error:
            self._fail(ModuleFailed(f"The runner itself failed: {error!r}"))
            await self._cancel(jobs)
        return self._finish(TrackStatus.FAILED if self.error else TrackStatus.COMPLETED)

    async def _cancel(self, jobs: list[asyncio.Task[None]]) -> None:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        for stream in (*self.inputs.values(), *self.outputs.values()):
            stream.cancel()

    async def _feed(self) -> None:
        try:
            await self.source.feed(self.inputs, self.start_s)
        except TurnlabError as error:
            self._fail(error)
            for stream in self.inputs.values():
                stream.fail(UpstreamFailed(f"The input failed: {error}"))
        for stream in self.inputs.values():
            stream.end()
            self._keep(stream, None)

    async def _component(self, step: Step) -> None:
        """One Component: wait for its moment, perform its Task, keep what it made."""
        output = self.outputs[step.name]
        sources = {
            kind: self._source(kind, name)
            for kind, name in step.reads.items()
            if name != USER or kind in self.inputs
        }
        try:
            await self._moment(step, sources)
            await self._perform(step, sources, output)
        except UpstreamFailed as error:
            self._end(step, TaskStatus.CANCELLED, error)
            output.fail(error)
        except TurnlabError as error:
            error.component = error.component or step.name
            self._end(step, TaskStatus.FAILED, error)
            self._fail(error)
            output.fail(UpstreamFailed(f"{step.name} failed: {error}", component=step.name))
        except asyncio.CancelledError:
            self._end(step, TaskStatus.CANCELLED, None)
            output.cancel()
            raise
        finally:
            for stream in sources.values():
                stream.release()

    def _source(self, kind: type[Chunk], producer: str) -> Stream[Any]:
        return self.inputs[kind] if producer == USER else self.outputs[producer]

    async def _moment(self, step: Step, sources: Mapping[type[Chunk], Stream[Any]]) -> None:
        """Chained: what it reads from has completed. Streamed: a first Chunk is there."""
        for name in step.component.after:
            if name in self.outputs:
                await self.outputs[name].finished()
        if self.mode is Mode.CHAINED:
            for stream in sources.values():
                await stream.finished()
            return
        needed = [sources[kind] for kind in step.module.consumes] or list(sources.values())
        waits = [asyncio.create_task(stream.begun()) for stream in needed]
        try:
            if waits:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for stream in needed:
            if stream.closed and not len(stream):
                await stream.finished()

    async def _perform(
        self, step: Step, sources: Mapping[type[Chunk], Stream[Any]], output: Stream[Any]
    ) -> None:
        task = create_task(self.track.track_id, step.component, step.params.model_dump(mode="json"))
        self._save(step, task)
        work = self.works[step.name] = self._work(step, task, Inputs(sources))
        self.activities[step.name] = activity = Activity(
            created_s=self.clock.now(), claimed_s=float("inf"), intervals=work.latency.intervals
        )
        work.latency.point("created")
        try:
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(self._limit(step, sources, limit))
                try:
                    await self._emit(step, work, output)
                finally:
                    watch.cancel()
        except TimeoutError as error:
            raise ModuleTimeout(
                f"{step.name} took longer than {_allowed_s(step):g} s; raise its timeout_s or "
                "take a faster model."
            ) from error
        output.end()
        activity.ended_s = output.ended_s
        activity.newest = work.inputs.link(step.name, cast(float, output.ended_s))
        self._end(step, TaskStatus.COMPLETED, None)

    async def _limit(
        self, step: Step, sources: Mapping[type[Chunk], Stream[Any]], limit: asyncio.Timeout
    ) -> None:
        """A Task's time counts from the end of its input, so that long speech may be long."""
        with suppress(TurnlabError):
            for stream in sources.values():
                await stream.finished()
        limit.reschedule(asyncio.get_running_loop().time() + _allowed_s(step))

    async def _emit(self, step: Step, work: Work, output: Stream[Any]) -> None:
        async with aclosing(cast(Any, self.executor.perform(work))) as chunks:
            async for chunk in chunks:
                now_s = self.clock.now()
                work.latency.points.setdefault("first_output", now_s)
                await output.put(chunk, work.inputs.link(step.name, now_s))
                self.observer.chunk(step.name, chunk)

    def _work(self, step: Step, task: Task, inputs: Inputs) -> Work:
        latency = LatencyProfile(self.clock)
        depth = BACKGROUND + 2 + self.plan.depth(step.name)

        def claim() -> None:
            latency.point("claimed")
            self.activities[step.name].claimed_s = latency.points["claimed"]
            self._save(step, self.tasks[step.name].to(TaskStatus.STARTED))

        def urgency() -> int:
            return depth if self.listener.short_of_sound else BACKGROUND + 1

        return Work(
            track_id=self.track.track_id,
            task_id=task.id,
            step=step,
            inputs=inputs,
            latency=latency,
            urgency=urgency,
            history=self.history,
            claim=claim,
        )

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

    def _save(self, step: Step, task: Task) -> None:
        self.tasks[step.name] = task
        self.recorder.task(task)
        self.observer.task(task)

    def _end(self, step: Step, status: TaskStatus, error: TurnlabError | None) -> None:
        """Close the Task's record with whatever it made, whether it completed or not."""
        task = self.tasks.get(step.name)
        if task is None or task.status.ended:
            return
        self._keep(self.outputs[step.name], task.id)
        ended = task.to(
            status,
            result_json=self._result(step),
            error_code=error.code if error else "",
            error_message=error.message if error else "",
        )
        self._save(step, ended)

    def _result(self, step: Step) -> dict[str, Any]:
        work = self.works[step.name]
        work.latency.point("end")
        whole = self.outputs[step.name].gathered()
        return {
            "result_profile": {**(whole.profile() if whole else {}), **work.result},
            "latency_profile": work.latency.as_json(self.start_s),
        }

    def _keep(self, stream: Stream[Any], task_id: str | None) -> None:
        content = content_of(stream, self.track.track_id, task_id)
        if content is not None:
            self.recorder.content(content)

    def _fail(self, error: TurnlabError) -> None:
        self.error = self.error or error

    def _finish(self, status: TrackStatus) -> TurnResult:
        zero_s = self.source.turn_over_s(self.start_s)
        spans = self._spans(zero_s) if status is TrackStatus.COMPLETED else ()
        audible_s = self.listener.first_audible_s
        self.track = replace(
            self.track,
            status=status,
            voice_to_voice_s=round(audible_s - zero_s, 6) if spans and audible_s else None,
            spans=tuple(span.as_json() for span in spans),
            error_code=self.error.code if self.error else "",
            error_message=self.error.message if self.error else "",
        )
        self.recorder.track(self.track)
        return self._turn_result(spans)

    def _spans(self, zero_s: float) -> tuple[Span, ...]:
        heard = self.listener.heard
        if heard is None:
            return ()
        return tuple(critical_path(heard, self.listener.lead_s, zero_s, self.activities))

    def _turn_result(self, spans: tuple[Span, ...]) -> TurnResult:
        texts = {
            kind: getattr(self.outputs[step.name].gathered(), "text", "") if step else ""
            for kind in (Transcript, Reply)
            for step in [self.plan.newest(kind)]
        }
        speech = self.outputs[self.speaker].gathered() if self.speaker else None
        return TurnResult(
            track=self.track,
            tasks=tuple(self.tasks.values()),
            spans=spans,
            transcript=texts[Transcript],
            reply=texts[Reply],
            speech=speech,
            error=self.error,
        )


def _allowed_s(step: Step) -> float:
    return step.component.timeout_s or step.module.timeout_s
