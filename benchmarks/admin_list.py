"""How long the admin's pages take over a million Tracks and five million Tasks.

`python -m benchmarks.admin_list [--json] [--tracks N] [--rounds N] [--explain]`. Records are
made by the database itself and the pages asked for through Django's test client, sign-in, queries
and templates included. SQLite in a temporary folder, or the empty PostgreSQL that DATABASE_URL
names; its tables are emptied at the end. `--explain` prints how the database reads each page.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from benchmarks.journal import hardware

if TYPE_CHECKING:
    from django.test import Client

LIMIT_MS = 300.0
TASKS = 5
"""Tasks of each Track."""

CLUSTERS = (
    "CLUSTER_Q_ETE_CONVERSATION",
    "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION",
    "CLUSTER_GPT_4O_ETE_CONVERSATION",
    "CLUSTER_VOICE_ETE_CONVERSATION",
)
_SPAN = {"kind": "model", "component": "text2speech", "label": "synthesize"}
_SPANS = json.dumps([{**_SPAN, "start_s": 0.1 * n, "end_s": 0.1 * n + 0.1} for n in range(9)])
_RESULT = json.dumps({"latency_profile": {f"ts_{n}": 0.123456 for n in range(12)}})

# One Track every 20 s, the newest last; 1 in 50 failed, few wait, half of them over 0.8 s.
_TRACKS = """
INSERT INTO turnlab_track (track_id, cluster, cluster_hash, mode, status, conversation_id,
    speech_s, last_voiced_s, voice_to_voice_s, spans, host, error_code, error_message,
    created_at, updated_at, owner, project, node)
WITH RECURSIVE numbers(n) AS (
    SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {tracks} - 1
), rows AS (SELECT n, {random} AS r FROM numbers)
SELECT 'T-' || {cluster} || '-' || {id}, {cluster}, '0', 'streamed', {status}, NULL,
    2.0, 1.8, {latency}, '{spans}', '{{}}',
    CASE WHEN {status} = 'failed' THEN 'worker_lost' ELSE '' END, '', {moment}, {moment},
    'owner-' || (r % 40), CASE WHEN r % 997 = 0 THEN 'rare' ELSE 'default' END, 'N-1'
FROM rows
"""

_MADE = """
INSERT INTO turnlab_task (id, track_id, name, task_name, status, worker, attempt, parameters,
    result_json, error_code, error_message, created_at, updated_at)
WITH RECURSIVE parts(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM parts WHERE k < {tasks} - 1)
SELECT {task_id}, track_id, 'task' || k, 'task' || k, status, 'embedded', 1, '{{}}', '{result}',
    '', '', created_at, updated_at
FROM turnlab_track CROSS JOIN parts
"""

_SQLITE = {
    "random": "(n * 2654435761) % 4294967296",
    "id": "printf('%08x%024x', r, n)",
    "moment": "strftime('%Y-%m-%d %H:%M:%f000', {newest} - ({tracks} - n) * 20, 'unixepoch')",
    "task_id": "printf('%016x-%d', unixepoch(created_at), turnlab_track.rowid * {tasks} + k)",
}
_POSTGRESQL = {
    "random": "(n::bigint * 2654435761) % 4294967296",
    "id": "lpad(to_hex(r), 8, '0') || lpad(to_hex(n), 24, '0')",
    "moment": "to_timestamp({newest} - ({tracks} - n) * 20)",
    "task_id": "lpad(to_hex(extract(epoch from created_at)::bigint), 16, '0')"
    " || right(track_id, 32) || k",
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page: where it is, and its median and worst time in milliseconds."""

    name: str
    median_ms: float
    worst_ms: float
    queries: int

    @property
    def within(self) -> bool:
        """Whether its median is within the limit."""
        return self.median_ms <= LIMIT_MS


def pages(newest: datetime, track_id: str) -> Mapping[str, str]:
    """What is asked for, by name."""
    week = {"since": (newest - timedelta(days=9)).strftime("%Y-%m-%dT%H:%M")}
    week["until"] = (newest - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    asked: dict[str, dict[str, str]] = {
        "newest": {},
        "the 100th page": {"p": "100"},
        "of a Cluster": {"cluster": CLUSTERS[1]},
        "failed": {"status": "failed"},
        "waiting": {"status": "pending"},
        "of an owner": {"owner": "owner-7"},
        "of a rare project": {"project": "rare"},
        "of a week": week,
        "over budget": {"latency": "over"},
        "0.8 to 1.5 s": {"latency": "fair"},
        "over 5 s, of a Cluster": {"latency": "lost", "cluster": CLUSTERS[0]},
        "failed, of a Cluster": {"status": "failed", "cluster": CLUSTERS[0]},
        "over budget, of a week": {"latency": "over", **week},
        "by latency": {"o": "-5"},
        "by Cluster": {"o": "3"},
        "by owner": {"o": "7"},
        "found by its id": {"q": track_id[:-8]},
        "found by its digits": {"q": track_id[-32:-20]},
        "found by a Cluster's name": {"q": f"T-{CLUSTERS[0]}"},
    }
    listed = {
        f"Tracks, {name}": f"/admin/turnlab/track/?{urlencode(query)}"
        for name, query in asked.items()
    }
    return {
        **listed,
        "a Track": f"/admin/turnlab/track/{track_id}/",
        "Tasks": "/admin/turnlab/task/",
        "Tasks under way": "/admin/turnlab/task/?under_way=pending",
        "overview": "/admin/",
        "health": "/admin/health/",
    }


def fill(tracks: int) -> tuple[datetime, str]:
    """Fill the tables; the moment of the newest Track, and the id of one in the middle."""
    from django.db import connection

    newest = datetime.now(UTC).replace(microsecond=0)
    dialect = _SQLITE if connection.vendor == "sqlite" else _POSTGRESQL
    values: dict[str, Any] = {
        "tracks": tracks,
        "tasks": TASKS,
        "newest": int(newest.timestamp()),
        "spans": _SPANS,
        "result": _RESULT,
        "cluster": _case([f"r % {len(CLUSTERS)} = {i}" for i in range(3)], CLUSTERS),
        "status": f"CASE WHEN n > {tracks} - 20 THEN 'pending' WHEN r % 50 = 0 THEN 'failed' "
        "ELSE 'completed' END",
        "latency": "CASE WHEN r % 50 = 0 THEN NULL WHEN r % 5000 = 1 THEN 6.0 "
        "ELSE 0.3 + (r % 1000) / 1000.0 END",
    }
    values |= {name: text.format(**values) for name, text in dialect.items()}
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA cache_size = -400000")
        cursor.execute(_TRACKS.format(**values))
        cursor.execute(_MADE.format(**values))
        cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "SELECT 1")
        cursor.execute(
            "SELECT track_id FROM turnlab_track WHERE owner = 'owner-7' ORDER BY created_at LIMIT 1"
        )
        return newest, str(cursor.fetchone()[0])


def _case(conditions: list[str], results: tuple[str, ...]) -> str:
    whens = [f"WHEN {c} THEN '{r}'" for c, r in zip(conditions, results, strict=False)]
    return f"CASE {' '.join(whens)} ELSE '{results[-1]}' END"


@contextmanager
def serving() -> Iterator[None]:
    """A node in this process, on a thread: the admin asks it for Clusters and their budgets."""
    from turnlab.clusters import find_clusters
    from turnlab.modules.registry import find_modules
    from turnlab.server.node import Node, NodeSettings, set_node

    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> Node:
        return Node(find_modules(), find_clusters(), NodeSettings(embedded=False))

    node = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
    set_node(node)
    try:
        yield
    finally:
        set_node(None)
        asyncio.run_coroutine_threadsafe(node.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def signed_in() -> Iterator[Client]:
    """The test client of an administrator."""
    from django.contrib.auth.models import User
    from django.test import Client, override_settings

    client = Client()
    user, _ = User.objects.get_or_create(username="bench", is_superuser=True, is_staff=True)
    client.force_login(user)
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        yield client


def measure(client: Client, name: str, address: str, rounds: int, explain: bool) -> Page:
    """Ask for a page once, to warm up and to see its queries, then `rounds` times."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    queries = len(captured)
    if answer.status_code != 200:
        raise SystemExit(f"{name}: {answer.status_code} at {address}")
    if explain:
        _explain(name, [query["sql"] for query in captured.captured_queries])
    times = []
    for _ in range(rounds):
        start_s = time.perf_counter()
        client.get(address)
        times.append(1000 * (time.perf_counter() - start_s))
    return Page(
        name=name,
        median_ms=round(statistics.median(times), 1),
        worst_ms=round(max(times), 1),
        queries=queries,
    )


def _explain(name: str, statements: list[str]) -> None:
    from django.db import connection

    word = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    print(f"\n{name}")
    for sql in statements:
        if "turnlab_" not in sql or sql.lstrip().startswith(("INSERT", "UPDATE")):
            continue
        with connection.cursor() as cursor:
            cursor.execute(f"{word} {sql}")
            print("  " + "\n  ".join(str(row[-1]) for row in cursor.fetchall()))


def run(tracks: int, rounds: int, explain: bool) -> tuple[str, list[Page]]:
    """Fill, measure, empty."""
    from turnlab.server.setup import open_database

    open_database(service=True)
    from django.core.management import call_command
    from django.db import connection

    newest, track_id = fill(tracks)
    try:
        with serving(), signed_in() as client:
            asked = pages(newest, track_id).items()
            found = [measure(client, name, at, rounds, explain) for name, at in asked]
        return connection.vendor, found
    finally:
        if connection.vendor == "postgresql":
            call_command("flush", interactive=False, verbosity=0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--tracks", type=int, default=1_000_000, help="Tracks (1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="times that a page is read (5)")
    parser.add_argument("--explain", action="store_true", help="print how the pages are read")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TURNLAB_HOME"] = home
        os.environ.setdefault("TURNLAB_SECRET_KEY", "of this benchmark alone, for a minute or so")
        vendor, found = run(asked.tracks, asked.rounds, asked.explain)
    _print(vendor, found, asked)


def _print(vendor: str, found: list[Page], asked: argparse.Namespace) -> None:
    if asked.json:
        about = {"date": date.today().isoformat(), "hardware": hardware(), "database": vendor}
        rows = [vars(each) for each in found]
        print(json.dumps({**about, "tracks": asked.tracks, "pages": rows}))
        return
    print(f"{date.today().isoformat()}, {hardware()}")
    print(f"{vendor}, {asked.tracks:,} Tracks, {asked.tracks * TASKS:,} Tasks\n")
    print("| page | median, ms | worst, ms | queries |\n| --- | ---: | ---: | ---: |")
    for each in found:
        note = "" if each.within else f" (over {LIMIT_MS:.0f})"
        print(f"| {each.name}{note} | {each.median_ms} | {each.worst_ms} | {each.queries} |")


if __name__ == "__main__":
    main()
