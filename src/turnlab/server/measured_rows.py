"""The rows that measures are made from, streamed with SQL of their own: no model instance a row.

The column `trace`, which is most of a Task, is never touched. All of `result_json` is read and
parsed here, a tenth quicker than to have SQLite take it apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection
from pydantic_core import from_json

from turnlab.bench.measuring.collecting import TASK, TRACK, Batch
from turnlab.server.models import Track
from turnlab.tracks import TrackStatus

_AT_ONCE = 20
"""Turns: their rows, some 100 kB, then stay in the processor's cache from reading to adding up; 200
at once take half as long again."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which Tracks of a Run: of all Clusters, or of some; begun before or from a moment on."""

    run_id: str
    clusters: Sequence[str] | None = None
    before: datetime | None = None
    since: datetime | None = None

    def as_sql(self) -> tuple[str, list[Any]]:
        """The condition, and its parameters."""
        # As the index by Run says it (track_by_run), or SQLite would not use it.
        conditions = ["track.run_id = %s AND NOT (track.run_id = '') AND track.repeat > 0"]
        parameters: list[Any] = [self.run_id]
        if self.clusters is not None:
            marks = ", ".join(["%s"] * len(self.clusters)) or "NULL"
            conditions.append(f"track.cluster IN ({marks})")
            parameters += self.clusters
        for moment, sign in ((self.before, "<"), (self.since, ">=")):
            if moment is not None:
                conditions.append(f"track.created_at {sign} %s")
                parameters.append(connection.ops.adapt_datetimefield_value(moment))
        return " AND ".join(conditions), parameters


def halves(wanted: Wanted, fewest: int) -> tuple[Wanted, Wanted] | None:
    """Two parts by when the Tracks began, the second, whose reader has yet to be started, the
    smaller; None where there are fewer than `fewest`."""
    tracks = Track.objects.filter(run_id=wanted.run_id).exclude(run_id="")
    count = tracks.count()
    if count < max(fewest, 1):
        return None
    begun = tracks.order_by("created_at").values_list("created_at", flat=True)
    middle = begun[count * 6 // 10]
    return replace(wanted, before=middle), replace(wanted, since=middle)


def read_turns(of: Wanted) -> Iterator[Batch]:
    """The Tracks of a Run in order of beginning, each with its Tasks, for Collector.add."""
    wanted, parameters = of.as_sql()
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

    One row for a turn is made sooner than one for each of its Tasks.
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


def _number(column: str, key: str) -> str:
    """The number that the JSON of a column has under `key`."""
    if connection.vendor == "postgresql":
        return f"CAST({column} ->> '{key}' AS double precision)"
    return f"json_extract({column}, '$.{key}')"


def _text(json: str) -> str:
    """A JSON expression as text."""
    return f"CAST({json} AS text)"


def _batches(sql: str, parameters: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The columns of some rows at a time, never all of them in memory."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, parameters)
        while rows := cursor.fetchmany(_AT_ONCE):
            yield tuple(zip(*rows, strict=True))
