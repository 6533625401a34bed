"""Turnlab as a worker of `voice_to_voice`: settings, then one request a line, answers likewise.

It keeps its records in the real Journal (TURNLAB_HOME comes from whoever starts it).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.parts.plain_script import played
from benchmarks.parts.variants import local_plan
from turnlab.audio import Pace, RecordedTurn, Recording, open_recording
from turnlab.chunks import Chunk, Samples, Speech
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.host import host_facts
from turnlab.machine import BACKGROUND, Machine
from turnlab.runner import Runner
from turnlab.server.setup import open_records
from turnlab.tracks import Mode
from turnlab.turn_result import TurnResult
from turnlab.work import Observer

WRITING = ("first_token", "decode")
"""What the language model's profile calls its work on the reply, pauses left out."""


class CountingMachine(Machine):
    """Counts how often somebody had to wait for a more urgent Task, and how long."""

    pauses = 0
    paused_s = 0.0

    async def turn(self, urgency: int, own: threading.Event | None = None) -> None:
        """Wait as ever; work ahead of need is not counted."""
        if urgency > BACKGROUND and self.must_pause(urgency, own):
            self.pauses += 1
            start_s = self.clock.now()
            await super().turn(urgency, own)
            self.paused_s += self.clock.now() - start_s
        else:
            await super().turn(urgency, own)


class Ear(Observer):
    """Notes when each Speech was there."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.heard: list[tuple[float, Samples, int]] = []
        self.spoken: list[str] = []

    def chunk(self, component: str, chunk: Chunk) -> None:
        if isinstance(chunk, Speech):
            self.heard.append((self._machine.clock.now(), chunk.samples, chunk.sample_rate))
            self.spoken.append(chunk.text)


class Worker:
    """One plan, turn after turn."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.plan = local_plan(settings["params"])
        self.mode = Mode(settings["mode"])
        self.machine = CountingMachine(yielding=settings["yielding"])
        if not settings["share_cores"]:
            os.environ.pop("GOMP_SPINCOUNT", None)  # llama.cpp is loaded later
        self.executor = EmbeddedExecutor(self.machine)
        self.journal = open_records()
        self.runner = Runner(self.executor, self.journal, host_facts())
        self.recordings: dict[str, Recording] = {}

    async def turn(self, request: dict[str, Any]) -> dict[str, Any]:
        """One turn; its records are durable before the answer."""
        path = request["audio"]
        recording = self.recordings.get(path) or open_recording(Path(path))
        self.recordings[path] = recording
        pace = Pace(request["pace"])
        source = RecordedTurn(recording=recording, clock=self.machine.clock, pace=pace)
        ear = Ear(self.machine)
        pauses, paused_s = self.machine.pauses, self.machine.paused_s
        result = await self.runner.run(self.plan, source, mode=self.mode, observer=ear)
        await self.journal.flush()
        if result.error is not None:
            raise result.error
        return {
            **self._measured(result, ear, path),
            "pauses": self.machine.pauses - pauses,
            "paused_s": self.machine.paused_s - paused_s,
        }

    def _measured(self, result: TurnResult, ear: Ear, path: str) -> dict[str, Any]:
        took_s = result.track.voice_to_voice_s
        if took_s is None or result.speech is None:
            raise RuntimeError(f"{path}: nothing was heard")
        heard_s, gaps = played(ear.heard)
        spans_s = sum(span.duration_s for span in result.spans)
        profiles = {t.name: (t.result_json or {})["latency_profile"] for t in result.tasks}
        writing = profiles["quantization_llm"]
        return {
            "voice_to_voice_s": took_s,
            "reply_done_s": took_s + ear.heard[-1][0] - heard_s,
            "gaps_s": gaps if self.mode is Mode.STREAMED else [],
            "transcript": result.transcript,
            "reply": result.reply,
            "spoken": ear.spoken,
            "whole_speech_text": result.speech.text,
            "spans_error_s": abs(spans_s - took_s),
            "spans": result.track.spans,
            "writing_s": sum(writing.get(f"model_{part}", 0.0) for part in WRITING),
            "profiles": profiles,
        }


async def serve(worker: Worker) -> None:
    """Load, say so, answer until stdin ends."""
    await worker.executor.prepare(worker.plan)
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await worker.turn(json.loads(line))), flush=True)
    await worker.executor.close()
    await asyncio.to_thread(worker.journal.close)


if __name__ == "__main__":
    if settings := sys.stdin.readline():
        asyncio.run(serve(Worker(json.loads(settings))))
