"""The same answer wherever: random Clusters give on workers what they give here."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.worker_rig import opened
from tests.unit.test_same_answer import HUNG_S, RATE, Draft, afters, clusters, module_of
from tests.unit.test_same_answer import run as run_here
from turnlab.chunks import Audio, Image, Reply, Speech, Transcript
from turnlab.clusters.declaration import Component, make_cluster
from turnlab.testing import Pause
from turnlab.tracks import Mode


async def run_there(
    drafts: list[Draft],
    waits: list[int | None],
    pieces: int,
    mode: Mode,
    delays: tuple[float, float],
    workers: int,
) -> dict[str, Any]:
    """The same as `run`, on so many workers that each serve some of the Modules."""
    names = [f"step{number}" for number in range(len(drafts))]
    modules = [module_of(*row) for row in zip(names, drafts, strict=True)]
    components = [
        Component(name=name, task_name=name, after=() if after is None else (names[after],))
        for name, after in zip(names, waits, strict=False)
    ]
    cluster = make_cluster("CLUSTER_RANDOM", components, source="test")
    said = np.linspace(-0.5, 0.5, 120, dtype=np.float32)
    parts = [Audio(samples=part, sample_rate=RATE) for part in np.array_split(said, pieces)]
    pictures = [Image(data=bytes([n]), media_type="image/png") for n in range(2)]
    paced = [each for part in parts for each in (part, Pause(0.02))]
    async with opened(*modules, cluster=cluster, there=1e4) as rig:
        shares = [names[number::workers] for number in range(workers)]
        for share in filter(None, shares):
            rig.start(rig.worker(*share, delays=delays))
        await rig.joined(sum(map(bool, shares)))
        result = await rig.run(*pictures, *paced, mode=mode)
    assert result.error is None, result.error
    total_s = result.track.voice_to_voice_s
    if total_s is not None and total_s > 0:
        assert sum(span.duration_s for span in result.spans) == pytest.approx(total_s, abs=1e-3)
    return {task.name: task.result_json["result_profile"] for task in result.tasks}


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(
    drafts=clusters(),
    waits=afters(),
    pieces=st.integers(1, 60),
    mode=st.sampled_from(Mode),
    delays=st.sampled_from([(0.0, 0.0), (0.005, 0.02)]),
    workers=st.integers(1, 3),
)
def test_random_clusters_give_on_workers_what_they_give_here(
    drafts: list[Draft],
    waits: list[int | None],
    pieces: int,
    mode: Mode,
    delays: tuple[float, float],
    workers: int,
) -> None:
    there = run_there(drafts, waits, pieces, mode, delays, workers)
    assert asyncio.run(asyncio.wait_for(there, HUNG_S)) == run_here(drafts, waits, pieces, mode)


@pytest.mark.parametrize("mode", Mode)
def test_a_cluster_of_three_gives_on_two_workers_what_it_gives_here(mode: Mode) -> None:
    rest: dict[str, Any] = {"uses": (), "streams": True, "pieces": 40, "pause_s": 0.001}
    drafts = [
        Draft(reads=(Audio,), makes=Transcript, **rest),
        Draft(reads=(Transcript, Image), makes=Reply, **rest),
        Draft(reads=(Reply,), makes=Speech, **rest),
    ]
    waits: list[int | None] = [None] * 3
    there = asyncio.run(run_there(drafts, waits, 50, mode, (0.005, 0.02), 2))
    assert there == run_here(drafts, waits, 50, mode)
