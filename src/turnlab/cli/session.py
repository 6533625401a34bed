"""What the commands share: the Modules and Clusters that there are, and a place to run them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from turnlab.cli import exit_codes
from turnlab.clusters import Catalogue, find_clusters
from turnlab.clusters.plan import Plan, lacking
from turnlab.errors import InvalidParams, Missing, MissingModel
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.host import host_facts
from turnlab.machine import Machine
from turnlab.modules.base import unfit
from turnlab.modules.registry import Registry, find_modules
from turnlab.runner import Runner

if TYPE_CHECKING:
    from turnlab.server.journal import Journal

ClusterFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--clusters",
        "--cluster-folder",
        help="Folder of Cluster files; repeatable. Also TURNLAB_CLUSTERS.",
    ),
]
ModuleFolders = Annotated[
    list[Path] | None,
    typer.Option("--modules", help="Folder of Module files; repeatable. Also TURNLAB_MODULES."),
]


@dataclass(frozen=True)
class Parts:
    """The Modules and Clusters that there are."""

    registry: Registry
    catalogue: Catalogue


def find_parts(clusters: Iterable[Path] | None, modules: Iterable[Path] | None) -> Parts:
    """Built-in parts, those that the environment names, those that the options name."""
    return Parts(
        registry=find_registry(modules),
        catalogue=find_clusters(folders_of("TURNLAB_CLUSTERS", clusters)),
    )


def find_registry(modules: Iterable[Path] | None) -> Registry:
    """The Modules alone."""
    return find_modules(folders_of("TURNLAB_MODULES", modules))


@asynccontextmanager
async def open_runner() -> AsyncIterator[tuple[Runner, EmbeddedExecutor]]:
    """A runner on this process that keeps its records; all of them are durable on leaving.

    Raises RecordingFailed if they could not be written.
    """
    from turnlab.server.setup import open_records

    journal = await asyncio.to_thread(open_records)
    executor = EmbeddedExecutor(Machine())
    try:
        yield Runner(executor, journal, host_facts()), executor
    finally:
        try:
            await executor.close()
        finally:
            await _keep(journal)


async def _keep(journal: Journal) -> None:
    try:
        await journal.flush()
    finally:
        await asyncio.to_thread(journal.close)


def open_queries() -> Any:
    """The module that reads the records back. Raises RecordingFailed."""
    from turnlab.server.setup import open_database

    open_database()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server import queries

    return queries


def run_to_the_end(work: Coroutine[Any, Any, int]) -> int:
    """The exit code of `work`; Ctrl-C, SIGTERM and a closed terminal cancel it, code 130."""
    try:
        return asyncio.run(_cancelled_by_signals(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        Console(stderr=True).print("cancelled; a turn that had begun is recorded as cancelled")
        return exit_codes.INTERRUPTED


async def _cancelled_by_signals(work: Coroutine[Any, Any, int]) -> int:
    """`work`; asyncio itself sees to Ctrl-C, unless a shell started this in the background."""
    running = asyncio.ensure_future(work)
    for name in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, running.cancel)
    return await running


def require_models(plan: Plan) -> None:
    """Raise MissingModel or MissingKey that says what to do, before anything is loaded."""
    missing = [(s.name, what) for s in plan.steps for what in lacking(s.module, s.params)]
    for component, what in missing:
        told = " ".join(f"{name}: {each}" for name, each in missing)
        error = what.error if isinstance(what, Missing) else MissingModel
        raise error(told, component=component)


def parse_overrides(values: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
    """`component.param=value` by component; values are JSON where they parse, else text."""
    overrides: dict[str, dict[str, Any]] = {}
    for text in values:
        place, equals, value = text.partition("=")
        component, dot, param = place.partition(".")
        if not (equals and dot and component and param):
            raise InvalidParams(f"--set {text!r} is not of the form component.param=value.")
        overrides.setdefault(component, {})[param] = found = _value(value)
        if problem := unfit(place) or unfit(found):
            raise InvalidParams(f"--set {text!a}: {problem}.")
    return overrides


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also a number of too many digits
        return text


def folders_of(variable: str, given: Iterable[Path] | None) -> list[Path]:
    """The folders that the environment names in `variable`, and those that were given."""
    named = [Path(part) for part in os.environ.get(variable, "").split(os.pathsep) if part]
    return [*named, *(given or ())]


__all__ = [
    "ClusterFolders",
    "ModuleFolders",
    "Parts",
    "find_parts",
    "find_registry",
    "folders_of",
    "open_queries",
    "open_runner",
    "parse_overrides",
    "require_models",
    "run_to_the_end",
]
