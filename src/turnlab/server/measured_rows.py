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


def read_turns(run_id: str, clusters: Sequence[str] | None) -> Iterator[Batch]:
    """The Tracks of a Run in order of beginning, each with its Tasks, for Collector.add."""
    wanted, parameters = _wanted(run_id, clusters)
    done = f"track.status = '{TrackStatus.COMPLETED.value}'"
    columns = {name: f"track.{name}" for name in TRACK} | {
        "cpu_s": _number("track.resources", "cpu_s"),
        "peak_mib": _number("track.resources", "peak_mib"),
        "spans": f"CASE WHEN {done} AND track.voice_to_voice_s IS NOT NULL"
        f" THEN {_text('track.spans')} ELSE '[]' END",
        "tasks": _tasks(),
    }
    for batch in _batches(
        f"SELECT {', '.join(columns.values())} FROM turnlab_track AS track WHERE {wanted}"
        " ORDER BY track.created_at, track.track_id",
        parameters,
    ):
        named = dict(zip(columns, batch, strict=True))
        yield named | {name: _parsed(named[name]) for name in ("spans", "tasks")}


def _tasks() -> str:
    """The Tasks of a Track as one JSON text: of each what TASK names, as a list.

    One row for a turn and not one for each Task, since making a row holds Python's lock.
    """
    fields = [_quoted(f"task.{name}") for name in TASK[:-1]]
    told = " || ',' || ".join([*fields, _text(f"task.{TASK[-1]}")])
    task = f"'[' || {told} || ']'"
    return (
        f"(SELECT {_joined(task)} FROM turnlab_task AS task WHERE task.track_id = track.track_id)"
    )


def _quoted(column: str) -> str:
    """A text as JSON."""
    if connection.vendor == "postgresql":
        return f"CAST(to_json({column}) AS text)"
    return f"json_quote({column})"


def _joined(text: str) -> str:
    """A JSON list of texts that are JSON."""
    together = "string_agg" if connection.vendor == "postgresql" else "group_concat"
    return f"'[' || COALESCE({together}({text}, ','), '') || ']'"


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
