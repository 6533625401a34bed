"""A harness around scripted Modules, on a clock that stands still until it is told to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from turnlab.audio import Pace
from turnlab.bench.datasets.dataset import DatasetTurn
from turnlab.bench.replay.harness import Assignment, Harness, Monitor
from turnlab.bench.replay.schedule import Entrant, Job, schedule, warm_ups
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.clock import Clock
from turnlab.clusters.plan import make_plan
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.machine import Machine
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.runner import Runner
from turnlab.testing import Each, Pause, ScriptedTurn, cluster_of, scripted
from turnlab.testing.clock import FakeClock
from turnlab.testing.recorder import MemoryRecorder
from turnlab.tracks import Mode, Track

RUN = "R-20260101T000000-abcdef"

PARROTS = """
import asyncio
import os
import numpy as np
from pydantic import BaseModel, SecretStr
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.modules.base import Module

class Hear(Module):
    task_name, consumes, produces = "hear", (Audio,), Transcript
    async def run(self, inputs, context):
        await inputs.whole(Audio)
        yield Transcript(text="ever tried", final=True)

class Answer(Module):
    task_name, consumes, produces = "answer", (Transcript,), Reply
    ran = 0
    class Params(BaseModel):
        fails: bool = False
        api_key: SecretStr | None = None
    async def run(self, inputs, context):
        await inputs.whole(Transcript)
        Answer.ran += 1
        if Answer.ran == int(os.environ.get("ENDS_AT", 0)):
            os.kill(os.getpid(), int(os.environ["ENDS_BY"]))
            await asyncio.Event().wait()
        if context.params.fails:
            raise ValueError("no answer")
        yield Reply(text="Ever failed.")

class Speak(Module):
    task_name, consumes, produces = "speak", (Reply,), Speech
    async def run(self, inputs, context):
        await inputs.whole(Reply)
        yield Speech(samples=np.full(800, 0.5, dtype=np.float32), sample_rate=8000, text="Ever")
"""
"""Modules in a file that take no time. `Answer` ends its process where ENDS_AT and ENDS_BY say."""

_CLUSTER = """
name = "{name}"
{budget}
[[component]]
name = "hear"
task = "hear"
[[component]]
name = "answer"
task = "answer"
params = {{ fails = {fails} }}
[[component]]
name = "speak"
task = "speak"
"""


def write_parrots(folder: Path, *, budget: bool = True, **clusters: bool) -> tuple[Path, Path]:
    """Folders of Modules and of Clusters of these names, each of which answers or `fails`."""
    modules, files = folder / "modules", folder / "clusters"
    modules.mkdir()
    files.mkdir()
    (modules / "parrot.py").write_text(PARROTS)
    limits = "[budget]\nvoice_to_voice_s = 10.0" if budget else ""
    for name, fails in clusters.items():
        text = _CLUSTER.format(name=name, fails=str(fails).lower(), budget=limits)
        (files / f"{name.lower()}.toml").write_text(text)
    return modules, files


def turns(count: int, **conversations: Sequence[int]) -> list[DatasetTurn]:
    """`count` turns named t0, t1 ...; `c=[0, 2]` makes a conversation of those two."""
    places = {at: (name, i) for name, of in conversations.items() for i, at in enumerate(of)}
    return [
        DatasetTurn(
            id=f"t{at}",
            audio=Path(f"/t{at}.wav"),
            conversation=places[at][0] if at in places else None,
            index=places[at][1] if at in places else 0,
            scores={},
            extra={},
            duration_s=0.1,
        )
        for at in range(count)
    ]


class Said:
    """Each turn says its number: `t3` is 0.3 s of sound."""

    async def source(
        self, turn: DatasetTurn, clock: Clock, pace: Pace, *, looks: bool
    ) -> ScriptedTurn:
        samples = np.full(1_600 * int(turn.id[1:]) + 1, 0.1, dtype=np.float32)
        voice = Audio(samples=samples, sample_rate=16_000)
        return ScriptedTurn(script=(voice,), clock=clock, speech_s=0.1)


def number_of(audio: Audio) -> int:
    """Which turn said it."""
    return len(audio.samples) // 1_600


def hears(wrong: Sequence[int] = ()) -> type[Module]:
    """Transcribes the number of the turn, and fails on those that it gets wrong."""

    def heard(audio: Audio) -> Transcript:
        if number_of(audio) in wrong:
            raise ValueError("misheard")
        return Transcript(text=f"t{number_of(audio)}", final=True)

    return scripted("hear", [Audio], Transcript, Each(Audio, heard))


def answers(name: str = "answer", pause_s: float = 0.1) -> type[Module]:
    """Says back what it read, after a pause."""
    said = Each(Transcript, lambda text: Reply(text=f"{text.text}."))
    return scripted(name, [Transcript], Reply, Pause(pause_s), said)


def speaks() -> type[Module]:
    """Speaks what is written."""

    def spoken(text: Reply) -> Speech:
        samples = np.full(1_000, 0.5, dtype=np.float32)
        return Speech(samples=samples, sample_rate=1_000, text=text.text)

    return scripted("speak", [Reply], Speech, Each(Reply, spoken))


class Noted(Monitor):
    """What a monitor is told, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []

    def loading(self, cluster: str) -> None:
        self.log.append(("loading", cluster))

    def cannot_load(self, cluster: str, error: Exception) -> None:
        self.log.append(("cannot load", cluster, str(error)))

    def warming(self, entrant: Entrant) -> None:
        self.log.append(("warming", str(entrant)))

    def warm_up_failed(self, entrant: Entrant, track: Track) -> None:
        self.log.append(("warm-up failed", str(entrant), track.error_code))

    def ended(self, job: Job, track: Track, took_s: float) -> None:
        self.log.append(("ended", job.key, str(track.status)))


class Bench:
    """Clusters of scripted Modules, a dataset, and what is recorded of them."""

    def __init__(
        self,
        clusters: Mapping[str, Sequence[type[Module]]],
        dataset: Sequence[DatasetTurn],
        *,
        modes: Sequence[Mode] = (Mode.STREAMED,),
        repeat: int = 1,
        at_once: int = 1,
        warm_up: int = 0,
        recorder: Any = None,
        run_id: str = RUN,
    ) -> None:
        self.clock = FakeClock()
        self.executor = EmbeddedExecutor(Machine(clock=self.clock, threads=2))
        self.recorder = recorder or MemoryRecorder()
        self.noted = Noted()
        self.running: asyncio.Task[None] | None = None
        self.plans = {
            name: make_plan(cluster_of(*modules, name=name), Registry(modules), given=(Audio,))
            for name, modules in clusters.items()
        }
        self.jobs = schedule(dataset, list(clusters), modes, repeat, at_once=at_once)
        self.work = Assignment(
            run_id=run_id,
            plans=self.plans,
            jobs=self.jobs,
            warm_ups=warm_ups(dataset, list(clusters), modes, warm_up),
            at_once=at_once,
        )

    @property
    def runner(self) -> Runner:
        return Runner(self.executor, self.recorder)

    async def run(self) -> None:
        """All that is left, as fast as it can."""
        await self.clock.drive(self._harness(), lambda: self.executor.loading)

    async def _harness(self) -> None:
        self.running = asyncio.current_task()
        await Harness(self.runner, self.executor, Said(), self.work, self.noted).run()

    @property
    def tracks(self) -> list[Track]:
        """What was recorded, in the order in which it was begun."""
        tracks: list[Track] = self.recorder.tracks
        return tracks


def key(track: Track) -> tuple[str, str, str, int]:
    """What the Track is in its Run."""
    return track.cluster, str(track.mode), track.turn_id, track.repeat
