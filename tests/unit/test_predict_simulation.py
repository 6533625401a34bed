"""Simulated turns are those that were recorded: to within a millisecond, whatever overlaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.unit.predicting import group_of, run_turns, spoken
from turnlab.bench.predict.casting import Company
from turnlab.bench.predict.library import Library
from turnlab.bench.predict.path import KINDS, PLAYOUT, QUEUE
from turnlab.bench.predict.records import Group
from turnlab.bench.predict.stage import Setting
from turnlab.bench.predict.workload import Load, Played, play
from turnlab.chunks import Audio, Emotion, Reply, Speech, Transcript
from turnlab.modules.base import Module
from turnlab.testing import Each, Pause, Read, scripted
from turnlab.tracks import Mode

MILLISECOND = 1e-3
HEAR = scripted("hear", [Audio], Transcript, Read(Audio), Pause(0.1), Transcript(text="hello"))
FEEL = scripted(
    "feel", [Transcript], Emotion, Read(Transcript), Pause(0.15), Emotion(values={}, labels={})
)
THINK = scripted(
    "think", [Transcript], Reply, Read(Transcript), Pause(0.2), Reply(text="one "),
    Pause(0.3), Reply(text="two "), Pause(0.05), Reply(text="three"), Pause(0.02), uses=(Emotion,),
)  # fmt: skip
THINK_AND_FEEL = scripted(
    "think", [Transcript], Reply, Read(Transcript), Read(Emotion), Pause(0.2), Reply(text="one "),
    Pause(0.3), Reply(text="two"), uses=(Emotion,),
)  # fmt: skip
SPEAK = scripted(
    "speak", [Reply], Speech, Each(Reply, lambda piece: spoken(piece.text, quiet_s=0.03))
)
SPEAK_WHOLE = scripted(
    "speak", [Reply], Speech, Read(Reply), Pause(0.25), spoken("a", quiet_s=0.5), Pause(0.1),
    spoken("b", quiet_s=0.04),
)  # fmt: skip


def company(groups: Sequence[Group], **changes: object) -> Company:
    wanted = groups[-1]
    library = Library(groups)
    mode = Mode(str(changes.pop("mode", wanted.mode)))
    sources = library.sources(wanted.parts, mode, wanted.pace)
    return Company(sources=sources, mode=mode, pace=wanted.pace, **changes)  # type: ignore[arg-type]


def played(of: Company, turns: int = 40, load: Load | None = None, **setting: object) -> Played:
    where = Setting(mode=of.mode, **setting)  # type: ignore[arg-type]
    return play(of.scenes(turns), where, load or Load(), turns)


CLUSTERS = {
    "one after the other": (HEAR, THINK, SPEAK_WHOLE),
    "overlapping": (HEAR, THINK, SPEAK),
    "a side branch": (HEAR, FEEL, THINK_AND_FEEL, SPEAK),
    "one that nobody reads": (HEAR, FEEL, THINK, SPEAK),
}


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("name", CLUSTERS)
async def test_a_recorded_turn_is_simulated_as_it_was(name: str, mode: Mode):
    rig, results = await run_turns(*CLUSTERS[name], mode=mode)
    group = group_of(rig, results, mode=mode, copies=20)
    found = played(company([group]))
    measured = group.turns[0].voice_to_voice_s
    assert found.voice_to_voice_s == pytest.approx(measured, abs=MILLISECOND)


@pytest.mark.parametrize("name", CLUSTERS)
async def test_chained_is_predicted_from_streamed_turns(name: str):
    streamed = group_of(*await run_turns(*CLUSTERS[name]), copies=20)
    _, (chained,) = await run_turns(*CLUSTERS[name], mode=Mode.CHAINED)
    found = played(company([streamed], mode=Mode.CHAINED))
    measured = chained.track.voice_to_voice_s
    assert found.voice_to_voice_s == pytest.approx(measured, abs=MILLISECOND)


async def test_streamed_is_predicted_from_chained_turns():
    modules = CLUSTERS["overlapping"]
    rig, results = await run_turns(*modules, mode=Mode.CHAINED)
    chained = group_of(rig, results, mode=Mode.CHAINED, copies=20)
    _, (streamed,) = await run_turns(*modules)
    found = played(company([chained], mode=Mode.STREAMED))
    # The voice takes its words one by one, but all of them were there when it was measured.
    assert found.voice_to_voice_s == pytest.approx(streamed.track.voice_to_voice_s, abs=MILLISECOND)


def narrow(module: type[Module], places: int) -> type[Module]:
    return type(module.__name__, (module,), {"concurrency": places})


@pytest.mark.parametrize("at_once", [2, 3, 5])
async def test_waiting_for_a_place_is_predicted_from_turns_one_at_a_time(at_once: int):
    modules = (HEAR, narrow(THINK, 1), SPEAK)
    alone = group_of(*await run_turns(*modules), copies=20)
    _, results = await run_turns(*modules, turns=12, at_once=at_once)
    measured = sorted(result.track.voice_to_voice_s or 0.0 for result in results)
    found = played(company([alone]), 12, Load(at_once=at_once))
    # Between two turns of the bench lie 3 ms, which those of the script do not have.
    assert sorted(found.voice_to_voice_s) == pytest.approx(measured, abs=4 * MILLISECOND)


async def test_more_workers_end_the_waiting():
    modules = (HEAR, narrow(THINK, 1), SPEAK)
    of = company([group_of(*await run_turns(*modules), copies=20)])
    alone = played(of).voice_to_voice_s[0]
    crowded = played(of, load=Load(at_once=3))
    assert crowded.voice_to_voice_s.max() > 1.5 * alone
    helped = played(of, load=Load(at_once=3), workers={"think": 3})
    assert helped.voice_to_voice_s == pytest.approx(alone, abs=MILLISECOND)


async def test_the_path_sums_to_the_latency_and_names_who_waits():
    modules = (HEAR, narrow(THINK, 1), SPEAK)
    of = company([group_of(*await run_turns(*modules), copies=20)])
    found = played(of, load=Load(at_once=3))
    sums = found.paths.sum(axis=(1, 2))
    assert sums == pytest.approx(found.voice_to_voice_s, abs=MILLISECOND)
    means = found.paths.mean(axis=0)
    think, speak = (found.components.index(name) for name in ("think", "speak"))
    assert means[think, QUEUE] > 0.3
    assert means[speak, PLAYOUT] == pytest.approx(0.03, abs=MILLISECOND)
    assert len(KINDS) == means.shape[1]


async def test_each_hop_costs_half_of_the_round_trip():
    of = company([group_of(*await run_turns(*CLUSTERS["overlapping"]), copies=20)])
    plain, far = played(of), played(of, network_s=0.04)
    # To the first worker, from each to the API and on to the next, from the last to the API.
    more = far.voice_to_voice_s - plain.voice_to_voice_s
    assert more == pytest.approx(0.02 + 0.04 + 0.04 + 0.02, abs=MILLISECOND)


async def test_a_cluster_that_never_ran_is_put_together_from_others():
    slow = scripted(
        "think", [Transcript], Reply, Read(Transcript), Pause(0.9), Reply(text="one "),
        Pause(0.3), Reply(text="two"), uses=(Emotion,), version="2",
    )  # fmt: skip
    late = scripted("speak", [Reply], Speech, Read(Reply), Pause(0.7), spoken("late"), version="2")
    first = group_of(*await run_turns(HEAR, slow, SPEAK), copies=20, cluster="A")
    second = group_of(*await run_turns(HEAR, THINK, late), copies=20, cluster="B")
    rig, (measured,) = await run_turns(HEAR, slow, late)
    new = group_of(rig, [measured])
    sources = Library([first, second]).sources(new.parts, Mode.STREAMED, "fast")
    found = played(Company(sources=sources, mode=Mode.STREAMED, pace="fast"))
    assert sources["speak"].pool.first.cluster == "B"
    assert "other Components" in sources["speak"].note
    assert found.voice_to_voice_s == pytest.approx(measured.track.voice_to_voice_s, abs=MILLISECOND)


async def test_conversations_leave_room_while_they_speak_and_listen():
    modules = (HEAR, narrow(THINK, 1), SPEAK)
    of = company([group_of(*await run_turns(*modules), copies=20)])
    at_once = Load(at_once=4)
    talking = Load(at_once=4, conversation=True, pause_s=8.0)
    crowded = played(of, 200, at_once).voice_to_voice_s
    relaxed = played(of, 200, talking).voice_to_voice_s
    assert np.median(relaxed) < 0.6 * np.median(crowded)


async def test_equal_seeds_give_equal_turns():
    of = company([group_of(*await run_turns(*CLUSTERS["a side branch"]), copies=20)])
    load = Load(at_once=3, conversation=True)
    first, second = (played(of, 60, load).voice_to_voice_s for _ in range(2))
    assert np.array_equal(first, second)
