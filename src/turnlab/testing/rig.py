"""A runner, an executor and a recorder around a few Modules, ready for a test to run turns."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping
from typing import Any, TypeVar

from turnlab.chunks import Audio, Chunk, Image
from turnlab.clock import Clock
from turnlab.clusters.declaration import Cluster, Component, make_cluster
from turnlab.clusters.plan import make_plan
from turnlab.conversations import Conversation
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.machine import Machine
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.runner import Runner
from turnlab.testing.clock import FakeClock
from turnlab.testing.recorder import MemoryRecorder
from turnlab.testing.scripted import Action, ScriptedTurn
from turnlab.tracks import Mode, Replay
from turnlab.turn_result import TurnResult
from turnlab.work import Observer

T = TypeVar("T")


def cluster_of(
    *modules: type[Module], name: str = "CLUSTER_TEST", **changes: Mapping[str, Any]
) -> Cluster:
    """A Cluster with one Component for each Module, in order, named after its task.

    `changes` are fields of a Component by its name: `reply={"timeout_s": 1}`.
    """
    components = [
        Component(name=m.task_name, task_name=m.task_name, **changes.get(m.task_name, {}))
        for m in modules
    ]
    return make_cluster(name, components, source="test")


class Rig:
    """Modules on one clock, run by the embedded executor and recorded in memory."""

    def __init__(
        self,
        *modules: type[Module],
        cluster: Cluster | None = None,
        clock: Clock | None = None,
        given: Collection[type[Chunk]] = (Audio, Image),
        overrides: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        self.clock: Any = clock or FakeClock()
        self.registry = Registry(modules)
        self.plan = make_plan(cluster or cluster_of(*modules), self.registry, overrides, given)
        self.machine = Machine(clock=self.clock, threads=4)
        self.executor = EmbeddedExecutor(self.machine)
        self.recorder = MemoryRecorder()
        self.runner = Runner(self.executor, self.recorder)

    def turn(self, *script: Action, **fields: Any) -> ScriptedTurn:
        """A turn of the user, see `ScriptedTurn`."""
        return ScriptedTurn(script=script, clock=self.clock, **fields)

    async def run(
        self,
        *script: Action,
        mode: Mode = Mode.STREAMED,
        observer: Observer | None = None,
        conversation: Conversation | None = None,
        replay: Replay | None = None,
        **fields: Any,
    ) -> TurnResult:
        """Run a turn; on a FakeClock time passes as fast as it can."""
        run = self.runner.run(
            self.plan,
            self.turn(*script, **fields),
            mode=mode,
            observer=observer,
            conversation=conversation,
            replay=replay,
        )
        return await self.drive(run)

    async def drive(self, awaitable: Coroutine[Any, Any, T]) -> T:
        """The result of `awaitable`; on a FakeClock time passes while no thread is at work."""
        if isinstance(self.clock, FakeClock):
            return await self.clock.drive(awaitable, self._busy)
        return await awaitable

    def _busy(self) -> bool:
        return self.executor.loading or self.machine.working > 0
