"""From a request to a turn: which plan, which source, and whether there is room for it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from turnlab import chunks
from turnlab.audio import Recording, open_recording
from turnlab.chunks import Audio, Chunk, Image, Reply, Transcript
from turnlab.clock import Clock
from turnlab.clusters import Catalogue
from turnlab.clusters.declaration import Cluster
from turnlab.clusters.plan import Plan, lacking, make_plan
from turnlab.clusters.single import PREFIX, single
from turnlab.errors import (
    ClusterNotRunnable,
    InvalidRequest,
    Missing,
    MissingModel,
    NoWorker,
    Saturated,
)
from turnlab.executors.hub import Hub, Link
from turnlab.modules.registry import Registry
from turnlab.server.requests import TrackRequest
from turnlab.turns.voice_activity import VoiceActivity
from turnlab.typed import TypedTurn, UploadedTurn
from turnlab.work import EMBEDDED, Priority

LONGEST_TEXT = 100_000
MOST_PLANS = 1_000
MEASURING_THREADS = 2

TRACKS_PER_PLACE = 4
"""So many Tracks may be under way for each place that the Workers for a task have. A turn needs a
place only for a part of its time; with more of them every turn would become slow."""

_detectors = threading.local()


class Preparing:
    """Makes plans and sources of requests, against the Modules and Clusters that there are."""

    def __init__(self, registry: Registry, catalogue: Catalogue, hub: Hub, clock: Clock) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._hub = hub
        self._clock = clock
        self._plans: dict[str, Plan] = {}
        self._measuring = ThreadPoolExecutor(MEASURING_THREADS, "turnlab-recordings")

    def plan(self, request: TrackRequest, *, audio: bool, pictures: bool) -> Plan:
        """The plan of `request`. Raises UnknownCluster, UnknownModule and what `make_plan` does."""
        if bool(request.cluster) == bool(request.task_name):
            raise InvalidRequest("Name either a cluster or a task_name.")
        if audio and request.text is not None:
            raise InvalidRequest("Send audio or text, not both.")
        if request.text is not None and not 0 < len(request.text) <= LONGEST_TEXT:
            raise InvalidRequest(f"The text must have 1 to {LONGEST_TEXT:,} characters.")
        if not (audio or pictures) and request.text is None:
            raise InvalidRequest("Send audio, a text or images.")
        given: list[type[Chunk]] = [Image] if pictures else []
        if audio:
            given.append(Audio)
        if request.text is not None:
            given.append(self.text_is(request))
        return self._planned(request, tuple(given))

    def _planned(self, request: TrackRequest, given: tuple[type[Chunk], ...]) -> Plan:
        cluster = self._cluster(request)
        kinds = [kind.kind for kind in given]
        key = json.dumps(
            [cluster.content_hash, request.overrides, kinds, request.wanted], default=str
        )
        plan = self._plans.get(key)
        if plan is None:
            wanted = getattr(chunks, request.wanted) if request.wanted else None
            plan = make_plan(cluster, self._registry, request.overrides, given, wanted)
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        if missing := plan.needs - set(given):
            kinds_ = " and ".join(sorted(kind.kind for kind in missing))
            raise ClusterNotRunnable(f"{cluster.name} needs {kinds_} from the user; send some.")
        return plan

    def _cluster(self, request: TrackRequest) -> Cluster:
        if request.cluster:
            return self._catalogue.get(request.cluster)
        self._registry.get(request.task_name)
        return single(request.task_name)

    def text_is(self, request: TrackRequest) -> type[Transcript] | type[Reply]:
        """What a typed text stands for: a Module that only speaks takes it as what to say."""
        if request.task_name:
            module = self._registry.get(request.task_name)
            if Reply in module.consumes and Transcript not in module.consumes:
                return Reply
        return Transcript

    async def recording(self, path: Path, longest_s: float | None = None) -> Recording:
        """Open a recording and find out whether there is a voice. Raises as open_recording."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._measuring, _measured, path, longest_s)

    def warm(self) -> None:
        """Load the detector that measures recordings, so that the first one need not wait."""
        for _ in range(MEASURING_THREADS):
            self._measuring.submit(_detector)

    def close(self) -> None:
        """Let its threads end."""
        self._measuring.shutdown(wait=False, cancel_futures=True)

    def source(
        self,
        request: TrackRequest,
        recording: Recording | None,
        images: tuple[Image, ...],
        received_s: float,
    ) -> UploadedTurn | TypedTurn:
        """The user's part of the turn."""
        if recording is not None:
            last_s = request.last_voiced_s
            return UploadedTurn(
                recording=recording,
                clock=self._clock,
                images=images,
                received_s=received_s,
                waited_s=request.waited_s,
                last_voiced_s=None if last_s is None else min(last_s, recording.duration_s),
            )
        return TypedTurn(
            received_s=received_s,
            text=request.text,
            text_is=self.text_is(request),
            images=images,
        )

    def admit(self, plan: Plan, priority: Priority, needed: Mapping[str, int]) -> bool:
        """Whether the turn may begin now; False if it has to wait.

        A live one never waits: it raises Saturated, or NoWorker, MissingModel, MissingKey where
        nobody could run it. `needed` tells how many Tracks under way need each task.
        """
        for step in plan.steps:
            name = step.module.task_name
            elsewhere = any(_serves(link, name) for link in self._hub.links)
            if not elsewhere and not self._embedded_can(name):
                if priority == Priority.BATCH:
                    return False
                raise NoWorker(
                    f"No worker serves {name}; start one: turnlab worker --tasks {name} --api URL."
                )
            missing = [] if elsewhere else lacking(step.module, step.params)
            for what in missing:
                error = what.error if isinstance(what, Missing) else MissingModel
                raise error(f"{step.name}: {what}", component=step.name)
            places = self._hub.room(name).places
            if needed.get(name, 0) >= places * TRACKS_PER_PLACE:
                if priority == Priority.BATCH:
                    return False
                raise Saturated(
                    f"{needed.get(name, 0)} Tracks under way need {name}, for which there are "
                    f"{places} places; try again soon, or start more workers."
                )
        return True

    def _embedded_can(self, name: str) -> bool:
        return any(link.id == EMBEDDED and link.places(name) for link in self._hub.links)

    def rooms(self, needed: Mapping[str, int]) -> dict[str, int]:
        """How many Tracks may begin, by Cluster, of those whose tasks all have a Worker.

        Ad-hoc Clusters are among them; `needed` is as for `admit`.
        """
        places = {each.task_name: self._hub.room(each.task_name).places for each in self._registry}
        free = {
            name: max(0, count * TRACKS_PER_PLACE - needed.get(name, 0))
            for name, count in places.items()
            if count
        }
        rooms = {PREFIX + name: room for name, room in free.items()}
        for cluster in self._catalogue:
            names = [c.task_name or "" for c in cluster.components if c.is_task]
            if names and all(name in free for name in names):
                rooms[cluster.name] = min(free[name] for name in names)
        return rooms


def _detector() -> VoiceActivity:
    """This thread's own: a detector remembers what it hears."""
    if not hasattr(_detectors, "detector"):
        _detectors.detector = VoiceActivity()
    detector: VoiceActivity = _detectors.detector
    return detector


def _measured(path: Path, longest_s: float | None) -> Recording:
    return open_recording(path, _detector(), longest_s=longest_s, measure=False)


def _serves(link: Link, name: str) -> bool:
    return link.id != EMBEDDED and not link.draining and link.places(name) > 0
