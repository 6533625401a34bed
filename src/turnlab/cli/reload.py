"""`turnlab run --reload`: the same turns again whenever a file of the user's changes.

What did not change stays loaded: an unchanged file gives the same Module classes
(`find_modules`), and the executor's instances are kept as long as the plan needs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from turnlab.cli.failures import show_error
from turnlab.cli.session import folders_of, open_runner
from turnlab.custom import trusted_folders
from turnlab.errors import TurnlabError
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.packaged import installed
from turnlab.runner import Runner

Opened = tuple[Runner, EmbeddedExecutor]


def watch(
    clusters: Iterable[Path] | None, modules: Iterable[Path] | None
) -> AsyncGenerator[Any, None]:
    """The changes of Cluster and Module files in these folders and those of the environment.

    Python files in the folders of TURNLAB_CODE count too. Raises typer.BadParameter if there is
    no folder to watch or nothing to watch it with.
    """
    named = [*folders_of("TURNLAB_CLUSTERS", clusters), *folders_of("TURNLAB_MODULES", modules)]
    folders = list(dict.fromkeys([*named, *trusted_folders()]))
    if not folders:
        raise typer.BadParameter(
            "--reload needs --clusters or --modules (or TURNLAB_CODE): a folder to watch."
        )
    for folder in folders:
        if not folder.is_dir():
            raise typer.BadParameter(f"{folder} is no folder, so --reload cannot watch it.")
    if not installed("watchfiles"):
        raise typer.BadParameter("--reload needs watchfiles: pip install 'turnlab[reload]'.")
    from watchfiles import awatch

    def is_part(change: object, path: str) -> bool:
        return Path(path).suffix in (".py", ".toml")

    return awatch(*folders, watch_filter=is_part, recursive=False)


async def run_on_change(
    once: Callable[[Opened], Awaitable[None]], changes: AsyncGenerator[Any, None]
) -> int:
    """Await `once` now and after each of `changes`, on one runner; 0 when they have ended.

    A change while it is under way cancels it, so that what hangs can be mended. What it raises
    is shown, and the next change awaited.
    """
    async with open_runner() as opened, aclosing(changes):
        attempt = asyncio.create_task(_attempt(once, opened))
        try:
            # The first step begins to watch, before the task above has begun.
            async for _ in changes:
                await _stop(attempt)
                attempt = asyncio.create_task(_attempt(once, opened))
            await attempt
        finally:
            await _stop(attempt)
    return 0


def hint(conversation_id: str, copied_from: str | None) -> str:
    """What to tell of a Conversation: how to go on with it, or where its turns went.

    A re-run of `--continue` knows the turns of `copied_from`, but these are not recorded again,
    so it can be looked at and not gone on with.
    """
    if copied_from is None:
        return f"To go on with this conversation: --continue {conversation_id}"
    return f"Recorded apart, as {conversation_id}; {copied_from} is as it was."


async def _attempt(once: Callable[[Opened], Awaitable[None]], opened: Opened) -> None:
    console = Console(stderr=True, highlight=False)
    try:
        await once(opened)
    except TurnlabError as error:
        show_error(error)
    except Exception:  # of a Module that is being written
        console.print_exception()
    console.print("Waiting for a file to change; Ctrl-C ends.", style="dim")


async def _stop(attempt: asyncio.Task[None]) -> None:
    """Cancel it if it is still under way, and wait until it has gone."""
    attempt.cancel()
    await asyncio.wait([attempt])
