"""What a worker in another process costs: a Chunk's way there and back, a Task's start, a turn.

`python -m benchmarks.workers [--chunks N] [--tasks N] [--turns N] [--json]`. One process serves the
workers' WebSocket as `turnlab serve` does (uvicorn), a real `turnlab worker` dials it on loopback.
A hop is the time from a Chunk's being put into a stream of the API process until what the Module in
the worker made of it is back there, one Chunk every two milliseconds. Started is the time from a
Task's creation until its Module has begun. Turns go through Modules of fixed compute, by turns here
and in the worker. `--real RECORDING --cluster NAME` runs real models instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.journal import hardware
from benchmarks.parts.figures import Ratio, quantile, ratio
from benchmarks.parts.worker_server import served
from turnlab.audio import Pace, RecordedTurn, open_recording
from turnlab.chunks import Audio, Chunk, Transcript
from turnlab.clock import MonotonicClock
from turnlab.clusters import Cluster, Plan, find_clusters, make_plan
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.registry import Registry, find_modules
from turnlab.records import NullRecorder
from turnlab.runner import Runner
from turnlab.streams import Stream
from turnlab.tasks import Task, TaskStatus
from turnlab.turn_result import TurnResult
from turnlab.turns.voice_activity import VoiceActivity
from turnlab.work import Executor, Observer, Source

MODULES = Path(__file__).parent / "parts" / "for_workers"
TURN = ("fixed_hear", "fixed_write", "fixed_speak")
PAUSE_S = 0.002
WARM_UP = 50
HOP_MS, HOP_P95_MS, STARTED_MS, TURN_MS = 1.0, 2.0, 5.0, 15.0

now = MonotonicClock.now


@dataclass(kw_only=True)
class Said:
    """A user who says `count` Chunks, one every `pause_s`, and notes when."""

    count: int
    kinds: ClassVar[tuple[type[Chunk], ...]] = (Transcript,)
    speech_s: float | None = None
    last_voiced_s: float | None = None
    left: dict[str, float] = field(default_factory=dict)

    def turn_over_s(self, start_s: float) -> float:
        """There is no speech: the start counts."""
        return start_s

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put each number when all before it are long through."""
        for number in range(self.count):
            await asyncio.sleep(PAUSE_S)
            self.left[str(number)] = now()
            await streams[Transcript].put(Transcript(text=str(number)))


@dataclass(kw_only=True)
class Spoken:
    """A user whose last sample is there at once."""

    kinds: ClassVar[tuple[type[Chunk], ...]] = (Audio,)
    speech_s: float | None = 0.1
    last_voiced_s: float | None = 0.0

    def turn_over_s(self, start_s: float) -> float:
        """The start."""
        return start_s

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put a tenth of a second."""
        samples = np.full(1_600, 0.1, dtype=np.float32)
        await streams[Audio].put(Audio(samples=samples, sample_rate=16_000))


class Back(Observer):
    """Notes when Chunks are there, and how long Tasks took to start."""

    def __init__(self, left: Mapping[str, float]) -> None:
        self.hops: list[float] = []
        self.started: list[float] = []
        self._left = left
        self._created: dict[str, float] = {}

    def task(self, task: Task) -> None:
        """A Task was created or has started."""
        if task.status is TaskStatus.PENDING:
            self._created[task.id] = now()
        elif task.status is TaskStatus.STARTED:
            self.started.append(now() - self._created[task.id])

    def chunk(self, component: str, chunk: Chunk) -> None:
        """A Chunk is back."""
        if (number := getattr(chunk, "text", "")) in self._left:
            self.hops.append(now() - self._left[number])


def plan_of(registry: Registry, *names: str, given: type[Chunk] = Audio) -> Plan:
    """A Cluster of these Modules, one after the other."""
    rows = {name: {"order": i, "task_name": name} for i, name in enumerate(names)}
    return make_plan(Cluster.from_dict("CLUSTER_WORKERS", rows), registry, given=(given,))


async def run(executor: Executor, plan: Plan, source: Source, observer: Observer) -> TurnResult:
    """One turn. Raises what it failed with."""
    result = await Runner(executor, NullRecorder()).run(plan, source, observer=observer)
    if result.error is not None:
        raise result.error
    return result


async def passing(hub: Executor, registry: Registry, chunks: int, tasks: int) -> dict[str, Any]:
    """Seconds of each hop and of each Task's start."""
    plan = plan_of(registry, "fixed_pass", given=Transcript)
    said = Said(count=chunks + WARM_UP)
    back = Back(said.left)
    await run(hub, plan, said, back)
    started = []
    for _ in range(tasks):
        one = Back({})
        await run(hub, plan, Said(count=1), one)
        started += one.started
    return {"hop": back.hops[WARM_UP:], "started": started[tasks // 10 :]}


async def turns(
    executors: Mapping[str, Executor], plan: Plan, source: Any, rounds: int
) -> dict[str, list[float]]:
    """Voice-to-voice seconds by executor, one turn of each after the other."""
    took: dict[str, list[float]] = {name: [] for name in executors}
    for number in range(rounds + 1):
        for name, executor in executors.items():
            result = await run(executor, plan, source(executor), Observer())
            if number:
                took[name].append(result.track.voice_to_voice_s or float("nan"))
    return took


async def fixed(asked: argparse.Namespace) -> dict[str, Any]:
    """All figures with Modules of fixed compute."""
    registry = find_modules([MODULES])
    embedded = EmbeddedExecutor()
    names = ("fixed_pass", *TURN)
    async with served(registry, "--modules", str(MODULES), "--tasks", ",".join(names)) as hub:
        found = await passing(hub, registry, asked.chunks, asked.tasks)
        both: dict[str, Executor] = {"embedded": embedded, "worker": hub}
        plan = plan_of(registry, *TURN)
        found |= await turns(both, plan, lambda _: Spoken(), asked.turns)
    await embedded.close()
    return found


async def real(asked: argparse.Namespace) -> dict[str, Any]:
    """Turns with the models of a Cluster."""
    registry = find_modules()
    plan = make_plan(find_clusters().get(asked.cluster), registry, given=(Audio,))
    recording = open_recording(asked.real, VoiceActivity())
    embedded = EmbeddedExecutor()
    await embedded.prepare(plan)
    names = ",".join(dict.fromkeys(step.module.task_name for step in plan.steps))

    def source(executor: Executor) -> RecordedTurn:
        return RecordedTurn(recording=recording, clock=executor.clock, pace=Pace.FAST)

    async with served(registry, "--warm", "--tasks", names) as hub:
        both: dict[str, Executor] = {"embedded": embedded, "worker": hub}
        found = await turns(both, plan, source, asked.turns)
    await embedded.close()
    return found


def summary(found: dict[str, list[float]]) -> dict[str, Any]:
    """Median, p95 and worst in ms; what the worker adds to a turn, and the ratio of both."""
    rows = {
        name: {
            "n": len(values),
            "median_ms": 1e3 * quantile(values, 50),
            "p95_ms": 1e3 * quantile(values, 95),
            "worst_ms": 1e3 * max(values),
        }
        for name, values in found.items()
    }
    added = [w - e for w, e in zip(found["worker"], found["embedded"], strict=True)]
    both: Ratio = ratio(found["worker"], found["embedded"])
    return {"rows": rows, "added_ms": 1e3 * quantile(added, 50), "ratio": vars_of(both)}


def vars_of(both: Ratio) -> dict[str, Any]:
    """The ratio as JSON."""
    return {"median": both.median, "interval": both.median_interval, "p95": both.p95}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--chunks", type=int, default=2_000, help="Chunks to pass on (2000)")
    parser.add_argument("--tasks", type=int, default=200, help="Tasks to start (200)")
    parser.add_argument("--turns", type=int, default=40, help="turns of each sort (40)")
    parser.add_argument("--real", type=Path, help="a recording to run through real models")
    parser.add_argument("--cluster", default="CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION")
    asked = parser.parse_args()
    found = summary(asyncio.run(real(asked) if asked.real else fixed(asked)))
    about = {"date": date.today().isoformat(), "hardware": hardware()}
    if asked.json:
        print(json.dumps({**about, **found}))
        return
    print(f"{about['date']}, {about['hardware']}\n")
    _print(found)


def _print(found: dict[str, Any]) -> None:
    rows = found["rows"]
    print("| what | n | median, ms | p95, ms | worst, ms |\n| --- | ---: | ---: | ---: | ---: |")
    for name, row in rows.items():
        figures = " | ".join(f"{row[key]:.2f}" for key in ("median_ms", "p95_ms", "worst_ms"))
        print(f"| {name} | {row['n']} | {figures} |")
    low, high = found["ratio"]["interval"]
    print(f"\nworker / embedded: {found['ratio']['median']:.3f} (95 % {low:.3f} to {high:.3f})")
    limits = {
        f"A turn adds {found['added_ms']:.1f} ms, at most {TURN_MS:g}": found["added_ms"] <= TURN_MS
    }
    if "hop" in rows:
        hop, started = rows["hop"], rows["started"]
        within = hop["median_ms"] <= HOP_MS and hop["p95_ms"] <= HOP_P95_MS
        limits[f"A hop takes at most {HOP_MS:g} ms (median), {HOP_P95_MS:g} ms (p95)"] = within
        limits[f"A Task starts within {STARTED_MS:g} ms"] = started["median_ms"] <= STARTED_MS
    for what, met in limits.items():
        print(f"{what}: {'met' if met else 'not met'}.")


if __name__ == "__main__":
    main()
