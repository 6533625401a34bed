"""How many durable Tasks a second the journal writes, and what a call costs its caller.

`python -m benchmarks.journal [--json] [--tasks N] [--rounds N]`. Each Task is written three times
(pending, started, completed with a result_json of about 700 bytes), three Tasks to a Track, into
SQLite in a temporary folder. `merged`: the versions of a Task follow at once, so that mostly the
last is written. `apart`: each version is durable before the next, so that all three are written.
A round ends when `flush` returns; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnlab.tasks import Task, TaskStatus, new_id
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id

if TYPE_CHECKING:
    from turnlab.server.journal import Journal

_STEPS = ("speech2text", "quantization_llm", "text2speech")
_WINDOW = 1_500  # Tasks whose next version follows in `apart`

_RESULT: dict[str, Any] = {
    "result_profile": {
        "text": "It is a clear evening, about twelve degrees, with a light wind. " * 3
    },
    "latency_profile": {
        f"{family}_{label}": 0.123456
        for family in ("ts", "model", "transfer", "queue", "wait")
        for label in ("created", "claimed", "first_input", "first_output")
    },
}


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round: what was durable, and what the calls cost."""

    tasks_per_s: float
    call_us: float


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The records of one turn, made before anything is timed."""

    tracks: tuple[Track, Track]
    tasks: tuple[tuple[Task, Task, Task], ...]


def turn() -> Turn:
    """A Track and its Tasks, in every version."""
    started = Track(
        track_id=new_track_id("CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"),
        cluster="CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION",
        cluster_hash="0" * 64,
        mode=Mode.STREAMED,
        created_at=datetime.now(UTC),
    )
    ended = replace(started, status=TrackStatus.COMPLETED, voice_to_voice_s=0.43)
    tasks = tuple(versions(started.track_id, step) for step in _STEPS)
    return Turn(tracks=(started, ended), tasks=tasks)


def versions(track_id: str, step: str) -> tuple[Task, Task, Task]:
    """A Task as it is pending, started and completed."""
    pending = Task(
        id=new_id(),
        track_id=track_id,
        name=step,
        task_name=step,
        parameters={"voice": "en_US-joe-medium", "text": "What's the weather like?"},
        created_at=datetime.now(UTC),
    )
    started = pending.to(TaskStatus.STARTED)
    return pending, started, started.to(TaskStatus.COMPLETED, result_json=_RESULT)


async def merged(journal: Journal, turns: list[Turn]) -> float:
    """Write every version at once; the seconds that the calls took."""
    start_s = time.perf_counter()
    for each in turns:
        journal.track(each.tracks[0])
        for pending, started, completed in each.tasks:
            journal.task(pending)
            journal.task(started)
            journal.task(completed)
        journal.track(each.tracks[1])
    calls_s = time.perf_counter() - start_s
    await journal.flush()
    return calls_s


async def apart(journal: Journal, turns: list[Turn]) -> float:
    """Write a window of Tasks in one version, flush, then in the next."""
    calls_s = 0.0
    step = _WINDOW // len(_STEPS)
    for first in range(0, len(turns), step):
        window = turns[first : first + step]
        for version in range(3):
            start_s = time.perf_counter()
            for each in window:
                journal.track(each.tracks[version // 2])
                for task in each.tasks:
                    journal.task(task[version])
            calls_s += time.perf_counter() - start_s
            await journal.flush()
    return calls_s


async def measure(journal: Journal, tasks: int) -> dict[str, Round]:
    """One round of each way of writing."""
    rounds = {}
    for write in (merged, apart):
        turns = [turn() for _ in range(tasks // len(_STEPS))]
        written = len(turns) * len(_STEPS)
        calls = written * 3 + len(turns) * (2 if write is merged else 3)
        start_s = time.perf_counter()
        calls_s = await write(journal, turns)
        took_s = time.perf_counter() - start_s
        rounds[write.__name__] = Round(tasks_per_s=written / took_s, call_us=1e6 * calls_s / calls)
    return rounds


def run(tasks: int, rounds: int) -> dict[str, Round]:
    """The median of each way of writing, each round in a fresh database."""
    measured: dict[str, list[Round]] = {}
    for _ in range(rounds):
        for name, each in one_round(tasks).items():
            measured.setdefault(name, []).append(each)
    return {name: _median(each) for name, each in measured.items()}


def one_round(tasks: int) -> dict[str, Round]:
    """One round in a temporary folder of its own."""
    from django.db import connections

    with tempfile.TemporaryDirectory() as home:
        connections["default"].close()
        connections.databases["default"]["NAME"] = Path(home, "turnlab.sqlite3")
        from turnlab.server.setup import open_records

        journal = open_records()
        try:
            return asyncio.run(measure(journal, tasks))
        finally:
            journal.close()


def _median(rounds: list[Round]) -> Round:
    return Round(
        tasks_per_s=round(statistics.median(each.tasks_per_s for each in rounds)),
        call_us=round(statistics.median(each.call_us for each in rounds), 2),
    )


def hardware() -> str:
    """Processor, cores and Python, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--tasks", type=int, default=30_000, help="Tasks a round (30000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TURNLAB_HOME"] = home
        from turnlab.server.setup import configure

        configure()
        measured = run(asked.tasks, asked.rounds)
    _print_json(measured, asked) if asked.json else _print_table(measured, asked)


def _print_json(measured: dict[str, Round], asked: argparse.Namespace) -> None:
    about = {"date": date.today().isoformat(), "hardware": hardware(), "tasks": asked.tasks}
    print(json.dumps({**about, **{name: vars(each) for name, each in measured.items()}}))


def _print_table(measured: dict[str, Round], asked: argparse.Namespace) -> None:
    print(f"{date.today().isoformat()}, {hardware()}")
    print(f"SQLite (WAL), {asked.tasks} Tasks a round, median of {asked.rounds}\n")
    print("| versions | durable Tasks/s | call, us |\n| --- | ---: | ---: |")
    for name, each in measured.items():
        print(f"| {name} | {each.tasks_per_s:,.0f} | {each.call_us:.2f} |")


if __name__ == "__main__":
    main()
