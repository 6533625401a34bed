"""Runs the client's work until it ends or somebody ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

EXIT_INTERRUPTED = 130

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_stopped(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """The exit code of `work`, which is told to end by its event; 130 if it was.

    The first Ctrl-C (or SIGTERM, or SIGHUP) sets the event, a second one cancels the work.
    """
    try:
        return asyncio.run(_with_signals(work))
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED


async def _with_signals(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    stop = asyncio.Event()
    running = asyncio.ensure_future(work(stop))

    def end() -> None:
        if stop.is_set():
            running.cancel()
        stop.set()

    for name in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(name, end)
    code = await running
    return EXIT_INTERRUPTED if stop.is_set() else code
