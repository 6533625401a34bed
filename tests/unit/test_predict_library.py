"""Which measurements stand for a Component, and what is said where they are not its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.predicting import group_of, run_turns, spoken
from turnlab.bench.predict.asking import Asked, question_of
from turnlab.bench.predict.casting import Company
from turnlab.bench.predict.library import FEWEST, Library
from turnlab.bench.predict.prediction import predict
from turnlab.bench.predict.records import Group, signature
from turnlab.bench.predict.sharing import measured
from turnlab.bench.predict.sources import ELSEWHERE, NEAREST, SAME
from turnlab.bench.predict.stage import Setting
from turnlab.bench.predict.workload import Load, play
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.errors import InvalidWhatIf, NothingMeasured, TooFewMeasurements
from turnlab.testing import Each, Pause, Read, scripted
from turnlab.tracks import Mode

HEAR = scripted("hear", [Audio], Transcript, Read(Audio), Pause(0.1), Transcript(text="hello"))
THINK = scripted(
    "think", [Transcript], Reply, Read(Transcript), Pause(0.2), Reply(text="one two,"),
    Pause(0.3), Reply(text=" three four."),
)  # fmt: skip
BRIEF = scripted(
    "think", [Transcript], Reply, Read(Transcript), Pause(0.4), Reply(text="yes,"), version="2"
)
SPEAK = scripted("speak", [Reply], Speech, Each(Reply, lambda piece: spoken(piece.text)))
SLOW = scripted("speak", [Reply], Speech, Read(Reply), Pause(0.5), spoken("slow"), version="2")


async def recorded(*modules: type, copies: int = FEWEST, **about: object) -> Group:
    rig, results = await run_turns(*modules)
    return group_of(rig, results, copies=copies, **about)


async def test_its_own_measurements_come_first_and_nothing_is_said():
    own = await recorded(HEAR, THINK, SPEAK, cluster="OWN")
    other = await recorded(HEAR, BRIEF, SPEAK, cluster="OTHER")
    found = Library([other, own]).sources(own.parts, Mode.STREAMED, "fast")
    assert {name: source.level for name, source in found.items()} == dict.fromkeys(own.parts, SAME)
    assert all(source.pool.first.cluster == "OWN" for source in found.values())
    assert [source.note for source in found.values()] == ["", "", ""]


async def test_what_lies_before_a_component_tells_it_from_the_same_one_elsewhere():
    own = await recorded(HEAR, THINK, SPEAK)
    other = await recorded(HEAR, BRIEF, SPEAK)
    assert signature(own.parts, "hear") == signature(other.parts, "hear")
    assert own.parts["speak"].key == other.parts["speak"].key
    assert signature(own.parts, "speak") != signature(other.parts, "speak")
    found = Library([other]).sources(
        {**own.parts, "think": other.parts["think"]}, Mode.STREAMED, "fast"
    )
    assert found["speak"].level == SAME


async def test_the_nearest_stands_for_one_with_other_parameters_and_says_so():
    own = await recorded(HEAR, THINK, SPEAK)
    slow = await recorded(HEAR, THINK, SLOW)
    found = Library([slow]).sources(own.parts, Mode.STREAMED, "fast")
    assert found["speak"].level == NEAREST
    assert "other parameters" in found["speak"].note


async def test_other_conditions_are_taken_where_there_are_no_better_ones():
    own = await recorded(HEAR, THINK, SPEAK)
    found = Library([own]).sources(own.parts, Mode.STREAMED, "realtime")
    assert found["hear"].note == "measured streamed, fast"
    crowded = replace(own, concurrency=4)
    assert Library([crowded, own]).pools[0].first.concurrency == 1
    found = Library([crowded]).sources(own.parts, Mode.STREAMED, "fast")
    assert found["hear"].note == "measured at concurrency 4"


async def test_nothing_is_predicted_of_what_nobody_measured():
    own = await recorded(HEAR, THINK, SPEAK)
    other = scripted("sing", [Reply], Speech, Read(Reply), spoken("la"))
    rig, results = await run_turns(HEAR, THINK, other)
    wanted = group_of(rig, results)
    with pytest.raises(NothingMeasured, match="turnlab bench") as raised:
        Library([own]).sources(wanted.parts, Mode.STREAMED, "fast")
    assert raised.value.component == "sing"
    with pytest.raises(NothingMeasured, match="turnlab bench"):
        question_of(Asked(cluster="X"), Library([]), own.parts)


async def test_too_few_measurements_are_refused_with_how_many_are_lacking():
    few = await recorded(HEAR, THINK, SPEAK, copies=FEWEST - 7)
    with pytest.raises(TooFewMeasurements, match="run 7 more"):
        Library([few]).sources(few.parts, Mode.STREAMED, "fast")


async def test_several_runs_are_one_pool():
    whole = await recorded(HEAR, THINK, SPEAK)
    half = replace(whole, turns=whole.turns[: FEWEST // 2])
    rest = replace(whole, turns=whole.turns[FEWEST // 2 :], run_id="R-2")
    found = Library([half, rest]).sources(half.parts, Mode.STREAMED, "fast")
    assert found["hear"].pool.count("hear") == FEWEST


async def test_quantiles_that_so_few_turns_cannot_tell_are_left_out():
    own = await recorded(HEAR, THINK, SPEAK, copies=40)
    question = question_of(Asked(cluster="X", turns=200), Library([own]), own.parts)
    found = predict(question, sensitivity=False)
    told = {name: figure.value is not None for name, figure in found.figures.items()}
    assert told == {
        "voice_to_voice.p50": True,
        "voice_to_voice.p90": True,
        "voice_to_voice.p95": False,
        "voice_to_voice.p99": False,
    }
    assert "19 more" in found.figures["voice_to_voice.p95"].why


async def test_measurements_of_another_component_can_be_named():
    own = await recorded(HEAR, THINK, SPEAK, cluster="OWN")
    other = await recorded(HEAR, THINK, SLOW, cluster="OTHER", run_id="R-2")
    library = Library([own, other])
    asked = Asked(cluster="OWN", turns=100, uses=("speak=R-2:OTHER",))
    question = question_of(asked, library, own.parts)
    found = predict(question, sensitivity=False)
    assert found.mean_s == pytest.approx(0.1 + 0.5 + 0.5, abs=1e-3)
    assert "as asked for" in question.company.sources["speak"].note
    for use, told in {
        "speak=R-9:OTHER": "no measurements",
        "speak=R-2:OTHER:voice": "has no Component",
        "speak=R-2:OTHER:think": "makes Reply",
    }.items():
        with pytest.raises(InvalidWhatIf, match=told):
            question_of(replace(asked, uses=(use,)), library, own.parts)


def grown(group: Group, part: str, by: list[float]) -> Group:
    """The Group with what one Component takes made longer, turn by turn."""
    turns = []
    for turn, more_s in zip(group.turns, by, strict=True):
        task = turn.tasks[part]
        late = [[row[0] + more_s, *row[1:]] for row in task.chunks]
        end = [task.end[0] + more_s, *task.end[1:]]
        tasks = {**turn.tasks, part: replace(task, chunks=late, end=end, intervals=[])}
        turns.append(replace(turn, tasks=tasks, voice_to_voice_s=turn.voice_to_voice_s + more_s))
    return replace(group, turns=tuple(turns))


async def test_turns_that_are_long_for_one_component_are_long_for_the_other():
    """Put together by turn of the dataset, not at random."""
    count = 60
    by = [0.01 * number for number in range(count)]
    first = grown(await recorded(HEAR, THINK, SLOW, copies=count, cluster="A"), "hear", by)
    second = grown(await recorded(HEAR, THINK, SPEAK, copies=count, cluster="B"), "speak", by)
    rig, results = await run_turns(HEAR, THINK, SPEAK)
    parts = group_of(rig, results).parts
    sources = Library([first, second]).sources(parts, Mode.STREAMED, "fast")
    hearing = {**sources, "hear": replace(sources["hear"], pool=_pool(first))}
    company = Company(sources=hearing, mode=Mode.STREAMED, pace="fast")
    values = play(company.scenes(600), Setting(), Load(), 600).voice_to_voice_s
    assert company.shared == first.questions
    # The sum of both, each from 0 to 0.59 s, not half of it as where one is drawn for the other.
    assert np.ptp(values) == pytest.approx(2 * 0.59, abs=0.01)


def _pool(group: Group):
    return Library([group]).pools[0]


async def test_level_elsewhere_keeps_its_own_pieces_without_a_twin():
    other = await recorded(HEAR, BRIEF, SLOW, cluster="OTHER")
    own = await recorded(HEAR, THINK, SPEAK, cluster="OWN")
    rig, results = await run_turns(HEAR, THINK, SLOW)
    parts = group_of(rig, results).parts
    found = Library([other, own]).sources(parts, Mode.STREAMED, "fast")
    assert found["speak"].level == ELSEWHERE
    assert found["speak"].twin is not None
    assert found["speak"].twin[0].first.cluster == "OWN"


async def test_what_was_beside_work_is_taken_off_it():
    """Two Components on two cores that each want both: half of their time is the other's."""
    base = await recorded(HEAR, THINK, SPEAK)
    turn = base.turns[0]
    tasks = {
        name: replace(task, cpu_s=2.0 * (task.end[0] - 0.0)) for name, task in turn.tasks.items()
    }
    group = replace(base, turns=(replace(turn, tasks=tasks),) * FEWEST)
    traits = measured(group).traits
    assert all(0 <= trait.cores <= 2 for trait in traits.values())
    assert traits["hear"].cores == pytest.approx(2.0)
