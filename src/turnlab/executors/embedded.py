"""Runs Modules in this process: each loaded once, blocking calls in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, cast

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.clusters.plan import Plan, Step
from turnlab.errors import ModuleFailed, TurnlabError
from turnlab.machine import Machine
from turnlab.modules.base import Context, Module
from turnlab.work import Work

_Key = tuple[type[Module], str]
"""A Module, and which of its instances."""


class _Host:
    """One loaded Module and the places that it has for Tasks."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.places = asyncio.Semaphore(module.concurrency)
        self.warmed: set[str] = set()


class EmbeddedExecutor:
    """Loads Modules on first need and runs their Tasks on this event loop and its threads.

    `machine` decides who yields to whom; by default Tasks that can pause let more urgent ones
    go first.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self._hosts: dict[_Key, asyncio.Task[_Host]] = {}

    @property
    def clock(self) -> Clock:
        """The clock that all moments are on."""
        return self.machine.clock

    @property
    def loading(self) -> bool:
        """Whether a Module is being loaded."""
        return not all(loading.done() for loading in self._hosts.values())

    async def prepare(self, plan: Plan) -> None:
        """Load and warm what `plan` needs, so that its first turn is as fast as later ones.

        Raises MissingModel and other errors of the Modules.
        """
        await asyncio.gather(*(self._warm(step) for step in plan.steps))

    async def perform(self, work: Work) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes. Raises what the Module raises, as a TurnlabError."""
        with _named(work.step, "failed"):
            host = await self._host(work.step)
            async with host.places:
                work.claim()
                context = self._context(work)
                try:
                    run = cast(Any, host.module.run(work.inputs, context))
                    async with aclosing(run) as chunks:
                        async for chunk in chunks:
                            yield chunk
                finally:
                    # A stream of a thread that `run` left open does not close with it.
                    await self.machine.stopped(context.stop)

    async def keep_only(self, plan: Plan) -> None:
        """Close what is loaded and not needed by `plan`, such as the old class of an edited file.

        Raises ModuleFailed if one of them could not be closed, when all others have been.
        """
        needed = {(step.module, step.module.instance_key(step.params)) for step in plan.steps}
        await self._close([key for key in self._hosts if key not in needed])

    async def close(self) -> None:
        """Free all Modules and threads. Raises as `keep_only`."""
        try:
            await self._close(list(self._hosts))
        finally:
            self.machine.close()

    async def _close(self, keys: list[_Key]) -> None:
        failed: list[str] = []
        for key in keys:
            (host,) = await asyncio.gather(self._hosts.pop(key), return_exceptions=True)
            if isinstance(host, _Host):
                try:
                    await asyncio.to_thread(host.module.close)
                except Exception as error:
                    failed.append(f"{key[0].task_name} could not be closed: {error!r}")
        if failed:
            raise ModuleFailed("; ".join(failed))

    def _context(self, work: Work) -> Context:
        return Context(
            track_id=work.track_id,
            task_id=work.task_id,
            component=work.step.name,
            params=work.step.params,
            latency=work.latency,
            machine=self.machine,
            urgency=work.urgency,
            can_pause=work.step.module.can_pause,
            history=work.history,
            result=work.result,
        )

    async def _warm(self, step: Step) -> None:
        host = await self._host(step)
        key = step.params.model_dump_json()
        if key not in host.warmed:
            with _named(step, "could not be warmed"):
                await asyncio.to_thread(host.module.warm, step.params)
            host.warmed.add(key)

    async def _host(self, step: Step) -> _Host:
        key = (step.module, step.module.instance_key(step.params))
        loading = self._hosts.get(key)
        if loading is None or (loading.done() and (loading.cancelled() or loading.exception())):
            loading = self._hosts[key] = asyncio.create_task(self._load(step))
        return await asyncio.shield(loading)

    async def _load(self, step: Step) -> _Host:
        with _named(step, "could not be loaded"):
            module = step.module(step.params)
            await asyncio.to_thread(module.load)
        return _Host(module)


@contextmanager
def _named(step: Step, what: str) -> Iterator[None]:
    """Have whatever a Module raises come out as a TurnlabError that names the Component."""
    try:
        yield
    except TurnlabError:
        raise
    except asyncio.CancelledError as error:
        # Only a Task that was cancelled from outside is; a Module may raise this by mistake.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ModuleFailed(f"{step.name} {what}: {error!r}", component=step.name) from error
    except Exception as error:
        raise ModuleFailed(f"{step.name} {what}: {error!r}", component=step.name) from error
