"""Runs Modules in this process: each loaded once, blocking calls in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.clusters.plan import Plan, Step
from turnlab.errors import ModuleFailed, TurnlabError
from turnlab.machine import Machine
from turnlab.modules.base import Context, Module
from turnlab.work import Work


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
        self._hosts: dict[str, asyncio.Task[_Host]] = {}

    @property
    def clock(self) -> Clock:
        """The clock that all moments are on."""
        return self.machine.clock

    async def prepare(self, plan: Plan) -> None:
        """Load and warm what `plan` needs, so that its first turn is as fast as later ones.

        Raises MissingModel and other errors of the Modules.
        """
        await asyncio.gather(*(self._warm(step) for step in plan.steps))

    async def perform(self, work: Work) -> AsyncIterator[Chunk]:
        """The Chunks that the Task makes. Raises what the Module raises, as a TurnlabError."""
        step = work.step
        try:
            host = await self._host(step)
            async with host.places:
                work.claim()
                run = cast(Any, host.module.run(work.inputs, self._context(work)))
                async with aclosing(run) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except TurnlabError:
            raise
        except Exception as error:
            raise ModuleFailed(f"{step.name} failed: {error!r}", component=step.name) from error

    async def close(self) -> None:
        """Free all Modules and threads."""
        for loading in self._hosts.values():
            if loading.done() and not loading.cancelled() and loading.exception() is None:
                await asyncio.to_thread(loading.result().module.close)
        self._hosts.clear()
        self.machine.close()

    def _context(self, work: Work) -> Context:
        return Context(
            track_id=work.track_id,
            task_id=work.task_id,
            component=work.step.name,
            params=work.step.params,
            latency=work.latency,
            machine=self.machine,
            urgency=work.urgency,
            history=work.history,
            result=work.result,
        )

    async def _warm(self, step: Step) -> None:
        host = await self._host(step)
        key = step.params.model_dump_json()
        if key not in host.warmed:
            host.warmed.add(key)
            await asyncio.to_thread(host.module.warm, step.params)

    async def _host(self, step: Step) -> _Host:
        key = step.module.instance_key(step.params)
        loading = self._hosts.get(key)
        if loading is None or (loading.done() and (loading.cancelled() or loading.exception())):
            loading = self._hosts[key] = asyncio.create_task(self._load(step))
        return await asyncio.shield(loading)

    async def _load(self, step: Step) -> _Host:
        module = step.module(step.params)
        try:
            await asyncio.to_thread(module.load)
        except TurnlabError:
            raise
        except Exception as error:
            raise ModuleFailed(
                f"{step.name} could not be loaded: {error!r}", component=step.name
            ) from error
        return _Host(module)
