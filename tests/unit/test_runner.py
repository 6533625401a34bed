"""The runner: the right Tasks at the right moment, and nothing left behind by any end."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import numpy as np
import pytest

from turnlab.chunks import Audio, Caption, Emotion, Image, Passages, Reply, Speech, Transcript
from turnlab.clock import MonotonicClock
from turnlab.conversations import Conversation, Exchange
from turnlab.errors import (
    ClusterNotRunnable,
    InvalidAudio,
    InvalidModule,
    ModuleFailed,
    ModuleTimeout,
    NoSpeech,
    TooMuchOutput,
)
from turnlab.modules.base import Module
from turnlab.records import ContentKind
from turnlab.tasks import TaskStatus
from turnlab.testing import Block, Each, Hang, Pause, Read, Rig, cluster_of, scripted
from turnlab.testing.clock import settle
from turnlab.tracks import Mode, TrackStatus
from turnlab.work import Observer

VOICE = Audio(samples=np.full(1_600, 0.1, dtype=np.float32), sample_rate=16_000)
PICTURE = Image(data=b"a", media_type="image/png")


def spoken(text: str) -> Speech:
    return Speech(samples=np.full(1_000, 0.5, dtype=np.float32), sample_rate=1_000, text=text)


def speech2text(*script) -> type[Module]:
    words = script or (Pause(0.1), Transcript(text="hel"), Transcript(text="hello", final=True))
    return scripted("speech2text", [Audio], Transcript, Read(Audio), *words)


def reply(*script) -> type[Module]:
    words = script or (Pause(0.1), Reply(text="one. "), Pause(0.1), Reply(text="two."))
    return scripted("reply", [Transcript], Reply, Read(Transcript), *words)


def voice() -> type[Module]:
    return scripted("voice", [Reply], Speech, Each(Reply, lambda piece: spoken(piece.text.strip())))


def talking(**changes) -> Rig:
    modules = (speech2text(), reply(), voice())
    return Rig(*modules, cluster=cluster_of(*modules, **changes))


def order_of(rig: Rig) -> list[str]:
    """Every status of every Task in the order in which it was written."""
    return [f"{row.name} {row.status}" for row in rig.recorder.log if hasattr(row, "task_name")]


async def test_a_turn_gives_transcript_reply_and_speech():
    rig = talking()
    result = await rig.run(VOICE, speech_s=0.1)
    assert result.error is None
    assert (result.transcript, result.reply, result.speech.text) == (
        "hello",
        "one. two.",
        "one. two.",
    )
    assert result.track.status == "completed"
    assert [task.status for task in result.tasks] == ["completed"] * 3
    assert rig.recorder.track_statuses() == ["started", "completed"]
    assert rig.recorder.task_statuses("reply") == ["pending", "started", "completed"]


@pytest.mark.parametrize("mode", Mode)
async def test_the_records_tell_what_each_task_made_and_when(mode):
    rig = talking()
    result = await rig.run(VOICE, mode=mode)
    kinds = [content.kind for content in rig.recorder.contents()]
    assert sorted(kinds) == ["DataAudio", "DataText", "ResSpeech", "ResText"]
    assert rig.recorder.contents(ContentKind.DATA_AUDIO)[0].task_id is None
    text = rig.recorder.contents(ContentKind.RES_TEXT)[0]
    assert (text.text, text.task_id) == ("one. two.", rig.recorder.tasks_named("reply")[0].id)
    recorded = json.loads(json.dumps(rig.recorder.tasks_named("reply")[0].result_json))
    assert recorded["result_profile"] == {"text": "one. two."}
    latency = recorded["latency_profile"]
    points = [latency[f"ts_{p}"] for p in ("created", "claimed", "first_input", "first_output")]
    assert [*points, latency["ts_end"]] == sorted([*points, latency["ts_end"]])
    assert latency["model_script"] == pytest.approx(0.2)
    assert result.track.host["modules"] == {"speech2text": "1", "reply": "1", "voice": "1"}


async def test_both_modes_give_the_same_result_and_the_same_records():
    results = {mode: await talking().run(VOICE, mode=mode) for mode in Mode}
    streamed, chained = results[Mode.STREAMED], results[Mode.CHAINED]
    assert streamed.transcript == chained.transcript
    assert streamed.reply == chained.reply
    assert np.array_equal(streamed.speech.samples, chained.speech.samples)
    for one, other in zip(streamed.tasks, chained.tasks, strict=True):
        assert one.result_json["result_profile"] == other.result_json["result_profile"]
        assert one.parameters == other.parameters
        assert set(one.result_json["latency_profile"]) == set(other.result_json["latency_profile"])
    assert streamed.track.voice_to_voice_s < chained.track.voice_to_voice_s


async def test_chained_creates_a_task_when_its_predecessor_has_completed():
    rig = talking()
    await rig.run(VOICE, mode=Mode.CHAINED)
    assert order_of(rig) == [
        f"{name} {status}"
        for name in ("speech2text", "reply", "voice")
        for status in ("pending", "started", "completed")
    ]


async def test_streamed_creates_a_task_at_the_first_chunk_that_it_needs():
    rig = talking()
    await rig.run(VOICE)
    order = order_of(rig)
    assert order.index("voice pending") < order.index("reply completed")
    assert order.index("reply pending") > order.index("speech2text started")


async def test_a_task_begins_while_its_audio_still_arrives():
    rig = Rig(
        scripted("speech2text", [Audio], Transcript, Each(Audio, lambda _: Transcript(text="a")))
    )
    result = await rig.run(VOICE, Pause(5.0), VOICE)
    latency = result.tasks[0].result_json["latency_profile"]
    assert latency["ts_first_output"] < 1 < 5 <= latency["ts_end"]


@pytest.mark.parametrize("mode", Mode)
async def test_components_that_do_not_need_each_other_run_side_by_side(mode):
    modules = (
        speech2text(Transcript(text="hello", final=True)),
        scripted("emotion", [Audio], Emotion, Pause(1.0), Emotion(values={"T": 0.5})),
        scripted("rag", [Transcript], Passages, Pause(1.0), Passages(items=())),
        scripted("reply", [Transcript], Reply, Reply(text="a"), uses=(Emotion, Passages)),
    )
    rig = Rig(*modules)
    begin_s = rig.clock.now()
    result = await rig.run(VOICE, mode=mode)
    assert result.error is None
    assert rig.clock.now() - begin_s == pytest.approx(1.0)
    order = order_of(rig)
    assert max(order.index("emotion started"), order.index("rag started")) < min(
        order.index("emotion completed"), order.index("rag completed")
    )


@pytest.mark.parametrize("mode", Mode)
async def test_after_waits_for_the_end_of_what_it_names(mode):
    modules = (
        speech2text(Transcript(text="hello", final=True)),
        scripted("emotion", [Audio], Emotion, Pause(1.0), Emotion(values={})),
        reply(Reply(text="a")),
    )
    rig = Rig(*modules, cluster=cluster_of(*modules, reply={"after": ("emotion",)}))
    assert (await rig.run(VOICE, mode=mode)).error is None
    order = order_of(rig)
    assert order.index("emotion completed") < order.index("reply pending")


async def test_after_a_long_reply_that_it_also_reads_nobody_waits_for_ever():
    """More Chunks than a producer may be ahead, and a reader that begins only after the end."""
    modules = (speech2text(), reply(*[Reply(text="a ")] * 100), voice())
    rig = Rig(*modules, cluster=cluster_of(*modules, voice={"after": ("reply",)}))
    result = await asyncio.wait_for(rig.run(VOICE), 20)
    assert result.error is None
    assert result.reply == "a " * 100


async def test_more_pictures_than_a_producer_may_be_ahead_do_not_keep_the_sound_back():
    look = scripted("look", [Audio, Image], Caption, Read(Audio), Read(Image), Caption(text="a"))
    result = await asyncio.wait_for(Rig(look).run(*[PICTURE] * 100, VOICE), 20)
    assert result.error is None


@pytest.mark.parametrize("mode", Mode)
async def test_a_failure_fails_the_track_cancels_dependents_and_keeps_what_exists(mode):
    modules = (
        speech2text(),
        reply(Reply(text="one. "), Pause(0.1), ValueError("broken")),
        voice(),
        scripted("emotion", [Audio], Emotion, Pause(3.0), Emotion(values={"A": 0.1})),
    )
    rig = Rig(*modules)
    result = await rig.run(VOICE, mode=mode)
    assert (result.error.code, result.error.component) == ("module_failed", "reply")
    assert "broken" in result.error.message
    assert result.track.status == "failed"
    assert result.track.error_code == "module_failed"
    assert result.track.voice_to_voice_s is None
    statuses = {task.name: task.status for task in result.tasks}
    assert statuses["speech2text"] == "completed"
    assert statuses["reply"] == "failed"
    assert statuses["emotion"] == "completed"
    assert statuses.get("voice", "cancelled") == "cancelled"
    assert ("voice" in statuses) == (mode is Mode.STREAMED)
    assert result.transcript == "hello"
    assert rig.recorder.contents(ContentKind.RES_TEXT)[0].text == "one. "
    failed = rig.recorder.tasks_named("reply")[0]
    assert failed.error_code == "module_failed"
    assert failed.result_json["result_profile"] == {"text": "one. "}


async def test_an_error_that_a_module_names_keeps_its_code():
    result = await Rig(speech2text(NoSpeech("nothing"))).run(VOICE)
    assert (result.error.code, result.error.message) == ("no_speech", "nothing")
    assert result.error.component == "speech2text"


async def test_the_first_failure_is_that_of_the_track():
    modules = (
        speech2text(Pause(2.0), ValueError("second")),
        scripted("emotion", [Audio], Emotion, Pause(1.0), ValueError("first")),
    )
    result = await Rig(*modules).run(VOICE)
    assert "first" in result.error.message
    assert {task.status for task in result.tasks} == {"failed"}


async def test_input_that_breaks_off_fails_the_track_and_is_kept():
    rig = talking()
    result = await rig.run(VOICE, InvalidAudio("breaks off"), mode=Mode.STREAMED)
    assert result.error.code == "invalid_audio"
    assert rig.recorder.contents(ContentKind.DATA_AUDIO)
    assert {task.status for task in result.tasks} == {"cancelled"}


async def test_what_is_not_of_the_declared_kind_fails_the_task():
    result = await Rig(speech2text(Reply(text="a"))).run(VOICE)
    assert result.error.code == "invalid_module"
    assert result.tasks[0].status == "failed"


async def test_speech_of_two_rates_fails_the_task_and_keeps_the_first():
    other = Speech(samples=np.ones(10, np.float32), sample_rate=8_000)
    rig = Rig(scripted("voice", [Audio], Speech, spoken("a"), other))
    result = await rig.run(VOICE)
    assert result.error.code == "invalid_audio"
    assert result.tasks[0].status == "failed"
    assert result.speech.text == "a"


@pytest.mark.parametrize("mode", Mode)
async def test_a_filter_may_pass_on_the_very_chunks_that_it_reads(mode):
    modules = (
        speech2text(),
        reply(Pause(0.1), Reply(text="one.")),
        scripted("filter", [Reply], Reply, Each(Reply, lambda piece: piece)),
        voice(),
    )
    result = await Rig(*modules).run(VOICE, mode=mode)
    assert result.error is None
    components = [span.component for span in result.spans]
    assert "reply" in components
    assert result.spans[-1].end_s == pytest.approx(result.track.voice_to_voice_s, abs=1e-6)


async def test_a_component_that_takes_too_long_fails():
    rig = talking(reply={"timeout_s": 0.15})
    result = await rig.run(VOICE)
    assert (result.error.code, result.error.component) == ("module_timeout", "reply")
    assert "0.15 s" in result.error.message
    assert rig.recorder.contents(ContentKind.RES_TEXT)[0].text == "one. "


async def test_a_module_has_a_limit_of_its_own():
    slow = scripted("speech2text", [Audio], Transcript, Hang(), timeout_s=7.0)
    rig = Rig(slow)
    begin_s = rig.clock.now()
    assert (await rig.run(VOICE)).error.code == "module_timeout"
    assert rig.clock.now() - begin_s == pytest.approx(7.0)


async def test_the_limit_counts_from_the_end_of_the_input():
    listening = scripted(
        "speech2text", [Audio], Transcript, Each(Audio, lambda _: None), Transcript(text="a")
    )
    rig = Rig(listening, cluster=cluster_of(listening, speech2text={"timeout_s": 1.0}))
    assert (await rig.run(VOICE, Pause(100.0), VOICE)).error is None


async def test_a_timeout_stops_a_thread_that_polls():
    block = Block()
    rig = Rig(scripted("speech2text", [Audio], Transcript, block, timeout_s=1.0))
    run = asyncio.ensure_future(rig.runner.run(rig.plan, rig.turn(VOICE)))
    await asyncio.to_thread(block.begun.wait, 5)
    await rig.clock.advance(1.0)
    assert (await run).error.code == "module_timeout"
    assert block.ended.is_set()
    assert rig.machine.working == 0


@pytest.mark.parametrize("mode", Mode)
async def test_the_spans_are_contiguous_and_sum_to_the_measured_total(mode):
    result = await talking().run(VOICE, Pause(0.3), last_voiced_s=0.05, mode=mode)
    spans = result.spans
    assert spans[0].start_s == 0
    assert all(a.end_s == b.start_s for a, b in pairwise(spans))
    total = sum(span.duration_s for span in spans)
    assert total == pytest.approx(result.track.voice_to_voice_s, abs=1e-6)
    assert total == pytest.approx(0.25 + 0.2 + (0.1 if mode is Mode.CHAINED else 0))
    assert {s.component for s in spans if s.kind == "model"} == {"speech2text", "reply"}
    assert spans[0].kind == "endpointing"


async def test_a_component_that_speaks_unasked_is_accounted_for():
    filler = scripted("filler", [Audio], Speech, Pause(0.2), spoken("hmm"), Read(Audio))
    result = await Rig(filler).run(VOICE, Pause(1.0))
    assert result.track.voice_to_voice_s == pytest.approx(0.2)
    assert [(s.kind, s.component) for s in result.spans] == [("model", "filler")]


async def test_a_reply_that_is_only_silence_has_no_latency():
    silence = Speech(samples=np.zeros(100, np.float32), sample_rate=1_000)
    result = await Rig(scripted("voice", [Audio], Speech, silence)).run(VOICE)
    assert result.error is None
    assert (result.track.voice_to_voice_s, result.spans) == (None, ())


async def test_a_cluster_without_speech_runs():
    result = await Rig(speech2text()).run(VOICE)
    assert (result.error, result.speech, result.transcript) == (None, None, "hello")


async def test_a_turn_that_lacks_a_kind_is_refused_before_it_begins():
    rig = Rig(scripted("look", [Image], Caption, Caption(text="a")))
    with pytest.raises(ClusterNotRunnable, match="needs Image from the user"):
        await rig.run(VOICE)
    assert rig.recorder.log == []


async def test_history_and_parameters_reach_the_module():
    seen = []

    class Listening(scripted("reply", [Audio], Reply)):
        """Remembers its context."""

        async def run(self, inputs, context):
            seen.append((context.history, context.component, context.track_id))
            context.result["note"] = 1
            yield Reply(text="a")

    rig = Rig(Listening)
    exchange = Exchange(text="hi", reply="hello")
    result = await rig.run(VOICE, conversation=Conversation(exchanges=[exchange]))
    assert seen == [((exchange,), "reply", result.track.track_id)]
    assert result.tasks[0].result_json["result_profile"] == {"text": "a", "note": 1}


async def test_work_ahead_of_need_ends_with_the_need():
    """A side branch that nobody waits for is at work: the final transcript comes all the same."""
    side = Block()

    class Ahead(scripted("reply", [Transcript], Reply)):
        """Does work ahead on each partial transcript."""

        async def run(self, inputs, context):
            async for heard in inputs.latest(Transcript):
                ready = heard.final or await context.idle(inputs, heard)
            assert ready
            yield Reply(text=heard.text)
            side.ended.set()

    class Side(scripted("side", [Audio], Caption)):
        """At work from the first sound until the reply is there."""

        async def run(self, inputs, context):
            await context.blocking(side.ended.wait, 60)
            yield Caption(text="seen")

    ears = scripted(
        "ears",
        [Audio],
        Transcript,
        Pause(0.1),
        Transcript(text="a"),
        Pause(0.1),
        Transcript(text="ab", final=True),
    )
    rig = Rig(Side, ears, Ahead, clock=MonotonicClock())
    result = await rig.run(VOICE)
    assert result.error is None
    assert result.reply == "ab"
    latency = rig.recorder.tasks_named("reply")[0].result_json["latency_profile"]
    ears_end = rig.recorder.tasks_named("ears")[0].result_json["latency_profile"]["ts_end"]
    assert latency["ts_first_output"] < ears_end + 30


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        (Reply(text=42), "its text is int"),
        (Reply(text="x" * 1_000_001), "more than 1,000,000 characters"),
        (Speech(samples=np.full(9, np.nan, dtype=np.float32), sample_rate=8_000), "no numbers"),
        (Speech(samples=np.zeros(9), sample_rate=8_000), "float64"),
        (Speech(samples=np.zeros((9, 2), dtype=np.float32), sample_rate=8_000), "one dimension"),
        (Speech(samples=np.zeros(9, dtype=np.float32), sample_rate=0), "sample rate is 0"),
    ],
)
async def test_a_flawed_chunk_is_an_error_that_says_what_is_wrong(chunk, says):
    rig = Rig(scripted("make", [Audio], type(chunk), chunk))
    result = await rig.run(VOICE)
    assert isinstance(result.error, InvalidModule)
    assert says in result.error.message
    assert rig.recorder.tracks[-1].status is TrackStatus.FAILED


async def test_a_module_that_keeps_the_event_loop_is_held_to_its_time():
    class Slow(scripted("reply", [Audio], Reply)):
        """Lets time pass without leaving the event loop."""

        async def run(self, inputs, context):
            await inputs.whole(Audio)
            context.machine.clock._now_s += 5
            yield Reply(text="late")

    rig = Rig(Slow, cluster=cluster_of(Slow, reply={"timeout_s": 3}))
    result = await rig.run(VOICE)
    assert isinstance(result.error, ModuleTimeout)


async def test_a_call_that_stops_an_iteration_is_an_error_at_once():
    class Stopping(scripted("reply", [Audio], Reply)):
        """Takes what is not there."""

        async def run(self, inputs, context):
            yield await context.blocking(next, iter(()))

    result = await Rig(Stopping).run(VOICE)
    assert isinstance(result.error, ModuleFailed)
    assert "StopIteration" in result.error.message


async def test_a_module_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr("turnlab.turn.MOST_CHUNKS", 50)

    class Flood(scripted("reply", [Audio], Reply)):
        """Writes for ever."""

        async def run(self, inputs, context):
            while True:
                yield Reply(text="a")

    rig = Rig(Flood, voice())
    result = await rig.run(VOICE)
    assert isinstance(result.error, TooMuchOutput)
    assert result.error.component == "reply"
    assert rig.recorder.tasks_named("reply")[0].status is TaskStatus.FAILED


async def test_a_bug_around_the_modules_fails_the_track_and_leaves_no_task_open():
    class Broken(Observer):
        def chunk(self, component, chunk):
            raise RuntimeError("bug")

    rig = talking()
    result = await rig.run(VOICE, observer=Broken())
    assert isinstance(result.error, ModuleFailed)
    assert "bug" in result.error.message
    assert all(task.status.ended for task in rig.recorder.tasks)


class CancelAt(Observer):
    """Cancels a turn at its n-th event."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.run: asyncio.Task | None = None

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.run.cancel()

    def task(self, task):
        self._count()

    def chunk(self, component, chunk):
        self._count()


async def cancelled_turn(rig: Rig, mode: Mode, observer: CancelAt, rounds: int = 0) -> bool:
    """Whether the turn was cancelled before it ended; checks that nothing of it is left."""
    before = asyncio.all_tasks()
    turn = rig.turn(Pause(0.1), VOICE, Pause(0.1), VOICE)
    observer.run = run = asyncio.ensure_future(
        rig.runner.run(rig.plan, turn, mode=mode, observer=observer)
    )
    for _ in range(rounds):
        await asyncio.sleep(0)
    if rounds:
        run.cancel()
    driving = asyncio.ensure_future(rig.drive(asyncio.wait([run])))
    await driving
    # Whatever the turn left behind has had no time but this one round to end in.
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set()
    assert rig.machine.working == 0
    if not run.cancelled():
        run.result()
        return False
    if rig.recorder.tracks:
        assert rig.recorder.tracks[-1].status == "cancelled"
    assert all(task.status.ended for task in rig.recorder.tasks)
    return True


@pytest.mark.parametrize("mode", Mode)
async def test_a_turn_can_be_cancelled_at_every_event(mode):
    cancelled = 0
    for number in range(1, 30):
        rig = talking()
        await rig.executor.prepare(rig.plan)
        if not await cancelled_turn(rig, mode, CancelAt(number)):
            break
        cancelled += 1
    assert cancelled >= 12


@pytest.mark.parametrize("mode", Mode)
async def test_a_turn_can_be_cancelled_in_every_round_of_the_event_loop(mode):
    rig = talking()
    await rig.executor.prepare(rig.plan)
    for rounds in range(1, 40):
        assert await cancelled_turn(rig, mode, CancelAt(0), rounds)


async def test_cancelling_stops_a_blocking_call_and_keeps_what_arrived():
    block = Block()
    rig = Rig(scripted("speech2text", [Audio], Transcript, block))
    await rig.executor.prepare(rig.plan)
    run = asyncio.ensure_future(rig.runner.run(rig.plan, rig.turn(VOICE, Hang())))
    await settle()
    assert not block.begun.is_set()
    run.cancel()
    await asyncio.wait([run])
    rig = Rig(scripted("speech2text", [Audio], Transcript, Each(Audio, lambda _: None), block))
    await rig.executor.prepare(rig.plan)
    run = asyncio.ensure_future(rig.runner.run(rig.plan, rig.turn(VOICE)))
    await asyncio.to_thread(block.begun.wait, 5)
    run.cancel()
    await asyncio.wait([run])
    assert block.ended.is_set()
    assert rig.machine.working == 0
    assert rig.recorder.task_statuses("speech2text") == ["pending", "started", "cancelled"]
    assert rig.recorder.contents(ContentKind.DATA_AUDIO)


async def test_a_turn_that_is_cancelled_twice_is_still_recorded_as_cancelled():
    rig = Rig(scripted("speech2text", [Audio], Transcript, Hang()))
    await rig.executor.prepare(rig.plan)
    run = asyncio.ensure_future(rig.runner.run(rig.plan, rig.turn(VOICE)))
    await settle()
    run.cancel()
    await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait([run])
    await settle()
    assert run.cancelled()
    assert rig.recorder.tracks[-1].status == "cancelled"
    assert rig.recorder.tasks[-1].status == "cancelled"


async def test_turns_side_by_side_do_not_mix():
    rig = talking()
    results = await rig.drive(
        _together([rig.runner.run(rig.plan, rig.turn(VOICE)) for _ in range(5)])
    )
    assert len({result.track.track_id for result in results}) == 5
    assert {result.reply for result in results} == {"one. two."}


async def _together(runs):
    return await asyncio.gather(*runs)
