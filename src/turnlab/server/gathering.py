"""Gathers what was measured in a Run, on two cores where there is much of it."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context

from django.db import connection

from turnlab.bench.measuring.collecting import Collector
from turnlab.errors import RecordingFailed
from turnlab.runs import Run
from turnlab.server.measured_rows import Wanted, halves, read_turns
from turnlab.server.setup import use_database

MANY = 50_000
"""From so many turns on another process saves more time than its beginning takes."""


def gathered(run: Run, wanted: Wanted, sorts: Collection[str]) -> Collector:
    """All that is wanted of a Run; `sorts` of references are what Collector takes.

    Raises RecordingFailed where the process that reads one half of it is killed.
    """
    parts = halves(wanted, MANY)
    if parts is None:
        return _gather(run, wanted, sorts)
    first, second = parts
    others = set(active_children())
    pool = ProcessPoolExecutor(
        1,
        mp_context=get_context("spawn"),
        initializer=use_database,
        initargs=(connection.settings_dict,),
    )
    with pool:
        try:
            coming = pool.submit(_gather, run, second, sorts)
            found = _gather(run, first, sorts)
            found.join(coming.result())
        except BrokenProcessPool as error:
            raise RecordingFailed(
                f"The process that read one half of {run.id} was ended from outside, perhaps for "
                "want of memory; name fewer Clusters, or begin again."
            ) from error
        except BaseException:
            for child in set(active_children()) - others:
                child.terminate()  # nobody waits for what it reads
            raise
    return found


def _gather(run: Run, wanted: Wanted, sorts: Collection[str]) -> Collector:
    found = Collector(run, sorts)
    with without_garbage_collection():
        for turns in read_turns(wanted):
            found.add(turns)
    return found


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """For what makes a million objects and not one cycle: the search for these takes a tenth of
    the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
