"""What a Chunk's way from Module to Module costs, and how soon a cancelled generation ends.

`python -m benchmarks.hops [--chunks N] [--cancels N] [--json]`. Three scripted Modules that only
pass Chunks on run through the real runner and executor; the user says one Chunk every two
milliseconds, so that no queue builds up. A hop is the time from a Module's handing a Chunk over to
the next one's getting it. Then a reply of the real language model is cancelled, while it is being
written and while a prompt of some 1,500 tokens is being read; `--cancels 0` leaves that out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar

import numpy as np

from benchmarks.journal import hardware
from benchmarks.parts.cancel import Cancelled, cancels
from benchmarks.parts.figures import quantile
from turnlab.chunks import Chunk, Reply, Speech, Transcript
from turnlab.clock import MonotonicClock
from turnlab.clusters import Cluster, make_plan
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.base import Context, Inputs, Module
from turnlab.modules.registry import Registry
from turnlab.records import NullRecorder
from turnlab.runner import Runner
from turnlab.streams import Stream

PAUSE_S = 0.002
LIMIT_MS = 0.15
CANCEL_MS = 100.0
WARM_UP = 100  # Chunks that do not count

now = MonotonicClock.now

LEFT: dict[tuple[str, str], float] = {}
"""When a Module let go of a Chunk, by Module and the Chunk's number."""

HOPS: defaultdict[str, list[float]] = defaultdict(list)
"""Seconds by hop."""


def arrived(number: str, frm: str, to: str) -> None:
    """Note that the Chunk of this number, sent by `frm`, is at `to`."""
    if int(number) >= WARM_UP:
        HOPS[f"{frm} to {to}"].append(now() - LEFT[frm, number])


@dataclass(frozen=True, kw_only=True)
class Noted(Speech):
    """A Speech that notes when the listener asks how long it plays."""

    number: str = ""
    seen: list[bool] = field(default_factory=list, compare=False)

    @property
    def duration_s(self) -> float:
        if not self.seen:
            self.seen.append(True)
            arrived(self.number, "third", "listener")
        return super().duration_s


SAMPLES = np.full(32, 0.5, dtype=np.float32)


class First(Module):
    """Transcript to Transcript."""

    task_name = "first"
    consumes = (Transcript,)
    produces = Transcript

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        async for chunk in inputs.stream(Transcript):
            arrived(chunk.text, "user", "first")
            LEFT["first", chunk.text] = now()
            yield Transcript(text=chunk.text)


class Second(Module):
    """Transcript to Reply."""

    task_name = "second"
    consumes = (Transcript,)
    produces = Reply

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        async for chunk in inputs.stream(Transcript):
            arrived(chunk.text, "first", "second")
            LEFT["second", chunk.text] = now()
            yield Reply(text=chunk.text)


class Third(Module):
    """Reply to Speech."""

    task_name = "third"
    consumes = (Reply,)
    produces = Speech

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        async for chunk in inputs.stream(Reply):
            arrived(chunk.text, "second", "third")
            LEFT["third", chunk.text] = now()
            yield Noted(samples=SAMPLES, sample_rate=16_000, number=chunk.text, seen=[])


@dataclass(kw_only=True)
class Numbers:
    """A user who says the numbers one after the other."""

    count: int
    kinds: ClassVar[tuple[type[Chunk], ...]] = (Transcript,)
    speech_s: float | None = None
    last_voiced_s: float | None = None

    def turn_over_s(self, start_s: float) -> float:
        """There is no speech: the start counts."""
        return start_s

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put each number when all before it are long through."""
        for number in range(self.count + WARM_UP):
            await asyncio.sleep(PAUSE_S)
            LEFT["user", str(number)] = now()
            await streams[Transcript].put(Transcript(text=str(number)))


async def hops(count: int) -> dict[str, list[float]]:
    """Seconds of each hop, by its two ends."""
    modules = (First, Second, Third)
    described = {m.task_name: {"order": i, "task_name": m.task_name} for i, m in enumerate(modules)}
    cluster = Cluster.from_dict("CLUSTER_HOPS", described)
    plan = make_plan(cluster, Registry(modules), given=(Transcript,))
    executor = EmbeddedExecutor()
    try:
        result = await Runner(executor, NullRecorder()).run(plan, Numbers(count=count))
    finally:
        await executor.close()
    if result.error is not None:
        raise result.error
    return dict(HOPS)


def summary(measured: dict[str, list[float]]) -> dict[str, Any]:
    """Median, p95 and worst in ms, of each hop and of those between Modules and to the listener."""
    between = [value for name, values in measured.items() if "user" not in name for value in values]
    rows = {**measured, "all but the first": between}
    return {
        name: {
            "n": len(values),
            "median_ms": 1e3 * quantile(values, 50),
            "p95_ms": 1e3 * quantile(values, 95),
            "worst_ms": 1e3 * max(values),
        }
        for name, values in rows.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--chunks", type=int, default=2_000, help="Chunks to pass on (2000)")
    parser.add_argument("--cancels", type=int, default=20, help="cancels of each sort (20)")
    asked = parser.parse_args()
    found = summary(asyncio.run(hops(asked.chunks)))
    ended = asyncio.run(cancels(asked.cancels)) if asked.cancels else []
    about = {"date": date.today().isoformat(), "hardware": hardware()}
    if asked.json:
        print(json.dumps({**about, "hops": found, "cancel": [vars(each) for each in ended]}))
    else:
        print(f"{about['date']}, {about['hardware']}\n")
        _print_hops(found)
        _print_cancels(ended)


def _print_hops(found: dict[str, Any]) -> None:
    print("| hop | n | median, ms | p95, ms | worst, ms |\n| --- | ---: | ---: | ---: | ---: |")
    for name, row in found.items():
        figures = " | ".join(f"{row[key]:.3f}" for key in ("median_ms", "p95_ms", "worst_ms"))
        print(f"| {name} | {row['n']} | {figures} |")
    met = found["all but the first"]["median_ms"] <= LIMIT_MS
    print(f"\nAt most {LIMIT_MS} ms median: {'met' if met else 'not met'}.")


def _print_cancels(ended: list[Cancelled]) -> None:
    if not ended:
        return
    print("\n| cancelled while | n | thread back, ms (median, worst) | quiet, ms (median, worst) |")
    print("| --- | ---: | ---: | ---: |")
    for phase in dict.fromkeys(each.phase for each in ended):
        mine = [each for each in ended if each.phase == phase]
        back, quiet = [e.returned_ms for e in mine], [e.quiet_ms for e in mine]
        figures = (f"{quantile(v, 50):.0f}, {max(v):.0f}" for v in (back, quiet))
        print(f"| {phase} | {len(mine)} | {' | '.join(figures)} |")
    worst_of = {
        "Thread back": max(each.returned_ms for each in ended),
        "Processor quiet": max(each.quiet_ms for each in ended),
    }
    for what, worst in worst_of.items():
        verdict = "met" if worst <= CANCEL_MS else "not met"
        print(f"\n{what} within {CANCEL_MS:.0f} ms of every cancel: {verdict}.")


if __name__ == "__main__":
    main()
