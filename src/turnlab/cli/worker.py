"""`turnlab worker`: runs Modules for a server, on this machine."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from turnlab.cli.session import ModuleFolders, find_registry
from turnlab.clock import MonotonicClock
from turnlab.errors import InvalidToken, MissingModel, ModuleFailed, TurnlabError, UnknownModule
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.registry import Registry
from turnlab.worker.client import WorkerClient
from turnlab.worker.dial import is_here, socket_url
from turnlab.worker.memory import resident_mib
from turnlab.worker.offering import ServedModules, alone, missing, runnable

MEMORY_S = 1.0
"""How often the memory is looked at."""


def worker(
    api: Annotated[
        str, typer.Option(envvar="TURNLAB_API", help="The server, such as http://host:8000.")
    ],
    token: Annotated[
        str,
        typer.Option(envvar="TURNLAB_TOKEN", help="A token of the role worker."),
    ] = "",
    tasks: Annotated[
        str | None,
        typer.Option(help="The Modules to serve, by comma; by default all that can run here."),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Most Tasks at once; by default as many as the Modules take."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What people call this worker; by default the host's name.")
    ] = None,
    modules: ModuleFolders = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="Load all Modules at the start, not when first needed.")
    ] = False,
    max_memory: Annotated[
        int | None, typer.Option(min=64, metavar="MIB", help="End when more memory is in use.")
    ] = None,
    drain_s: Annotated[
        float, typer.Option(min=0, help="How long Tasks may take to end when the worker stops.")
    ] = 30.0,
) -> int:
    """Run Modules for a server: connect to it, take Tasks, give back what they make.

    SIGTERM and Ctrl-C let the Tasks under way end, a second one ends at once. Exit code 0:
    stopped; 1: refused by the server, over --max-memory, or not startable; 130: ended at once.
    """
    socket_url(api)
    if not token:
        raise InvalidToken("A worker needs a token: set TURNLAB_TOKEN or give --token.")
    registry = find_registry(modules)
    for problem in registry.problems:
        _say(f"{problem.message} It is left out.")
    served = ServedModules(registry, _chosen(registry, tasks), concurrency)
    if api.startswith("http:") and not is_here(api):
        _say("the token and all that is said go over the network unencrypted; use https")
    run = _Run(served, api=api, token=token, name=name, max_memory=max_memory)
    return asyncio.run(run.to_the_end(warm=warm, drain_s=drain_s))


def _chosen(registry: Registry, tasks: str | None) -> tuple[str, ...]:
    """The tasks to serve. Raises UnknownModule, MissingModel."""
    if tasks is None:
        found = runnable(registry)
        if not found:
            raise MissingModel(
                "No Module can run here; `turnlab modules list` says what is missing."
            )
        return found
    names = tuple(dict.fromkeys(name.strip() for name in tasks.split(",") if name.strip()))
    if not names:
        raise UnknownModule("--tasks names nothing; `turnlab modules list` shows what there is.")
    for name in names:
        lacking = missing(registry.get(name))
        if lacking:
            _say(f"{name} lacks something with its default parameters: {' '.join(lacking)}")
    return names


class _Run:
    """One run of the worker."""

    def __init__(
        self,
        served: ServedModules,
        *,
        api: str,
        token: str,
        name: str | None,
        max_memory: int | None,
    ) -> None:
        self._served, self._max_memory = served, max_memory
        self._options = {"api_url": api, "name": name}
        self._token = token
        self._signals = 0

    async def to_the_end(self, *, warm: bool, drain_s: float) -> int:
        """The exit code. Raises what the server refuses the worker for, and ModuleFailed."""
        executor = EmbeddedExecutor()
        client = WorkerClient(
            executor,
            self._served,
            authorization=lambda: f"Bearer {self._token}",
            say=_say,
            **self._options,  # type: ignore[arg-type]
        )
        stop = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, self._signalled, client, stop)
        try:
            if warm:
                await self._warm(executor)
            return await self._serve(client, stop, drain_s)
        finally:
            await executor.close()

    async def _serve(self, client: WorkerClient, stop: asyncio.Event, drain_s: float) -> int:
        jobs = {
            "serving": asyncio.create_task(client.run()),
            "memory": asyncio.create_task(self._watch_memory(client)),
            "stop": asyncio.create_task(self._stopped(stop, drain_s)),
        }
        try:
            await asyncio.wait(jobs.values(), return_when=asyncio.FIRST_COMPLETED)
            for each in jobs.values():
                if each.done():
                    each.result()
            return 0 if jobs["serving"].done() or self._signals < 2 else 130
        finally:
            for each in jobs.values():
                each.cancel()
            await asyncio.gather(*jobs.values(), return_exceptions=True)
            _say("stopped")

    def _signalled(self, client: WorkerClient, stop: asyncio.Event) -> None:
        self._signals += 1
        if self._signals == 1:
            _say(f"stopping; Tasks left to end: {client.running}; a second signal ends them")
            client.drain()
        stop.set()

    async def _stopped(self, stop: asyncio.Event, drain_s: float) -> None:
        """Wait until the worker has been told to stop and its time is up, or told again."""
        await stop.wait()
        stop.clear()
        try:
            async with asyncio.timeout(drain_s):
                await stop.wait()
        except TimeoutError:
            _say(f"Tasks that had not ended within {drain_s:g} s are given up")

    async def _watch_memory(self, client: WorkerClient) -> NoReturn:
        """Raises ModuleFailed when more memory is in use than may be."""
        clock = MonotonicClock()
        while resident_mib() <= (self._max_memory or float("inf")):
            await clock.sleep_until(clock.now() + MEMORY_S)
        error = ModuleFailed(
            f"The worker was ended because it used {resident_mib():.0f} MiB of memory, more than "
            f"--max-memory {self._max_memory}; take a smaller model, or raise the limit."
        )
        await client.fail(error)
        raise error

    async def _warm(self, executor: EmbeddedExecutor) -> None:
        """Load what is served, with default parameters; what cannot be is told and left."""
        for offer in self._served.offers():
            _say(f"loading {offer.task_name}")
            try:
                await executor.prepare(alone(self._served.module(offer.task_name)))
            except TurnlabError as error:
                _say(f"{offer.task_name} cannot be loaded: {error.message}")
            else:
                self._served.began(offer.task_name)


def _say(text: str) -> None:
    console = Console(stderr=True, highlight=False)
    console.print(f"worker: {text}", markup=False, soft_wrap=True)
