"""The service in this process: accepts Tracks and runs them."""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from turnlab.chunks import Image
from turnlab.clusters import Catalogue
from turnlab.clusters.plan import Plan
from turnlab.conversations import Conversation
from turnlab.errors import (
    DatabaseUnavailable,
    InternalError,
    NotReady,
    RecordingFailed,
    Saturated,
    ServerLost,
    StreamCancelled,
    TurnlabError,
)
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.executors.embedded_link import EmbeddedLink
from turnlab.executors.hub import Hub
from turnlab.home import home_folder
from turnlab.host import host_facts
from turnlab.machine import Machine
from turnlab.modules.registry import Registry
from turnlab.runner import Runner
from turnlab.server import ownership, queries
from turnlab.server.accepting import NEW as NEW
from turnlab.server.accepting import Accepting, Source, accepted_track
from turnlab.server.database import Database
from turnlab.server.forwarding import forward
from turnlab.server.journal import Journal
from turnlab.server.ownership import Owned, Repeat
from turnlab.server.preparing import Preparing
from turnlab.server.requests import TrackRequest
from turnlab.server.running import Events, Running
from turnlab.server.tidying import Tidying
from turnlab.server.waiting import Waiting
from turnlab.tasks import TaskStatus
from turnlab.tracks import TrackStatus, parse_track_id
from turnlab.turn import Turn
from turnlab.turn_result import TurnResult
from turnlab.work import Priority

logger = logging.getLogger(__name__)
T = TypeVar("T")

JOURNAL_S = 0.05
FEW = 8
"""With more Tracks under way their ends are written together, every `JOURNAL_S`, instead of each at
once: a transaction costs more than the rows in it."""

UNTOUCHED_S = 2.0
"""How long a stopping process waits for Workers to begin with what nobody has begun with."""
LEAST_DISK = 200 * 2**20


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """Limits and places; see docs/reference/settings.md."""

    url: str = ""
    embedded: bool = True
    longest_speech_s: float = 600.0
    most_running: int = 256
    most_waiting: int = 10_000
    lease_s: float = 15.0
    stop_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A Track that was accepted; `repeated` if an earlier request under the same key made it."""

    track_id: str
    status: TrackStatus
    conversation_id: str | None = None
    repeated: bool = False


class Node:
    """One API process. All of its methods belong to its event loop, except `submit`."""

    def __init__(self, registry: Registry, catalogue: Catalogue, settings: NodeSettings) -> None:
        self.id = f"N-{uuid.uuid4().hex[:16]}"
        self.settings = settings
        self.registry = registry
        self.catalogue = catalogue
        self.started_at = datetime.now(UTC)
        self.machine = Machine()
        self.hub = Hub(self.machine.clock)
        self.database = Database()
        self.journal = Journal(interval_s=JOURNAL_S)
        self.loop = asyncio.get_running_loop()
        self._embedded = EmbeddedExecutor(self.machine)
        if settings.embedded:
            self.hub.join(EmbeddedLink(self._embedded, registry))
        self._preparing = Preparing(registry, catalogue, self.hub, self.machine.clock)
        self._preparing.warm()
        self._accepting = Accepting(self._preparing, self.database, settings.longest_speech_s)
        self._runner = Runner(self.hub, self.journal, host_facts())
        self._running: dict[str, Running] = {}
        self._begun = 0
        """How many Tracks are under way or are about to be."""
        self._needed: Counter[str] = Counter()
        """How many of these need each task."""
        self._endings: set[asyncio.Task[None]] = set()
        self._held: set[str] = set()
        """The Tracks that are under way here or about to be, if the table has them."""
        self.claiming = asyncio.Lock()
        """Held while Tracks are this process's own in the table and not yet in `_held`."""
        self.accepts = True
        self._waiting = Waiting(self)
        self._tidying = Tidying(self.database)
        self._jobs = [
            asyncio.create_task(self._waiting.run()),
            asyncio.create_task(self._tidying.run()),
        ]
        self.hub.watch(self._waiting.look)

    # Accepting

    async def accept(
        self,
        request: TrackRequest,
        *,
        owner: str,
        project: str = "default",
        audio: Path | None = None,
        images: Sequence[Image] = (),
        repeat: Repeat | None = None,
        received_s: float | None = None,
        consent: str = "",
    ) -> Accepted:
        """Take a turn on: when this returns it is durable, and begins as soon as there is room.

        `audio` is a local file, which the caller deletes; `received_s` is the moment at which the
        request was complete, on `hub.clock`. A `request` with names of kept media takes those.
        Raises InvalidRequest, UnknownCluster, InvalidParams, ClusterNotRunnable, what
        `open_recording` raises, NoWorker, Saturated, IdempotencyConflict, DatabaseUnavailable,
        RecordingFailed, NotReady.
        """
        received_s = self.hub.clock.now() if received_s is None else received_s
        if not self.accepts:
            raise NotReady()
        if repeat and (earlier := await self.database.call(ownership.repeated, owner, repeat)):
            return await self._earlier(earlier)
        has_audio = audio is not None or bool(request.audio)
        has_pictures = bool(images or request.images)
        plan = self._preparing.plan(request, audio=has_audio, pictures=has_pictures)
        now = await self._admitted(plan, request)
        try:
            request, source = await self._accepting.source(request, audio, images, received_s)
            talk, new = await self._accepting.conversation(request)
            if new and talk:
                request = replace(request, conversation_id=talk.id)
        except BaseException:
            self._reserve(plan, -int(now))
            await self._accepting.drop(request)
            raise
        track = accepted_track(plan, request, source, now=now)
        owned = Owned(
            track_id=track.track_id,
            request=replace(request, begun=int(now)),
            owner=owner,
            project=project,
        )
        insert = partial(
            ownership.insert,
            track,
            owned,
            node=self.id if now else "",
            new_conversation=talk if new else None,
            consent=consent,
            repeat=repeat,
        )
        begin = partial(self._begin, owned, plan, source, talk) if now else None
        # To its end also if the client goes away meanwhile, or it would be kept and never begun.
        job = asyncio.create_task(self._keep(insert, owned, plan, begin))
        job.add_done_callback(_seen)
        kept = await asyncio.shield(job)
        if kept != track.track_id:
            return await self._earlier(kept)
        return Accepted(
            track_id=track.track_id, status=track.status, conversation_id=track.conversation_id
        )

    async def _admitted(self, plan: Plan, request: TrackRequest) -> bool:
        """Whether the turn begins now, with its room kept; False if it waits. Raises Saturated."""
        now = self._preparing.admit(plan, request.priority, self._needed)
        if now and self.room > 0:
            self._reserve(plan, 1)
            return True
        if now and request.priority == Priority.LIVE:
            raise Saturated(f"{self._begun} Tracks are under way here; try again soon.")
        if await self.database.call(ownership.count_waiting) >= self.settings.most_waiting:
            raise Saturated(f"{self.settings.most_waiting} Tracks wait already; try again later.")
        return False

    async def _keep(
        self,
        insert: Callable[[], str],
        owned: Owned,
        plan: Plan,
        begin: Callable[[], None] | None,
    ) -> str:
        """Insert the Track and `begin` it, or let it wait; the id of the one that there is.

        If it cannot be inserted, or there is another under the same key, nothing is left of it.
        """
        if begin:
            self._held.add(owned.track_id)
        try:
            kept = await self.database.call(insert)
        except BaseException as error:
            self._forget(owned, plan, begun=begin is not None)
            if not (isinstance(error, DatabaseUnavailable) and await self._may_be_kept(owned)):
                await self._accepting.drop(owned.request)
            raise
        if kept != owned.track_id:
            self._forget(owned, plan, begun=begin is not None)
            await self._accepting.drop(owned.request)
        elif begin:
            await self._begun_or_failed(begin, owned)
        else:
            self._waiting.look()
        return kept

    async def _begun_or_failed(self, begin: Callable[[], None], owned: Owned) -> None:
        """Begin a Track that the table has, or close it there with what kept it from beginning."""
        try:
            begin()
        except Exception as error:
            failed = error if isinstance(error, TurnlabError) else InternalError(repr(error))
            await self.fail(owned.track_id, failed)
            raise

    async def _may_be_kept(self, owned: Owned) -> bool:
        """Whether a Track may be in the table although inserting it failed."""
        try:
            return await self.database.call(ownership.is_kept, owned.track_id)
        except DatabaseUnavailable:
            return True

    def _forget(self, owned: Owned, plan: Plan, *, begun: bool = True) -> None:
        """The Track is not under way here, or not any more."""
        self._held.discard(owned.track_id)
        self._reserve(plan, -int(begun))

    def _reserve(self, plan: Plan, count: int) -> None:
        """Keep room for the Tracks of `plan`, or give it back."""
        self._begun += count
        for step in plan.steps:
            self._needed[step.module.task_name] += count

    async def _earlier(self, track_id: str) -> Accepted:
        track, _, _ = await self.database.call(queries.get_track, track_id)
        return Accepted(
            track_id=track_id,
            status=track.status,
            conversation_id=track.conversation_id,
            repeated=True,
        )

    # Running

    def running(self, track_id: str) -> Running | None:
        """The Track if it is under way in this process."""
        return self._running.get(track_id)

    @property
    def under_way(self) -> int:
        """How many Tracks are."""
        return len(self._running)

    def _begin(
        self,
        owned: Owned,
        plan: Plan,
        source: Source,
        conversation: Conversation | None,
    ) -> None:
        """Begin it; it has its room. Raises what keeps it from beginning, and gives that back."""
        request, events = owned.request, Events()
        try:
            turn = self._runner.turn(
                plan,
                source,
                mode=request.mode,
                conversation=conversation,
                history=request.history,
                observer=events,
                track_id=owned.track_id,
                priority=request.priority,
            )
        except BaseException:
            self._forget(owned, plan)
            raise
        running = Running(turn, events, owned.owner)
        self._running[owned.track_id] = running
        events.tell("track", {"track_id": owned.track_id, "status": str(TrackStatus.STARTED)})
        running.task = asyncio.create_task(self._run(owned, plan, turn, events))
        running.task.add_done_callback(_seen)

    async def _run(self, owned: Owned, plan: Plan, turn: Turn, events: Events) -> TurnResult:
        try:
            return await turn.run()
        except asyncio.CancelledError:
            raise StreamCancelled("The Track was cancelled.") from None
        finally:
            # To its end, also if somebody cancels once more.
            ending = asyncio.create_task(self._ended(owned, plan, turn, events))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            ending.add_done_callback(_seen)
            await asyncio.shield(ending)

    async def _ended(self, owned: Owned, plan: Plan, turn: Turn, events: Events) -> None:
        """What follows a turn: its records are durable, those who follow it know, room is free."""
        try:
            await self._durable()
        finally:
            running = self._running.pop(owned.track_id)
            if running.abandoned:
                events.close()
            else:
                events.tell("end", _ending(turn))
                self._tidying.add(owned)
            self._forget(owned, plan)
            self._waiting.ended()

    async def _durable(self) -> None:
        """Wait until the records are; a database that is gone for a while comes back."""
        while True:
            try:
                return await self.journal.flush(hurry=self.under_way <= FEW)
            except RecordingFailed as error:
                if not self.accepts:
                    raise
                logger.warning("%s", error)
                await asyncio.sleep(0.5)

    # Tracks that were accepted before

    @property
    def room(self) -> int:
        """How many more Tracks may be under way here."""
        return self.settings.most_running - self._begun

    def rooms(self) -> dict[str, int]:
        """How many Tracks may begin, by Cluster, as far as their Workers go."""
        return self._preparing.rooms(self._needed)

    async def strayed(self) -> list[Owned]:
        """Tracks that are this process's own by the table alone.

        A transaction may have been committed although its answer was lost with the database.
        """
        if self.claiming.locked():
            return []
        async with self.claiming:
            mine = await self.database.call(ownership.under_way, self.id)
            strayed = [each for each in mine if each not in self._held]
            if not strayed:
                return []
            return await self.database.call(ownership.take_again, self.id, strayed)

    async def resume(self, owned: Owned) -> bool:
        """Begin a Track of this process that was accepted earlier; False if there is no room."""
        request = owned.request
        received_s = self.hub.clock.now()
        plan = self._preparing.plan(
            request, audio=bool(request.audio), pictures=bool(request.images)
        )
        # It was accepted: whatever its priority, it waits rather than being refused.
        if not self._preparing.admit(plan, Priority.BATCH, self._needed):
            return False
        self._reserve(plan, 1)
        self._held.add(owned.track_id)
        try:
            request, source = await self._accepting.source(request, None, (), received_s)
            talk, _ = await self._accepting.conversation(request)
            owned = await self.database.call(ownership.note_beginning, owned)
        except BaseException:
            self._forget(owned, plan)
            raise
        self._begin(owned, plan, source, talk)
        return True

    async def fail(self, track_id: str, error: TurnlabError) -> None:
        """Close a Track of this process that cannot be run, and its open Tasks."""
        track, tasks, _ = await self.database.call(queries.get_track, track_id)
        told: dict[str, Any] = {"error_code": error.code, "error_message": error.message}
        for task in tasks:
            if not task.status.ended:
                self.journal.task(task.to(TaskStatus.FAILED, **told))
        self.journal.track(replace(track, status=TrackStatus.FAILED, **told))
        await self._durable()

    # Cancelling

    async def cancel(self, track_id: str) -> None:
        """Cancel a Track wherever it runs. Raises InvalidTrackId, UnknownTrack."""
        parse_track_id(track_id)
        if self.cancel_here(track_id):
            return
        track, _, _ = await self.database.call(queries.get_track, track_id)
        if await self.database.call(ownership.cancel_waiting, track_id):
            # The row says so already; this announces it.
            self.journal.track(replace(track, status=TrackStatus.CANCELLED))
        elif not track.status.ended:
            await self.database.call(ownership.ask_to_cancel, track_id)

    def cancel_here(self, track_id: str) -> bool:
        """Cancel a Track that runs in this process; False if none does."""
        running = self._running.get(track_id)
        if running is None:
            return False
        running.cancel()
        return True

    async def let_go(self) -> None:
        """Stop what another process has taken over, without a word in the records: it is theirs.

        That happens where this process was silent for longer than its lease.
        """
        if self._running:
            for track_id in await self.database.call(ownership.lost, self.id, list(self._running)):
                if running := self._running.get(track_id):
                    logger.warning("%s was taken over by another process", track_id)
                    running.abandon()

    # The process

    async def warm(self, plans: Iterable[Plan]) -> None:
        """Load and warm what these need, so that their first turns are as fast as later ones.

        Raises what the Modules raise.
        """
        for plan in plans:
            await self._embedded.prepare(plan)

    async def forward(
        self, node_id: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """What another API process answers to a request: status, headers, body.

        Raises ServerLost.
        """
        return await forward(self.database, node_id, method, path, headers, body)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` on the node's event loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def problems(self) -> list[str]:
        """Why the process is not ready; empty if it is."""
        found = [] if self.accepts else ["stopping"]
        try:
            async with asyncio.timeout(3.0):
                await self.database.call(ownership.others, self.id)
        except (TurnlabError, TimeoutError):
            found.append("the database does not answer")
        free = shutil.disk_usage(home_folder()).free
        if free < LEAST_DISK:
            found.append(f"only {free // 2**20} MiB of disk are free")
        return found

    def stop_accepting(self) -> None:
        """Take no more Tracks; those under way go on."""
        self.accepts = False

    async def finish(self) -> None:
        """Take no more Tracks, and let those under way end, for a while.

        Those that no Worker has begun with are put back; what has not ended by then fails.
        """
        self.stop_accepting()
        await self._wait(UNTOUCHED_S)
        untouched = {id: each for id, each in self._running.items() if each.untouched}
        for running in untouched.values():
            running.abandon()
        await self._put_back(list(untouched))
        await self._wait(self.settings.stop_s - UNTOUCHED_S)
        for running in self._running.values():
            running.cancel(ServerLost("The server was stopped before the Track had ended."))
        await self._wait(self.settings.stop_s)

    async def _wait(self, most_s: float) -> None:
        """Wait until nothing is under way, for so long."""
        under_way = [each.task for each in self._running.values() if each.task]
        if jobs := [*under_way, *self._endings]:
            await asyncio.wait(jobs, timeout=most_s)

    async def _put_back(self, track_ids: list[str]) -> None:
        """Let Tracks that no Worker has begun with wait for another process, or the next start."""
        if not track_ids:
            return
        try:
            await self.journal.flush()
            for track_id in track_ids:
                await self.database.call(ownership.drop_untouched_tasks, track_id)
            await self.database.call(ownership.put_back, self.id, track_ids)
        except TurnlabError as error:  # whoever finds this process gone takes them over
            logger.warning("Tracks that wait could not be put back: %s", error)

    async def stop(self) -> None:
        """Free everything, after `finish`. Raises RecordingFailed if records could not be kept."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._tidying.finish()
        try:
            await self._embedded.close()
        finally:
            await asyncio.to_thread(self.journal.close)
            self._preparing.close()
            self.database.close()


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody need have waited for it: the records tell what became of it."""
    if not task.cancelled():
        task.exception()


def _ending(turn: Turn) -> dict[str, Any]:
    track = turn.records.track
    return {
        "track_id": track.track_id,
        "status": str(track.status),
        "voice_to_voice_s": track.voice_to_voice_s,
        "error_code": track.error_code,
        "error_message": track.error_message,
    }


_current: Node | None = None


def set_node(node: Node | None) -> None:
    """Make `node` what `current_node` gives."""
    global _current
    _current = node


def current_node() -> Node:
    """The service of this process. Raises NotReady outside `turnlab serve`."""
    if _current is None:
        raise NotReady("There is no server in this process; start one with `turnlab serve`.")
    return _current
