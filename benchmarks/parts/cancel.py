"""How soon a cancelled generation of the real language model ends."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from turnlab.chunks import Chunk, Reply, Transcript
from turnlab.clock import MonotonicClock
from turnlab.clusters import Cluster, Plan, make_plan
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.machine import Machine
from turnlab.modules.registry import find_modules
from turnlab.records import NullRecorder
from turnlab.runner import Runner
from turnlab.testing import ScriptedTurn
from turnlab.work import Observer

LONG_WORDS = 1_150  # about 1,500 tokens of SmolLM2
STEP_S = 0.005
WATCHED_S = 0.5
BUSY = 0.4
"""From this share of a core on, a step of `STEP_S` counts as busy."""

_WORDS = ("river", "stone", "window", "garden", "letter", "morning", "silver", "paper", "bridge")


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """One cancel: the call's thread was back after `returned_ms`, the CPU idle after `quiet_ms`."""

    phase: str
    returned_ms: float
    quiet_ms: float


class Watch(Observer):
    """Knows how many pieces of the reply there are."""

    def __init__(self) -> None:
        self.pieces = 0
        self.enough = asyncio.Event()

    def chunk(self, component: str, chunk: Chunk) -> None:
        self.pieces += isinstance(chunk, Reply)
        if self.pieces >= 5:
            self.enough.set()


async def cancels(count: int) -> list[Cancelled]:
    """So many cancels while a reply is written, and while a long prompt is read."""
    machine = Machine()
    executor = EmbeddedExecutor(machine)
    runner = Runner(executor, NullRecorder())
    plan = _plan()
    await executor.prepare(plan)
    try:
        written = [await _one("it writes", runner, plan, machine) for _ in range(count)]
        read = [await _one("it reads the prompt", runner, plan, machine) for _ in range(count)]
    finally:
        await executor.close()
    return [*written, *read]


def _plan() -> Plan:
    """The language model alone, told to write much."""
    params = {"max_tokens": 400, "stop": [], "temperature": 0.8}
    described = {"model": {"order": 0, "task_name": "quantization_llm", "extra_params": params}}
    return make_plan(
        Cluster.from_dict("CLUSTER_CANCEL", described), find_modules(), given=(Transcript,)
    )


async def _one(phase: str, runner: Runner, plan: Plan, machine: Machine) -> Cancelled:
    writes = phase == "it writes"
    watch = Watch()
    text = "Tell me a very long story about a dog and a river." if writes else _long_prompt()
    heard = Transcript(text=text, final=True)
    said = ScriptedTurn(script=(heard,), clock=MonotonicClock(), last_voiced_s=None)
    turn = asyncio.create_task(runner.run(plan, said, observer=watch))
    if writes:
        await watch.enough.wait()
    # Anywhere within a token or a batch of the prompt.
    await asyncio.sleep(random.uniform(0, 0.05) if writes else random.uniform(0.3, 1.5))
    if turn.done() or (not writes and watch.pieces):
        raise RuntimeError(f"It was over before the cancel: {phase}, {watch.pieces} pieces.")
    return await _cancel(phase, turn, machine)


async def _cancel(phase: str, turn: asyncio.Task[Any], machine: Machine) -> Cancelled:
    usage: list[tuple[float, float]] = []
    sampler = threading.Thread(target=_sample, args=(usage,))
    cancelled_s = time.monotonic()
    turn.cancel()
    sampler.start()
    await asyncio.wait([turn])
    returned_s = time.monotonic()
    if machine.working:
        raise RuntimeError(f"{machine.working} threads are still at work after the cancel.")
    await asyncio.to_thread(sampler.join)
    return Cancelled(
        phase=phase,
        returned_ms=1e3 * (returned_s - cancelled_s),
        quiet_ms=1e3 * max(0.0, _quiet_from(usage) - cancelled_s),
    )


def _sample(usage: list[tuple[float, float]]) -> None:
    """The moment and the CPU time of this process, all threads, every few milliseconds."""
    end_s = time.monotonic() + WATCHED_S
    while (now_s := time.monotonic()) < end_s:
        usage.append((now_s, time.process_time()))
        time.sleep(STEP_S)


def _quiet_from(usage: list[tuple[float, float]]) -> float:
    """The end of the last step in which the process was busy."""
    last_s = usage[0][0]
    for (from_s, from_cpu_s), (to_s, to_cpu_s) in pairwise(usage):
        if to_cpu_s - from_cpu_s >= BUSY * (to_s - from_s):
            last_s = to_s
    return last_s


def _long_prompt() -> str:
    """Words in an order that no cache has seen."""
    return " ".join(random.choices(_WORDS, k=LONG_WORDS))
