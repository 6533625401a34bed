"""Runs Modules in this process: each loaded once, blocking calls in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from threading import Thread
from typing import Any, cast

from turnlab.chunks import Chunk
from turnlab.clock import Clock
from turnlab.clusters.plan import Plan, Step
from turnlab.errors import ModuleFailed, TurnlabError
from turnlab.machine import GRACE_S, THREADS, Machine
from turnlab.modules.base import Context, Module
from turnlab.work import Work

_Key = tuple[type[Module], str]
"""A Module, and which of its instances."""


class _Host:
    """One loaded Module and the places that it has for Tasks."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.places = asyncio.Semaphore(module.concurrency)
        self.warming: dict[str, asyncio.Task[None]] = {}
        """By the parameters that it was or is being warmed for."""

    @property
    def busy(self) -> bool:
        """Whether it is being warmed."""
        return not all(warming.done() for warming in self.warming.values())

    async def close(self) -> None:
        """Free what it took, once nothing warms it any more."""
        if self.warming:
            await asyncio.wait(self.warming.values())
        await _in_thread(self.module.close)


class EmbeddedExecutor:
    """Loads Modules on first need and runs their Tasks on this event loop and its threads.

    `machine` decides who yields to whom; by default Tasks that can pause let more urgent ones
    go first.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self._hosts: dict[_Key, asyncio.Task[_Host]] = {}
        self._closing: set[asyncio.Task[None]] = set()

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

        What is still being loaded or warmed, perhaps for ever, is not waited for but closed when
        that has ended. Raises ModuleFailed if one of the others could not be closed within
        `GRACE_S`, when the rest has been.
        """
        needed = {(step.module, step.module.instance_key(step.params)) for step in plan.steps}
        gone = {key: self._hosts.pop(key) for key in list(self._hosts) if key not in needed}
        busy = {key for key, loading in gone.items() if _is_busy(loading)}
        closings = {key: self._close(loading) for key, loading in gone.items()}
        await _closed({key: each for key, each in closings.items() if key not in busy})

    async def close(self) -> None:
        """Free all Modules and threads; a Module that still loads has `GRACE_S` to end.

        Raises as `keep_only`.
        """
        hosts, self._hosts = self._hosts, {}
        closings = {key: self._close(loading) for key, loading in hosts.items()}
        try:
            await _closed(closings, {key for key, each in hosts.items() if _is_busy(each)})
        finally:
            self.machine.close()

    def _close(self, loading: asyncio.Task[_Host]) -> asyncio.Task[None]:
        """Closes the Module once it is loaded; kept until then."""
        closing = asyncio.create_task(_close(loading))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

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
        warming = host.warming.get(key)
        if warming is None or _has_failed(warming):
            warming = host.warming[key] = asyncio.create_task(self._warmed(step, host.module))
        await asyncio.shield(warming)

    async def _warmed(self, step: Step, module: Module) -> None:
        with _named(step, "could not be warmed"):
            await _in_thread(module.warm, step.params)

    async def _host(self, step: Step) -> _Host:
        key = (step.module, step.module.instance_key(step.params))
        loading = self._hosts.get(key)
        if loading is None or _has_failed(loading):
            loading = self._hosts[key] = asyncio.create_task(self._load(step))
        return await asyncio.shield(loading)

    async def _load(self, step: Step) -> _Host:
        with _named(step, "could not be loaded"):
            module = step.module(step.params)
            await _in_thread(module.load)
        return _Host(module)


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _is_busy(loading: asyncio.Task[_Host]) -> bool:
    """Whether the Module is being loaded or warmed."""
    return not loading.done() or (not _has_failed(loading) and loading.result().busy)


async def _close(loading: asyncio.Task[_Host]) -> None:
    await asyncio.wait([loading])
    if not _has_failed(loading):
        await loading.result().close()


async def _closed(
    closings: dict[_Key, asyncio.Task[None]], may_be_late: Collection[_Key] = ()
) -> None:
    """Wait for these, at most `GRACE_S`. Raises ModuleFailed that names all that failed."""
    if closings:
        await asyncio.wait(closings.values(), timeout=GRACE_S)
    failed: list[str] = []
    for (module, key), closing in closings.items():
        name = f"{module.task_name} could not be closed"
        if closing.done():
            if _has_failed(closing):
                error = "cancelled" if closing.cancelled() else repr(closing.exception())
                failed.append(f"{name}: {error}")
        elif (module, key) not in may_be_late:
            failed.append(f"{name} within {GRACE_S:g} s")
    if failed:
        raise ModuleFailed("; ".join(failed))


async def _in_thread(function: Callable[..., object], *args: object) -> None:
    """`function(*args)` in a thread of its own, which need not end before the process does.

    The event loop's own threads are waited for at its end, for ever if one of them hangs.
    """
    done: Future[None] = Future()

    done.set_running_or_notify_cancel()

    def work() -> None:
        try:
            function(*args)
        except (StopIteration, SystemExit, KeyboardInterrupt) as error:
            # The first cannot be awaited; the others would end the event loop.
            done.set_exception(RuntimeError(repr(error)))
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    Thread(target=work, name=f"{THREADS}-setup", daemon=True).start()
    await asyncio.wrap_future(done)


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
    except (Exception, SystemExit) as error:  # a Module ends its Task, never the process
        raise ModuleFailed(f"{step.name} {what}: {error!r}", component=step.name) from error
