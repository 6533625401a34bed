"""The node's own way to the database: off the event loop, on a few connections that mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections

from turnlab.errors import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """Calls functions that use the ORM, in threads of its own."""

    def __init__(self, threads: int = 3) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="turnlab-database")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args)`. Raises DatabaseUnavailable, and what it raises."""
        call = partial(_connected, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _connected(call: Callable[[], T]) -> T:
    try:
        _mend()
        return call()
    except (OperationalError, InterfaceError) as error:
        connections.close_all()
        raise DatabaseUnavailable(
            f"The database does not answer ({str(error).strip()[:200]}); nothing was accepted."
        ) from error


def _mend() -> None:
    """Close this thread's connections that broke; the others are kept, whatever their age.

    Django opens one for each request, which costs more than most of what is asked here.
    """
    for connection in connections.all(initialized_only=True):
        connection.close_at = None
        connection.close_if_unusable_or_obsolete()
