"""Measurements of scripted Clusters on a fake clock, for tests of predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from turnlab.bench.predict.parts import parts_of_plan
from turnlab.bench.predict.records import Group, TracedTask, TracedTurn
from turnlab.chunks import Audio, Speech
from turnlab.modules.base import Module
from turnlab.testing import Rig
from turnlab.tracks import Mode, Replay
from turnlab.turn_result import TurnResult

RUN = "R-20260101T000000-abcdef"
VOICE = Audio(samples=np.full(1_600, 0.1, dtype=np.float32), sample_rate=16_000)


def spoken(text: str, quiet_s: float = 0.0, seconds: float = 0.5) -> Speech:
    """Speech of so many seconds that is audible after `quiet_s`."""
    samples = np.full(round(seconds * 1_000), 0.5, dtype=np.float32)
    samples[: round(quiet_s * 1_000)] = 0
    return Speech(samples=samples, sample_rate=1_000, text=text)


async def run_turns(
    *modules: type[Module], mode: Mode = Mode.STREAMED, turns: int = 1, at_once: int = 1
) -> tuple[Rig, list[TurnResult]]:
    """Turns in a closed loop, so many at once."""
    rig = Rig(*modules)
    left = list(range(turns))
    results: list[TurnResult] = []

    async def lane() -> None:
        while left:
            number = left.pop(0)
            replay = Replay(run_id=RUN, turn_id=f"turn-{number:03d}", repeat=1)
            turn = rig.turn(VOICE)
            results.append(await rig.runner.run(rig.plan, turn, mode=mode, replay=replay))

    async def lanes() -> None:
        await asyncio.gather(*(lane() for _ in range(at_once)))

    await rig.drive(lanes())
    return rig, results


def group_of(
    rig: Rig,
    results: Sequence[TurnResult],
    *,
    mode: Mode = Mode.STREAMED,
    copies: int = 1,
    **changes: object,
) -> Group:
    """What a Run would have kept of these turns, each `copies` times."""
    turns = [_turn(result) for result in results]
    many = [replace(t, turn_id=f"{t.turn_id}-{n}") for n in range(copies) for t in turns]
    about: dict[str, object] = {
        "run_id": RUN,
        "cluster": rig.plan.cluster.name,
        "mode": str(mode),
        "pace": "fast",
        "concurrency": 1,
        "cores": 2,
        "hardware": "here",
        "began": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        "parts": parts_of_plan(rig.plan, rig.registry),
        "turns": tuple(many if copies > 1 else turns),
    }
    return Group(**{**about, **changes})  # type: ignore[arg-type]


def _turn(result: TurnResult) -> TracedTurn:
    track = result.track
    assert result.error is None, result.error
    assert track.voice_to_voice_s is not None
    tasks = {}
    for task in result.tasks:
        points = task.result_json["latency_profile"]
        tasks[task.name] = TracedTask(
            part=task.name,
            created_s=points["ts_created"],
            claimed_s=points["ts_claimed"],
            chunks=task.trace["chunks"],
            end=task.trace["end"],
            intervals=task.trace["intervals"],
            cpu_s=task.trace["cpu_s"],
        )
    playing = [span for span in track.spans if span["kind"] == "playout"]
    return TracedTurn(
        track_id=track.track_id,
        turn_id=track.turn_id,
        repeat=track.repeat,
        speech_s=0.1,
        last_voiced_s=0.0,
        voice_to_voice_s=track.voice_to_voice_s,
        playout_s=sum(span["end_s"] - span["start_s"] for span in playing),
        began_s=track.created_at.timestamp(),
        tasks=tasks,
    )
