"""How long it takes to accept and to claim Tracks, beside few and beside many that have ended.

Each database is measured by a process of its own (`python -m benchmarks.parts.claims SIZES`),
since Django is set up once in a process; it calls what the API process calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.parts.relay_service import CLUSTER
from turnlab.testing.postgres import postgres
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id

if TYPE_CHECKING:
    from turnlab.server.ownership import Owned

ROUNDS = 5
AT_ONCE = 16  # Tracks in a claim, as the API process does it
CLAIMS = 8  # in a round
NODE = "N-benchmark"

_NUMBERS = {
    "sqlite": (
        "WITH RECURSIVE n(i) AS (SELECT %s UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
        "INSERT INTO {table} ({columns}) SELECT {values} FROM n",
        "printf('%%032x', i)",
    ),
    "postgresql": (
        "INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(%s, %s) AS n(i)",
        "lpad(to_hex(i), 32, '0')",
    ),
}
_TRACK = {
    "track_id": f"'T-{CLUSTER}-' || {{hex}}",
    "cluster": f"'{CLUSTER}'",
    "cluster_hash": "'0'",
    "mode": "'streamed'",
    "status": "'completed'",
    "spans": "'[]'",
    "host": "'{{}}'",
    "error_code": "''",
    "error_message": "''",
    "created_at": "'2026-01-01 00:00:00+00:00'",
    "updated_at": "'2026-01-01 00:00:00+00:00'",
    "owner": "'somebody'",
    "node": f"'{NODE}'",
}
_TASK = {
    "id": "{hex}",
    "track_id": f"'T-{CLUSTER}-' || {{hex}}",
    "name": "'relay_first'",
    "task_name": "'relay_first'",
    "status": "'completed'",
    "worker": "'somewhere'",
    "attempt": "1",
    "parameters": "'{{}}'",
    "result_json": "'{{}}'",
    "error_code": "''",
    "error_message": "''",
    "created_at": "'2026-01-01 00:00:00+00:00'",
    "updated_at": "'2026-01-01 00:00:00+00:00'",
}


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Milliseconds of every call beside so many Tracks, and as many Tasks, that have ended."""

    database: str
    ended: int
    accept_ms: list[float]
    """To accept one Track, durably, with an idempotency key."""
    claim_ms: list[float]
    """To claim sixteen."""
    index: str
    """That the claim reads, by EXPLAIN."""


def claims(database: str, sizes: Sequence[int]) -> list[Claims]:
    """Measured in a process of its own, on a fresh database."""
    server: AbstractContextManager[Any] = (
        postgres(durable=True) if database == "postgresql" else nullcontext()
    )
    with server as found, tempfile.TemporaryDirectory(prefix="turnlab-claims-") as home:
        environment = {**os.environ, "TURNLAB_HOME": home}
        environment |= {"DATABASE_URL": found.url} if found else {}
        program = [sys.executable, "-m", "benchmarks.parts.claims", *map(str, sizes)]
        done = subprocess.run(program, env=environment, stdout=subprocess.PIPE, check=True)
    return [Claims(database=database, **each) for each in json.loads(done.stdout)]


def measure(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The figures of the database that the environment names."""
    from turnlab.server.setup import open_database

    open_database()
    found, filled = [], 0
    _round()  # the first of everything is slower
    for size in sizes:
        _fill(filled + 1, size)
        filled = size
        rounds = [_round() for _ in range(ROUNDS)]
        accept_ms, claim_ms = ([ms for pair in rounds for ms in pair[i]] for i in (0, 1))
        each = Claims(
            database="", ended=size, accept_ms=accept_ms, claim_ms=claim_ms, index=_index()
        )
        found.append({key: value for key, value in asdict(each).items() if key != "database"})
    return found


def _fill(first: int, last: int) -> None:
    """Tracks and Tasks that have ended, by number."""
    from django.db import connection

    insert, number = _NUMBERS[connection.vendor]
    with connection.cursor() as cursor:
        for table, values in (("turnlab_track", _TRACK), ("turnlab_task", _TASK)):
            made = ", ".join(value.format(hex=number) for value in values.values())
            sql = insert.format(table=table, columns=", ".join(values), values=made)
            cursor.execute(sql, [first, last])
        if connection.vendor == "postgresql":
            # What was just written would else be written out beside what is measured.
            cursor.execute("CHECKPOINT")
            cursor.execute("ANALYZE")
        else:
            cursor.execute("PRAGMA optimize")


def _round() -> tuple[list[float], list[float]]:
    """Accept Tracks that wait, claim them, and let them end."""
    from turnlab.server import models, ownership

    accepted = [_accepted() for _ in range(AT_ONCE * CLAIMS)]
    accept_ms = [_timed(ownership.insert, *each) for each in accepted]
    claim_ms = [
        _timed(ownership.claim_waiting, (NODE, {CLUSTER: AT_ONCE}, AT_ONCE), {})
        for _ in range(CLAIMS)
    ]
    taken = models.Track.objects.filter(status=TrackStatus.STARTED, node=NODE)
    assert taken.update(status=TrackStatus.COMPLETED) == len(accepted), "a Track was not claimed"
    return accept_ms, claim_ms


def _timed(call: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> float:
    began_s = time.perf_counter()
    call(*arguments, **named)
    return 1e3 * (time.perf_counter() - began_s)


def _accepted() -> tuple[tuple[Track, Owned], dict[str, Any]]:
    """What `ownership.insert` is called with."""
    from turnlab.server.ownership import Owned, Repeat
    from turnlab.server.requests import TrackRequest
    from turnlab.work import Priority

    track = Track(
        track_id=new_track_id(CLUSTER),
        cluster=CLUSTER,
        cluster_hash="0" * 64,
        mode=Mode.STREAMED,
        created_at=datetime.now(UTC),
    )
    track = replace(track, status=TrackStatus.PENDING)
    request = TrackRequest(cluster=CLUSTER, text="hello", priority=Priority.BATCH)
    owned = Owned(track_id=track.track_id, request=request, owner="somebody", project="default")
    repeat = Repeat(key=track.track_id, fingerprint="0" * 64)
    return (track, owned), {"node": "", "repeat": repeat}


def _index() -> str:
    """What EXPLAIN says of the claim's own statement. Raises AssertionError if it reads it all."""
    from django.db import connection

    from turnlab.server import ownership

    plans: list[str] = []

    def explained(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT"):
            plans.append(_plan(sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explained):
        ownership.claim_waiting(NODE, {CLUSTER: AT_ONCE}, AT_ONCE)
    plan = " ".join(plans)
    assert "track_waiting" in plan, f"the claim does not read the index of what waits: {plan}"
    return "track_waiting"


def _plan(sql: str, params: Any) -> str:
    """What the database would do, on the connection that Django has."""
    from django.db import connection

    raw = connection.connection  # Django would explain the explanation, too
    if connection.vendor == "sqlite":
        return str(raw.execute(f"EXPLAIN QUERY PLAN {sql.replace('%s', '?')}", params).fetchall())
    return str(raw.execute(f"EXPLAIN {sql}", params).fetchall())


if __name__ == "__main__":
    print(json.dumps(measure([int(size) for size in sys.argv[1:]])))
