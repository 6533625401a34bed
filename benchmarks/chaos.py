"""Whether each Track that was accepted comes to an end while processes are killed.

`python -m benchmarks.chaos [--seconds N] [--database sqlite|postgresql] [--rate N] [--json]`. An
API process and three `turnlab worker` processes run five scripted Modules (`parts/relay`). For N
seconds (60), Tracks are started at a steady rate, half of them live, by a client that sends a
request again under its Idempotency-Key after errors of the connection, 429 and 503. Meanwhile a
worker that is chosen by chance is killed about every second and another one started, and in the
middle the API process is killed and started again. All kills are SIGKILL. Then the client goes on
until all is accepted, everything ends, and the tables are held against what was accepted and what
the Modules noted at their ends. Exits with 1 and says what is wrong if anything is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import date

from benchmarks.journal import hardware
from benchmarks.parts.relay_client import Client
from benchmarks.parts.relay_service import DATABASES, TASKS, RelayService, relay_service

WORKERS = 3
PARAMS = {"work_s": 0.05, "settle_s": 0.01}
ACCEPT_S, END_S = 60.0, 60.0
"""How long, after the last kill, all may take to be accepted, and to end."""


@dataclass(kw_only=True)
class Survived:
    """What was done, and what became of it."""

    database: str
    seconds: float
    accepted: int = 0
    completed: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """Tracks by error code."""
    second_attempts: int = 0
    """Tasks that were given to another worker."""
    begun_again: int = 0
    """Tracks that the next API process took over and completed."""
    results_lost: int = 0
    """Tasks that a Module ran to its end twice, since the first result died with a process on its
    way; it was recorded once."""
    workers_killed: int = 0
    servers_killed: int = 0
    server_back_s: float = 0.0
    """From the API process's end until the next one was ready."""
    sent_again: dict[str, int] = field(default_factory=dict)
    """Requests by what had become of them."""
    wrong: list[str] = field(default_factory=list)


class Chaos:
    """One run on a service that has its workers."""

    def __init__(self, service: RelayService, told: Survived, rate: float, seed: int) -> None:
        self._service, self._told, self._rate = service, told, rate
        self._random = random.Random(seed)
        self._client = Client(url=service.url, token=service.token, params=PARAMS)

    async def run(self) -> None:
        """Load and kills for as long as was asked, then until all is accepted."""
        kills = [asyncio.create_task(self._kill_workers()), asyncio.create_task(self._kill_api())]
        starts: list[asyncio.Task[str]] = []
        try:
            end_s = time.monotonic() + self._told.seconds
            while time.monotonic() < end_s:
                priority = "live" if len(starts) % 2 else "batch"
                starts.append(asyncio.create_task(self._client.start(priority)))
                await asyncio.sleep(1 / self._rate)
            kills[0].cancel()
            await kills[1]
            await asyncio.wait_for(asyncio.gather(*starts), ACCEPT_S)
        finally:
            for job in (*kills, *starts):
                job.cancel()
            await asyncio.gather(*kills, *starts, return_exceptions=True)
            await self._client.close()
        self._told.accepted = len(self._client.accepted)
        self._told.sent_again = dict(self._client.retried)

    async def _kill_workers(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 1.5))
            victim = self._random.choice(self._service.workers)
            await asyncio.to_thread(victim.kill)
            self._service.workers.remove(victim)
            self._service.start_worker()
            self._told.workers_killed += 1

    async def _kill_api(self) -> None:
        await asyncio.sleep(self._told.seconds / 2)
        began_s = time.monotonic()
        await asyncio.to_thread(self._service.api.kill)
        await asyncio.to_thread(self._service.start_api)
        self._told.server_back_s = time.monotonic() - began_s
        self._told.servers_killed += 1

    def judge(self) -> None:
        """Hold the tables against what was accepted, once everything has ended."""
        told, rows = self._told, self._service.rows
        tracks = {
            track_id: (status, code, begun)
            for track_id, status, code, begun in rows(
                "SELECT track_id, status, error_code, request FROM turnlab_track"
            )
        }
        tasks = rows("SELECT track_id, name, status, attempt FROM turnlab_task")
        ended = Counter((track_id, name) for track_id, name, s, _ in tasks if s == "completed")
        ids = list(self._client.accepted.values())
        told.completed = sum(status == "completed" for status, _, _ in tracks.values())
        told.failed = dict(Counter(c for s, c, _ in tracks.values() if s == "failed"))
        told.second_attempts = sum(attempt > 1 for _, _, _, attempt in tasks)
        told.begun_again = sum(_begun(r) > 1 for s, _, r in tracks.values() if s == "completed")
        allowed = Counter({(track_id, name): attempt for track_id, name, _, attempt in tasks})
        twice = {each: n for each, n in self._service.executions().items() if n > 1}
        again = {t: max(0, _begun(request) - 1) for t, (_, _, request) in tracks.items()}
        told.results_lost = len(twice)
        told.wrong += _wrong(
            {
                "Tracks lost": set(ids) - set(tracks),
                "Tracks that nobody asked for": set(tracks) - set(ids),
                "Tracks for two requests": [each for each, n in Counter(ids).items() if n > 1],
                "Tracks neither completed nor failed with a code": [
                    each
                    for each, (status, code, _) in tracks.items()
                    if status != "completed" and not (status == "failed" and code)
                ],
                "Tasks stuck": [row for row in tasks if row[2] in ("pending", "started")],
                "Tasks recorded as completed twice": [e for e, n in ended.items() if n > 1],
                "Tasks that ran twice although no process was lost": [
                    each for each, n in twice.items() if n > allowed[each] + again[each[0]]
                ],
                "completed Tracks without all their Tasks": [
                    each
                    for each, (status, _, _) in tracks.items()
                    if status == "completed" and any(not ended[each, name] for name in TASKS)
                ],
            }
        )


def _begun(request: object) -> int:
    values = json.loads(request) if isinstance(request, str) else request
    assert isinstance(values, dict)
    return int(values.get("begun", 0))


def _wrong(found: dict[str, object]) -> list[str]:
    """What there should be none of, each with its number and an example."""
    lists = {what: list(each) for what, each in found.items() if isinstance(each, (list, set))}
    return [f"{len(each)} {what}, such as {each[0]}" for what, each in lists.items() if each]


def survive(database: str, seconds: float, rate: float = 20.0, seed: int | None = None) -> Survived:
    """One run on a fresh service."""
    told = Survived(database=database, seconds=seconds)
    with relay_service(database, WORKERS) as service:
        chaos = Chaos(service, told, rate, random.randrange(2**32) if seed is None else seed)
        try:
            asyncio.run(chaos.run())
            service.wait_workers()
            service.wait_ended(END_S)
        except (AssertionError, TimeoutError) as error:
            told.wrong.append(str(error) or "not everything was accepted")
        chaos.judge()
    return told


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load and kills (60)")
    parser.add_argument("--rate", type=float, default=20.0, help="Tracks a second (20)")
    parser.add_argument("--database", choices=DATABASES, help="only this one")
    asked = parser.parse_args()
    databases = [asked.database] if asked.database else list(DATABASES)
    found = [survive(name, asked.seconds, asked.rate) for name in databases]
    about = {"date": date.today().isoformat(), "hardware": hardware()}
    if asked.json:
        print(json.dumps({**about, "survived": list(map(asdict, found))}))
    else:
        print(f"{about['date']}, {about['hardware']}\n")
        _print(found)
    return int(any(each.wrong for each in found))


def _print(found: list[Survived]) -> None:
    print("|  | " + " | ".join(each.database for each in found) + " |")
    print("| --- |" + " ---: |" * len(found))
    lines = {
        "seconds": [f"{each.seconds:.0f}" for each in found],
        "workers killed": [str(each.workers_killed) for each in found],
        "API processes killed": [str(each.servers_killed) for each in found],
        "ready again after, s": [f"{each.server_back_s:.1f}" for each in found],
        "Tracks accepted": [f"{each.accepted:,}" for each in found],
        "completed": [f"{each.completed:,}" for each in found],
        "failed, with a code": [_counted(each.failed) for each in found],
        "Tasks given to a second worker": [str(each.second_attempts) for each in found],
        "Tracks begun again by the next process": [str(each.begun_again) for each in found],
        "Tasks run again, their result lost": [str(each.results_lost) for each in found],
        "requests sent again": [_counted(each.sent_again) for each in found],
        "lost, stuck or recorded twice": [str(len(each.wrong)) for each in found],
    }
    for name, values in lines.items():
        print(f"| {name} | " + " | ".join(values) + " |")
    for each in found:
        for what in each.wrong:
            print(f"\n{each.database}: {what}")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(counts.items())) or "none"


if __name__ == "__main__":
    raise SystemExit(main())
