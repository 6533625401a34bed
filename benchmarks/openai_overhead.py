"""What a turn through OpenAI's API takes longer in Turnlab than by hand with the SDK.

`python -m benchmarks.openai_overhead [--turns N] [--json]`. A server of the wire format runs in a
process of its own; it takes 40 ms to begin an answer and 5 ms for each piece of it. Turns by hand
(`parts/openai_by_hand.py`) and through CLUSTER_GPT_35_ETE_CONVERSATION, which writes its records,
alternate in one process on one event loop; five of each do not count. A turn begins when 3 s of
speech are handed over whole. `by hand against by hand` is the same comparison between turns by hand
alone: how far apart two equal things come out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

import numpy as np

from benchmarks.journal import hardware
from benchmarks.parts.figures import RESAMPLES, quantile, ratio
from benchmarks.parts.openai_by_hand import RATE, ByHand
from turnlab.chunks import Audio, Chunk, Samples, Speech
from turnlab.clusters import Plan, find_clusters, make_plan
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.registry import find_modules
from turnlab.runner import Runner
from turnlab.streams import Stream
from turnlab.work import Observer

CLUSTER = "CLUSTER_GPT_35_ETE_CONVERSATION"
LIMIT_MS = 5.0
WARM_UP = 5
SPEECH_S = 3

FIRST, LAST, WORK = "first sound", "last sound", "(processor time)"


@dataclass(frozen=True, kw_only=True)
class Said:
    """Speech that is handed over whole, as `turnlab run` hands a recording over."""

    samples: Samples
    kinds: ClassVar[tuple[type[Chunk], ...]] = (Audio,)
    speech_s: float | None = SPEECH_S
    last_voiced_s: float | None = SPEECH_S

    def turn_over_s(self, start_s: float) -> float:
        """At once."""
        return start_s

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put all of it."""
        await streams[Audio].put(Audio(samples=self.samples, sample_rate=RATE))


class Heard(Observer):
    """When sound came."""

    def __init__(self) -> None:
        self.first_s = self.last_s = 0.0

    def chunk(self, component: str, chunk: Chunk) -> None:
        if isinstance(chunk, Speech):
            self.last_s = time.monotonic()
            self.first_s = self.first_s or self.last_s


Figures = dict[str, float]
"""Seconds from the beginning of a turn, by what came then; and the processor's in all of it."""


@contextmanager
def served() -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, "-m", "turnlab.testing.openai_server"]
    with subprocess.Popen(
        [*command, "--first", "0.04", "--piece", "0.005"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def measured(turns: int) -> dict[str, list[Figures]]:
    """Turns by hand, by hand again, and through Turnlab, in an order that moves on."""
    import openai

    from turnlab.server.setup import open_records

    plan = make_plan(find_clusters().get(CLUSTER), find_modules())
    journal = await asyncio.to_thread(open_records)
    executor = EmbeddedExecutor()
    await executor.prepare(plan)
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, SPEECH_S * RATE).astype(np.float32)
    try:
        async with openai.AsyncOpenAI(api_key="none") as client:
            runner = Runner(executor, journal)
            ways = {
                "by hand": lambda: _by_hand(client, plan, noise),
                "by hand again": lambda: _by_hand(client, plan, noise),
                "turnlab": lambda: _through_turnlab(runner, plan, noise),
            }
            return await _alternating(ways, turns)
    finally:
        await executor.close()
        await journal.flush()
        await asyncio.to_thread(journal.close)


async def _alternating(
    ways: Mapping[str, Callable[[], Awaitable[Figures]]], turns: int
) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(turns + WARM_UP):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before_s = time.process_time()
            figures = await ways[name]()
            figures[WORK] = time.process_time() - before_s
            if number >= WARM_UP:
                found[name].append(figures)
    return found


async def _by_hand(client: Any, plan: Plan, samples: Samples) -> Figures:
    params: Any = plan.steps[1].params
    began_s = time.monotonic()
    turn = ByHand(client, params.system_prompt, params.max_tokens)
    await turn.run(samples)
    return {FIRST: turn.first_s - began_s, LAST: turn.last_s - began_s}


async def _through_turnlab(runner: Runner, plan: Plan, samples: Samples) -> Figures:
    began_s = time.monotonic()
    heard = Heard()
    result = await runner.run(plan, Said(samples=samples), observer=heard)
    if result.error is not None:
        raise result.error
    return {FIRST: heard.first_s - began_s, LAST: heard.last_s - began_s}


def summary(found: dict[str, list[Figures]]) -> list[dict[str, Any]]:
    """For each moment: the medians in ms, their ratio, and the median of the differences turn by
    turn, with its 95 % interval."""
    rows = []
    for moment in (FIRST, LAST, WORK):
        hand = [figures[moment] for figures in found["by hand"]]
        for name in ("turnlab", "by hand again"):
            values = [figures[moment] for figures in found[name]]
            apart = [1e3 * (value - other) for value, other in zip(values, hand, strict=True)]
            rows.append(
                {
                    "moment": moment,
                    "what": name,
                    "n": len(values),
                    "by_hand_ms": 1e3 * quantile(hand, 50),
                    "median_ms": 1e3 * quantile(values, 50),
                    "overhead_ms": quantile(apart, 50),
                    "interval_ms": _interval(apart),
                    "ratio": ratio(values, hand).median,
                }
            )
    return rows


def _interval(values: list[float]) -> tuple[float, float]:
    """Where the median lies in 95 of 100 draws of as many values."""
    drawn = np.random.default_rng(1).choice(values, (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(drawn, axis=-1), (2.5, 97.5))
    return float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--turns", type=int, default=60, help="turns of each sort (60)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, served() as base_url:
        os.environ.update(TURNLAB_HOME=home, OPENAI_BASE_URL=base_url)
        rows = summary(asyncio.run(measured(asked.turns)))
    about = {"date": date.today().isoformat(), "hardware": hardware()}
    if asked.json:
        print(json.dumps({**about, "rows": rows}))
    else:
        print(f"{about['date']}, {about['hardware']}\n")
        _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    print("| until the | what | n | by hand, ms | median, ms | ratio | overhead, ms | 95 % |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for row in rows:
        low, high = row["interval_ms"]
        print(
            f"| {row['moment']} | {row['what']} | {row['n']} | {row['by_hand_ms']:.1f} "
            f"| {row['median_ms']:.1f} | {row['ratio']:.3f} | {row['overhead_ms']:.1f} "
            f"| {low:.1f} to {high:.1f} |"
        )
    overhead = next(row["overhead_ms"] for row in rows if row["what"] == "turnlab")
    verdict = "met" if overhead < LIMIT_MS else "not met"
    print(f"\nBelow {LIMIT_MS:.0f} ms a turn until its first sound: {verdict}.")


if __name__ == "__main__":
    main()
