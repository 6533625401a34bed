"""Replays a dataset through Clusters: every turn a Track of one Run, nothing of its own timed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from turnlab.audio import Pace
from turnlab.bench.datasets.dataset import DatasetTurn
from turnlab.bench.replay.schedule import Entrant, Job, JobKey
from turnlab.chunks import Image
from turnlab.clock import Clock
from turnlab.clusters.plan import Plan
from turnlab.conversations import Conversation
from turnlab.errors import TurnlabError
from turnlab.runner import Runner
from turnlab.tracks import Replay, Track, TrackStatus
from turnlab.usage import forget_peak
from turnlab.work import Executor, Source


class Sources(Protocol):
    """Where the input of each turn comes from; see Recordings."""

    async def source(self, turn: DatasetTurn, clock: Clock, pace: Pace, *, looks: bool) -> Source:
        """The turn, ready to be run; with its pictures if the Cluster `looks` at any."""
        ...


class Monitor:
    """Told of how a Run goes on, between its turns; the base class ignores all of it."""

    def loading(self, cluster: str) -> None:
        """The models of a Cluster are loaded."""

    def cannot_load(self, cluster: str, error: TurnlabError) -> None:
        """Its models cannot be loaded; its turns are run all the same, and will fail."""

    def warming(self, entrant: Entrant) -> None:
        """Turns that do not count are run."""

    def warm_up_failed(self, entrant: Entrant, track: Track) -> None:
        """No turn of a warm-up completed; `track` is the last one."""

    def ended(self, job: Job, track: Track, took_s: float) -> None:
        """A turn that counts has ended."""


@dataclass(kw_only=True)
class Assignment:
    """What is to be done of a Run, all of it or what an interruption has left."""

    run_id: str
    plans: Mapping[str, Plan]
    jobs: Sequence[Job]
    warm_ups: Sequence[Job]
    pace: Pace = Pace.FAST
    at_once: int = 1
    conversations: dict[str, Conversation] = field(default_factory=dict)
    """Those that had begun before, by id."""


class Harness:
    """A closed loop of turns: as many at once as are asked for, the next when one has ended.

    Recordings were opened before, so all that it does for a turn it does before that begins.
    """

    def __init__(
        self,
        runner: Runner,
        executor: Executor,
        sources: Sources,
        asked: Assignment,
        monitor: Monitor | None = None,
    ) -> None:
        self._runner = runner
        self._executor = executor
        self._sources = sources
        self._asked = asked
        self._monitor = monitor or Monitor()

    async def run(self) -> None:
        """Load, warm up, run every job to its end.

        A turn that fails is recorded and the others go on. Cancelling this call cancels the turns
        under way, which are recorded as such. Raises RecordingFailed.
        """
        left = {job.entrant.cluster for job in self._asked.jobs}
        for cluster in [name for name in self._asked.plans if name in left]:
            await self._load(cluster)
        await self._warm_up()
        with _settled_memory():
            for _, jobs in groupby(self._asked.jobs, key=lambda job: job.block):
                await self._block(list(jobs))

    async def _load(self, cluster: str) -> None:
        self._monitor.loading(cluster)
        try:
            await self._executor.prepare(self._asked.plans[cluster])
        except TurnlabError as error:
            self._monitor.cannot_load(cluster, error)

    async def _warm_up(self) -> None:
        left = {job.entrant for job in self._asked.jobs}
        for entrant, jobs in groupby(self._asked.warm_ups, key=lambda job: job.entrant):
            if entrant in left:
                self._monitor.warming(entrant)
                tracks = [await self._turn(job) for job in jobs]
                if all(track.status is not TrackStatus.COMPLETED for track in tracks):
                    self._monitor.warm_up_failed(entrant, tracks[-1])

    async def _block(self, jobs: list[Job]) -> None:
        queue = _Queue(jobs)
        lanes = [asyncio.ensure_future(self._lane(queue)) for _ in range(self._asked.at_once)]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _lane(self, queue: _Queue) -> None:
        while (job := await queue.take()) is not None:
            began_s = time.monotonic()
            track = await self._turn(job)
            self._monitor.ended(job, track, time.monotonic() - began_s)
            queue.ended(job)

    async def _turn(self, job: Job) -> Track:
        """One turn, to its end, with its records durable."""
        plan = self._asked.plans[job.entrant.cluster]
        source = await self._sources.source(
            job.turn, self._executor.clock, self._asked.pace, looks=looks(plan)
        )
        if self._asked.at_once == 1:
            forget_peak()
        result = await self._runner.run(
            plan,
            source,
            mode=job.entrant.mode,
            conversation=self._conversation(job),
            replay=Replay(run_id=self._asked.run_id, turn_id=job.turn.id, repeat=job.repeat),
        )
        return result.track

    def _conversation(self, job: Job) -> Conversation | None:
        found = job.conversation_id(self._asked.run_id)
        if found is None:
            return None
        return self._asked.conversations.setdefault(found, Conversation(id=found))


class _Queue:
    """The jobs of a block, each handed out in order once the one that it follows has ended."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = list(jobs)
        self._unfinished: set[JobKey] = {job.key for job in jobs}
        self._changed = asyncio.Event()

    async def take(self) -> Job | None:
        """The next job, None if there is none any more."""
        while self._waiting:
            for place, job in enumerate(self._waiting):
                if job.after not in self._unfinished:
                    return self._waiting.pop(place)
            self._changed.clear()
            await self._changed.wait()
        return None

    def ended(self, job: Job) -> None:
        """A job that was handed out has ended."""
        self._unfinished.discard(job.key)
        self._changed.set()


def looks(plan: Plan) -> bool:
    """Whether a Cluster looks at pictures."""
    return any(Image in step.reads for step in plan.steps)


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Have the collector leave alone what is there already: libraries, dataset, recordings.

    It would otherwise go through all of it during turns, and the longer the larger the dataset is.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
