"""The same answer wherever: streamed and chained give equal results, whatever the Cluster."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlab.chunks import (
    Audio,
    Caption,
    Chunk,
    Emotion,
    Image,
    Passage,
    Passages,
    Reply,
    Sound,
    Speech,
    Transcript,
)
from turnlab.clusters.declaration import Component, make_cluster
from turnlab.modules.base import Module
from turnlab.testing import Pause, Rig
from turnlab.tracks import Mode

MADE = (Transcript, Caption, Emotion, Passages, Reply, Speech)
RATE = 1_000
HUNG_S = 30
"""Of the real clock, where a turn takes a fraction of a second: longer is waiting for ever."""


def told(chunk: Chunk | None) -> str:
    """A few letters that stand for what the Chunk holds."""
    text = json.dumps(chunk.profile() if chunk else None, sort_keys=True)
    samples = chunk.samples.tobytes() if isinstance(chunk, Sound) else b""
    return hashlib.sha256(text.encode() + samples).hexdigest()[:6]


def made(kind: type[Chunk], words: str, final: bool = False) -> Chunk:
    """A Chunk of `kind` that tells `words`."""
    value = int(words[:4] or "0", 16) / 65_536
    match kind.kind:
        case "Transcript":
            return Transcript(text=words, final=final)
        case "Emotion":
            return Emotion(values={"M": value}, labels={"M": words})
        case "Passages":
            return Passages(items=(Passage(text=words, source="a", score=value),))
        case "Speech":
            sound = np.full(5, 0.1 + 0.8 * value, dtype=np.float32)
            return Speech(samples=sound, sample_rate=RATE, text=words)
    return kind(text=words)


@dataclass(frozen=True)
class Draft:
    """A Module to be: what it reads, as it comes or whole, and what it makes of it, how slowly."""

    reads: tuple[type[Chunk], ...]
    uses: tuple[type[Chunk], ...]
    makes: type[Chunk]
    streams: bool
    pieces: int
    pause_s: float


def module_of(name: str, draft: Draft) -> type[Module]:
    """The Module that `draft` describes."""
    first = draft.reads[0]

    async def run(self: Module, inputs: Any, context: Any) -> AsyncIterator[Chunk]:
        clock = context.machine.clock
        if draft.streams:
            async for chunk in inputs.stream(first):
                await clock.sleep_until(clock.now() + draft.pause_s)
                yield made(draft.makes, told(chunk))
        words = [told(await inputs.whole(kind)) for kind in (*draft.reads, *draft.uses)]
        for number in range(draft.pieces):
            await clock.sleep_until(clock.now() + draft.pause_s)
            key = hashlib.sha256(f"{number}{words}".encode()).hexdigest()
            yield made(draft.makes, key[:6], final=number == draft.pieces - 1)
        context.result["read"] = words

    fields = {
        "task_name": name,
        "consumes": draft.reads,
        "uses": draft.uses,
        "produces": draft.makes,
        "run": run,
    }
    return type(name, (Module,), fields)


@st.composite
def clusters(draw: st.DrawFn) -> list[Draft]:
    """Up to six Modules, each of which reads what the user or an earlier one makes."""
    there: list[type[Chunk]] = [Audio, Image]
    drafts = []
    for _ in range(draw(st.integers(1, 6))):
        reads = draw(st.lists(st.sampled_from(there), min_size=1, max_size=3, unique=True))
        others = [kind for kind in (*MADE, Image) if kind not in reads]
        draft = Draft(
            reads=tuple(reads),
            uses=tuple(draw(st.lists(st.sampled_from(others), max_size=2, unique=True))),
            makes=draw(st.sampled_from(MADE)),
            streams=draw(st.booleans()),
            pieces=draw(st.integers(1, 40)),
            pause_s=draw(st.sampled_from([0.0, 0.001, 0.3])),
        )
        drafts.append(draft)
        there.append(draft.makes)
    return drafts


@st.composite
def afters(draw: st.DrawFn, count: int = 6) -> list[int | None]:
    """For each Component an earlier one that it waits for, or none."""
    return [draw(st.none() | st.integers(0, max(0, n - 1))) if n else None for n in range(count)]


def run(drafts: list[Draft], waits: list[int | None], pieces: int, mode: Mode) -> dict[str, Any]:
    """The result_profile of every Task, by Component, and the Chunks' own whole."""
    names = [f"step{number}" for number in range(len(drafts))]
    modules = [module_of(*row) for row in zip(names, drafts, strict=True)]
    components = [
        Component(name=name, task_name=name, after=() if after is None else (names[after],))
        for name, after in zip(names, waits, strict=False)
    ]
    rig = Rig(*modules, cluster=make_cluster("CLUSTER_RANDOM", components, source="test"))
    said = np.linspace(-0.5, 0.5, 120, dtype=np.float32)
    parts = [Audio(samples=part, sample_rate=RATE) for part in np.array_split(said, pieces)]
    pictures = [Image(data=bytes([n]), media_type="image/png") for n in range(2)]
    paced = [each for part in parts for each in (part, Pause(0.02))]
    turn = rig.run(*pictures, *paced, mode=mode)
    result = asyncio.run(asyncio.wait_for(turn, timeout=HUNG_S))
    assert result.error is None, result.error
    assert len(result.tasks) == len(drafts)
    return {task.name: task.result_json["result_profile"] for task in result.tasks}


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(drafts=clusters(), waits=afters(), pieces=st.integers(1, 60))
def test_streamed_and_chained_give_equal_results(
    drafts: list[Draft], waits: list[int | None], pieces: int
) -> None:
    streamed = run(drafts, waits, pieces, Mode.STREAMED)
    assert streamed == run(drafts, waits, pieces, Mode.CHAINED)


def test_pictures_that_are_read_before_long_speech_stop_nothing() -> None:
    """Found by the test above: both ends waited for each other for ever."""
    draft = Draft(reads=(Image, Audio), uses=(), makes=Reply, streams=True, pieces=1, pause_s=0.0)
    assert run([draft], [None], 60, Mode.STREAMED)
