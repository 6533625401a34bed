"""Whether each Task is delivered once, how many a second, and whether full tables slow that down.

`python -m benchmarks.delivery [--tracks N] [--database sqlite|postgresql] [--quick] [--json]`. An
API process without Modules of its own, two `turnlab worker` processes, five scripted Modules that
pass a text on (`parts/relay`): 200 Tracks started at once, then N (2,000) as fast as they are
taken, all of priority batch over HTTP with an Idempotency-Key. Each Module notes at its end in a
file that it has run. Then Tracks are accepted and claimed while there are 1,000, 100,000 and
1,000,000 that have ended (`--quick` goes to 100,000), and how long that takes is compared.
PostgreSQL is a server of the benchmark's own that syncs at every commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import asdict, dataclass
from datetime import date

from benchmarks.journal import hardware
from benchmarks.parts.claims import Claims, claims
from benchmarks.parts.figures import quantile
from benchmarks.parts.relay_client import Client
from benchmarks.parts.relay_service import DATABASES, TASKS, RelayService, relay_service

AT_ONCE = 200
LIMIT = 300.0  # Tasks a second
END_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A load that was delivered: each of its Tasks once."""

    database: str
    tracks: int
    tasks: int
    tasks_per_s: float
    accepted_per_s: float
    created_to_started_ms: tuple[float, float]
    """Median and p95."""


def deliver(service: RelayService, database: str, tracks: int) -> Delivered:
    """Start so many Tracks and wait for their end. Raises AssertionError if one is not as it
    must be."""
    before = set(service.executions())
    began_s = time.perf_counter()
    ids = asyncio.run(_started(service, tracks))
    accepted_s = time.perf_counter() - began_s
    service.wait_ended(END_S)
    lasted_s = time.perf_counter() - began_s
    check(service, ids, before)
    waits = _waits_ms(service, ids)
    return Delivered(
        database=database,
        tracks=tracks,
        tasks=tracks * len(TASKS),
        tasks_per_s=tracks * len(TASKS) / lasted_s,
        accepted_per_s=tracks / accepted_s,
        created_to_started_ms=(quantile(waits, 50), quantile(waits, 95)),
    )


async def _started(service: RelayService, tracks: int) -> list[str]:
    client = Client(url=service.url, token=service.token)
    try:
        return list(await asyncio.gather(*(client.start() for _ in range(tracks))))
    finally:
        await client.close()


def check(service: RelayService, ids: list[str], before: set[tuple[str, str]]) -> None:
    """Nothing lost, nothing twice: by the tables, and by what the Modules noted."""
    assert len(set(ids)) == len(ids), "two requests were answered with one Track"
    tracks = dict(service.rows("SELECT track_id, status FROM turnlab_track"))
    odd = [each for each in ids if tracks.get(each) != "completed"]
    assert not odd, f"{len(odd)} Tracks have not completed, such as {odd[0]}: {tracks.get(odd[0])}"
    ran = {key: n for key, n in service.executions().items() if key not in before}
    expected = {(track_id, name) for track_id in ids for name in TASKS}
    assert set(ran) == expected, f"{len(expected ^ set(ran))} Tasks were lost or never asked for"
    twice = [key for key, n in ran.items() if n != 1]
    assert not twice, f"{len(twice)} Tasks ran more than once, such as {twice[0]}"
    rows = service.rows("SELECT track_id, name FROM turnlab_task WHERE status = 'completed'")
    mine = [row for row in rows if tuple(row) in expected]
    assert len(mine) == len(set(mine)) == len(expected), "a Task has two records, or none"


def _waits_ms(service: RelayService, ids: list[str]) -> list[float]:
    """How long each Task waited from its creation until its Module began."""
    wanted, waits = set(ids), []
    for track_id, result in service.rows("SELECT track_id, result_json FROM turnlab_task"):
        if track_id in wanted:
            points = (result if isinstance(result, dict) else json.loads(result))["latency_profile"]
            waits.append(1e3 * (points["ts_claimed"] - points["ts_created"]))
    return waits


def measured(database: str, tracks: int) -> list[Delivered]:
    """The load at once, then the longer one, on a fresh service."""
    with relay_service(database, workers=2) as service:
        deliver(service, database, 20)  # the first of everything is slower
        return [deliver(service, database, count) for count in (AT_ONCE, tracks)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--tracks", type=int, default=2_000, help="of the longer run (2000)")
    parser.add_argument("--database", choices=DATABASES, help="only this one")
    parser.add_argument("--quick", action="store_true", help="up to 100,000 ended Tracks")
    parser.add_argument("--no-claims", action="store_true", help="leave the claims out")
    asked = parser.parse_args()
    databases = [asked.database] if asked.database else list(DATABASES)
    loads = [each for name in databases for each in measured(name, asked.tracks)]
    sizes = (1_000, 100_000) if asked.quick else (1_000, 100_000, 1_000_000)
    found = [] if asked.no_claims else [each for name in databases for each in claims(name, sizes)]
    about = {"date": date.today().isoformat(), "hardware": hardware()}
    if asked.json:
        told = {"delivered": list(map(asdict, loads)), "claims": list(map(asdict, found))}
        print(json.dumps({**about, **told}))
        return
    print(f"{about['date']}, {about['hardware']}\n")
    _print_loads(loads)
    _print_claims(found)


def _print_loads(loads: list[Delivered]) -> None:
    print("| database | Tracks | Tasks | Tasks/s | accepted/s | created to started, ms | p95, ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for each in loads:
        median, p95 = each.created_to_started_ms
        print(
            f"| {each.database} | {each.tracks:,} | {each.tasks:,} | {each.tasks_per_s:.0f} | "
            f"{each.accepted_per_s:.0f} | {median:.1f} | {p95:.1f} |"
        )
    met = all(each.tasks_per_s >= LIMIT for each in loads if each.tracks > AT_ONCE)
    print("\nNothing was lost, nothing ran twice.")
    print(f"At least {LIMIT:.0f} Tasks/s sustained: {'met' if met else 'not met'}.")


def _print_claims(found: list[Claims]) -> None:
    if not found:
        return
    print("\n| database | ended Tracks | accept, ms | claim, ms | as against the fewest |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for each in found:
        first = next(other for other in found if other.database == each.database)
        ratios = [
            statistics.median(mine) / statistics.median(base)
            for mine, base in ((each.accept_ms, first.accept_ms), (each.claim_ms, first.claim_ms))
        ]
        print(
            f"| {each.database} | {each.ended:,} | {statistics.median(each.accept_ms):.2f} | "
            f"{statistics.median(each.claim_ms):.2f} | {ratios[0]:.2f} x, {ratios[1]:.2f} x |"
        )
    indices = sorted({each.index for each in found})
    print(f"\nThe claim reads {' and '.join(indices)}.")


if __name__ == "__main__":
    main()
