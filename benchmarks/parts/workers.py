"""Runs the variants as processes, one turn at a time, the others idle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.parts.variants import Variant

ROOT = Path(__file__).resolve().parents[2]
SETTLE_S = 0.15
"""Between two turns, so that nothing of the one is left when the other begins."""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording, mono at 16 kHz, and where its last voiced sample lies."""

    name: str
    audio: Path
    last_voiced_s: float


class Worker:
    """One variant's process."""

    def __init__(self, variant: Variant, process: subprocess.Popen[str]) -> None:
        self.variant = variant
        self._process = process
        self._send(variant.settings())
        self._receive()

    def turn(self, utterance: Utterance) -> dict[str, Any]:
        """What the worker says of one turn. Raises RuntimeError if it died."""
        request = {"audio": str(utterance.audio), "last_voiced_s": utterance.last_voiced_s}
        self._send({**request, "pace": self.variant.pace})
        return self._receive()

    def cpu_s(self) -> float:
        """CPU time of the process so far, NaN where /proc does not tell."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return float("nan")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.variant.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(variants: list[Variant], home: Path) -> Iterator[list[Worker]]:
    """All workers, loaded one after the other; ended on leaving."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_process(each, home / each.name)) for each in variants]
        yield [Worker(*pair) for pair in zip(variants, processes, strict=True)]


def measure(
    workers: list[Worker],
    utterances: list[Utterance],
    rounds: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """One row a turn: each utterance through all workers, in an order that moves on."""
    for worker in workers:
        for utterance in utterances[:2]:
            say(f"warming up {worker.variant.name}")
            worker.turn(utterance)
    rows = []
    for number in range(rounds):
        for at, utterance in enumerate(utterances):
            say(f"round {number + 1} of {rounds}: {utterance.name}")
            shift = (number * len(utterances) + at) % len(workers)
            for worker in workers[shift:] + workers[:shift]:
                row = {"round": number, "utterance": utterance.name}
                rows.append({**row, **_one(worker, workers, utterance)})
    return rows


def _one(worker: Worker, workers: list[Worker], utterance: Utterance) -> dict[str, Any]:
    """One turn, and how much of a core the others took meanwhile."""
    time.sleep(SETTLE_S)
    others = [each for each in workers if each is not worker]
    before_s, start_s = sum(each.cpu_s() for each in others), time.monotonic()
    answer = worker.turn(utterance)
    took_s = time.monotonic() - start_s
    idle_cores = (sum(each.cpu_s() for each in others) - before_s) / took_s
    return {"variant": worker.variant.name, **answer, "others_cores": idle_cores}


@contextmanager
def _process(variant: Variant, home: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "TURNLAB_HOME": str(home)}
    for name, value in variant.environment.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    with subprocess.Popen(
        [sys.executable, "-m", variant.program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Its input ends, so it does; what does not within ten seconds is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
