"""The rows that measures are made from, streamed with SQL of their own: no model instance a row.

The column `trace`, which is most of a Task, is never touched. All of `result_json` is read and
parsed here, a tenth quicker than to have SQLite take it apart.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection
from pydantic_core import from_json

from turnlab.bench.measuring.collecting import TASK, TRACK, Batch
from turnlab.tracks import TrackStatus

_AT_ONCE = 100


def read_tracks(run_id: str, clusters: Sequence[str] | None) -> Iterator[Batch]:
    """The Tracks of a Run in order of beginning, as Collector.add_tracks takes them."""
    wanted, parameters = _wanted(run_id, clusters)
    done = f"track.status = '{TrackStatus.COMPLETED.value}'"
    columns = {name: f"track.{name}" for name in TRACK} | {
        "cpu_s": _number("track.resources", "cpu_s"),
        "peak_mib": _number("track.resources", "peak_mib"),
        "spans": f"CASE WHEN {done} AND track.voice_to_voice_s IS NOT NULL"
        f" THEN {_text('track.spans')} ELSE '[]' END",
    }
    for batch in _batches(
        f"SELECT {', '.join(columns.values())} FROM turnlab_track AS track WHERE {wanted}"
        " ORDER BY track.created_at, track.track_id",
        parameters,
    ):
        named = dict(zip(TRACK, batch, strict=True))
        yield named | {"spans": _parsed(named["spans"])}


def read_tasks(run_id: str, clusters: Sequence[str] | None) -> Iterator[Batch]:
    """The Tasks of a Run in no particular order, as Collector.add_tasks takes them."""
    wanted, parameters = _wanted(run_id, clusters)
    columns = {name: f"task.{name}" for name in TASK} | {"result": _text("task.result_json")}
    for batch in _batches(
        f"SELECT {', '.join(columns.values())} FROM turnlab_track AS track"
        f" JOIN turnlab_task AS task ON task.track_id = track.track_id WHERE {wanted}",
        parameters,
    ):
        named = dict(zip(TASK, batch, strict=True))
        yield named | {"result": _parsed(named["result"])}


def _parsed(texts: Sequence[str]) -> list[Any]:
    """Many JSON texts at once, which is quicker than one by one."""
    found: list[Any] = from_json(f"[{','.join(texts)}]")
    return found


def _wanted(run_id: str, clusters: Sequence[str] | None) -> tuple[str, list[str]]:
    """Which Tracks, as SQL and its parameters."""
    # As the index by Run says it (track_by_run), or SQLite would not use it.
    condition = "track.run_id = %s AND NOT (track.run_id = '') AND track.repeat > 0"
    if clusters is None:
        return condition, [run_id]
    marks = ", ".join(["%s"] * len(clusters)) or "NULL"
    return f"{condition} AND track.cluster IN ({marks})", [run_id, *clusters]


def _number(column: str, key: str) -> str:
    """The number that the JSON of a column has under `key`."""
    if connection.vendor == "postgresql":
        return f"CAST({column} ->> '{key}' AS double precision)"
    return f"json_extract({column}, '$.{key}')"


def _text(json: str) -> str:
    """A JSON expression as text."""
    return f"CAST({json} AS text)"


def _batches(sql: str, parameters: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The columns of some rows at a time, never all of them in memory.

    The next rows are read in a thread while the caller works on the last: both take about as long.
    """
    with connection.chunked_cursor() as cursor, ThreadPoolExecutor(1) as ahead:
        cursor.execute(sql, parameters)
        coming = ahead.submit(cursor.fetchmany, _AT_ONCE)
        while rows := coming.result():
            coming = ahead.submit(cursor.fetchmany, _AT_ONCE)
            yield tuple(zip(*rows, strict=True))


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
