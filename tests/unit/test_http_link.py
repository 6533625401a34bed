"""Workers that speak plain HTTP, seen from the Hub: polls, leases, results, and their timings."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import soundfile

from turnlab.chunks import (
    Audio,
    Caption,
    Chunk,
    Emotion,
    Image,
    Passages,
    Reply,
    Speech,
    Transcript,
    Value,
)
from turnlab.clusters import make_plan
from turnlab.errors import ClaimLost, InvalidRequest, ModuleFailed, WorkerLost
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.executors.embedded_link import EmbeddedLink
from turnlab.executors.http_claims import Outcome
from turnlab.executors.http_handover import HandedSound
from turnlab.executors.http_link import HttpLink
from turnlab.executors.http_results import (
    check_timings,
    chunk_of,
    failure_of,
    further,
    note_timings,
)
from turnlab.executors.hub import Hub
from turnlab.machine import Machine
from turnlab.modules.base import Inputs, Module
from turnlab.modules.registry import Registry
from turnlab.profiles import LatencyProfile
from turnlab.runner import Runner
from turnlab.testing import FakeClock, Pause, cluster_of
from turnlab.testing.clock import settle
from turnlab.testing.recorder import MemoryRecorder
from turnlab.testing.scripted import Action, Hang, ScriptedTurn, scripted
from turnlab.work import Work

LEASE_S = 15.0
WAIT_S = 20.0
SAID = Transcript(text="hello", final=True)
VOICE = Audio(samples=np.zeros(1_600, dtype=np.float32), sample_rate=16_000)


class Shout(Module):
    """Declared only: whoever polls performs it."""

    task_name = "shout"
    consumes = (Transcript,)
    produces = Reply


class Hear(Module):
    """The same for sound."""

    task_name = "hear"
    consumes = (Audio,)
    produces = Transcript


class Shelf:
    """Keeps media in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def sound(self, pieces: Iterable[Any]) -> HandedSound:
        whole = Audio.gather(list(pieces))
        return HandedSound(
            name=self._keep(whole), duration_s=whole.duration_s, sample_rate=whole.sample_rate
        )

    async def picture(self, picture: Image) -> str:
        return self._keep(picture)

    def url(self, name: str) -> str:
        return f"/media/{name}"

    async def drop(self, names: Iterable[str]) -> None:
        for name in names:
            del self.kept[name]

    def _keep(self, what: Any) -> str:
        name = f"{len(self.kept)}.wav"
        self.kept[name] = what
        return name


class House:
    """A Hub on a clock of its own, with the embedded worker for Modules that have code."""

    def __init__(self, *modules: type[Module]) -> None:
        self.clock = FakeClock()
        self.registry = Registry(modules)
        self.hub = Hub(self.clock)
        self.machine = Machine(clock=self.clock, threads=2)
        self.executor = EmbeddedExecutor(self.machine)
        self.hub.join(EmbeddedLink(self.executor, self.registry))
        self.recorder = MemoryRecorder()
        self.runner = Runner(self.hub, self.recorder)
        self.shelf = Shelf()
        self.modules = modules

    def link(self, name: str = "W-1", tasks: tuple[str, ...] = ("shout",), **more: Any) -> HttpLink:
        values = {"concurrency": 1, "lease_s": LEASE_S, **more}
        link = HttpLink(
            id=name,
            name=name,
            tasks=tasks,
            clock=self.clock,
            handover=self.shelf,
            node_id="N-1",
            whose="token",
            changed=self.hub.changed,
            left=self.hub.leave,
            **values,
        )
        self.hub.join(link)
        return link

    def begin(self, *script: Action) -> asyncio.Task[Any]:
        plan = make_plan(cluster_of(*self.modules), self.registry, given=_kinds(script))
        turn = ScriptedTurn(script=script, clock=self.clock)
        return asyncio.create_task(self.runner.run(plan, turn))


def _kinds(script: tuple[Action, ...]) -> list[type[Chunk]]:
    return [type(each) for each in script if isinstance(each, Chunk)]


def ask(link: HttpLink, wait_s: float = WAIT_S) -> asyncio.Task[Any]:
    return asyncio.create_task(link.poll(wait_s))


async def given(poll: asyncio.Task[Any]) -> dict[str, Any]:
    await settle()
    assert poll.done()
    task: dict[str, Any] = poll.result()
    return task


def said(text: str = "HELLO", **more: Any) -> Outcome:
    return Outcome(chunk=Reply(text=text), **more)


async def test_a_worker_gets_the_task_with_its_input_and_its_result_is_the_components():
    house = House(Shout)
    link = house.link()
    run, poll = house.begin(SAID), ask(link)
    task = await given(poll)
    assert task["inputs"] == {"Transcript": {"text": "hello"}}
    assert (task["task_name"], task["produces"], task["attempt"]) == ("shout", "Reply", 1)
    await house.clock.advance(2.0)
    assert link.complete(task["id"], task["claim"], said(result={"words": 1}))
    result = await run
    assert (result.reply, result.error) == ("HELLO", None)
    (record,) = result.tasks
    assert (record.worker, record.attempt) == ("W-1", 1)
    assert record.result_json["result_profile"] == {"text": "HELLO", "words": 1}
    latency = record.result_json["latency_profile"]
    assert (latency["ts_claimed"], latency["ts_end"]) == (0.0, 2.0)


async def test_what_the_worker_measured_is_on_the_clock_of_the_api_end():
    house = House(Shout)
    link = house.link()
    run, poll = house.begin(SAID), ask(link)
    task = await given(poll)
    await house.clock.advance(2.0)
    timings = check_timings({"transfer_in": 0.25, "model_words": 1.5, "ts_model_begin": 0})
    link.complete(task["id"], task["claim"], said(timings=timings))
    latency = (await run).tasks[0].result_json["latency_profile"]
    assert (latency["transfer_in"], latency["model_words"]) == (0.25, 1.5)
    # The worker's wall clock is off by decades; the moment stays within what it can have been.
    assert latency["ts_model_begin"] == 0.0


async def test_input_is_handed_over_once_it_is_whole_and_media_go_with_the_task():
    house = House(Hear)
    link = house.link(tasks=("hear",))
    run, poll = house.begin(VOICE, Pause(3.0), VOICE), ask(link)
    await house.clock.advance(1.0)
    assert not poll.done()
    await house.clock.advance(2.5)
    task = await given(poll)
    assert task["inputs"]["Audio"] == {
        "url": "/media/0.wav",
        "sample_rate": 16_000,
        "duration_s": 0.2,
    }
    assert list(house.shelf.kept) == ["0.wav"]
    link.complete(task["id"], task["claim"], Outcome(chunk=SAID))
    assert (await run).error is None
    assert not house.shelf.kept


async def test_nobody_gets_more_than_it_asked_for():
    house = House(Shout)
    link = house.link(concurrency=4)
    runs = [house.begin(SAID) for _ in range(2)]
    task = await given(ask(link))
    assert link.room == 0
    assert house.hub.room("shout").waiting == 1
    other = await given(ask(link))
    assert other["id"] != task["id"]
    for each in (task, other):
        link.complete(each["id"], each["claim"], said())
    assert [(await run).error for run in runs] == [None, None]


async def test_without_a_task_a_poll_ends_after_its_wait():
    link = House(Shout).link()
    poll = ask(link, 5.0)
    await link._clock.advance(4.9)  # type: ignore[attr-defined]
    assert not poll.done()
    await link._clock.advance(0.2)  # type: ignore[attr-defined]
    assert poll.result() is None


async def test_a_task_goes_on_to_the_next_poll_when_its_own_has_gone():
    house = House(Shout)
    link = house.link()
    gone = ask(link)
    await settle()
    gone.cancel()
    run = house.begin(SAID)
    await settle()
    task = await given(ask(link))
    link.complete(task["id"], task["claim"], said())
    assert (await run).reply == "HELLO"


async def test_a_silent_worker_loses_the_task_to_another_one():
    house = House(Shout)
    first, second = house.link("W-1"), house.link("W-2")
    run = house.begin(SAID)
    task = await given(ask(first))
    again = ask(second, 60.0)
    await house.clock.advance(LEASE_S - 1)
    assert not again.done()
    await house.clock.advance(2.0)
    retried = await given(again)
    assert (retried["id"], retried["attempt"]) == (task["id"], 2)
    assert retried["claim"] != task["claim"]
    with pytest.raises(ClaimLost):
        first.complete(task["id"], task["claim"], said("LATE"))
    second.complete(retried["id"], retried["claim"], said("GOOD"))
    result = await run
    assert result.reply == "GOOD"
    assert (result.tasks[0].worker, result.tasks[0].attempt) == ("W-2", 2)


async def test_a_heartbeat_extends_the_lease():
    house = House(Shout)
    link = house.link()
    run = house.begin(SAID)
    task = await given(ask(link))
    for _ in range(4):
        await house.clock.advance(LEASE_S - 1)
        assert link.heartbeat(task["id"], task["claim"]) > task["lease_until"]
    link.complete(task["id"], task["claim"], said())
    assert (await run).reply == "HELLO"


async def test_a_result_counts_once_and_only_by_its_claim():
    house = House(Shout)
    link = house.link()
    run = house.begin(SAID)
    task = await given(ask(link))
    with pytest.raises(ClaimLost):
        link.complete(task["id"], "N-1:made up", said("FORGED"))
    assert link.complete(task["id"], task["claim"], said("FIRST"))
    assert not link.complete(task["id"], task["claim"], said("SECOND"))
    assert (await run).reply == "FIRST"
    assert not link.complete(task["id"], task["claim"], said("THIRD"))


async def test_a_failure_keeps_its_code():
    house = House(Shout)
    link = house.link()
    run = house.begin(SAID)
    task = await given(ask(link))
    failed = failure_of({"code": "gpu_on_fire", "message": "Put it out."})
    link.complete(task["id"], task["claim"], Outcome(error=failed, result={"celsius": 400}))
    result = await run
    assert (result.error.code, result.error.message) == ("gpu_on_fire", "Put it out.")
    assert result.error.component == "shout"
    assert result.tasks[0].result_json["result_profile"] == {"celsius": 400}


async def test_a_cancelled_track_takes_the_claim_with_it():
    house = House(Shout)
    link = house.link()
    run = house.begin(SAID)
    task = await given(ask(link))
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    with pytest.raises(ClaimLost):
        link.heartbeat(task["id"], task["claim"])
    assert (link.running, house.hub.running_on(link)) == (0, 0)


async def test_a_worker_counts_until_it_was_silent_for_two_waits_and_a_lease():
    house = House(Shout)
    link = house.link()
    assert await asyncio.wait_for(house.clock.drive(link.poll(WAIT_S)), 5) is None
    await house.clock.advance(2 * WAIT_S + LEASE_S - 1)
    assert link in house.hub.links
    await house.clock.advance(LEASE_S + 2)
    assert link not in house.hub.links
    assert house.hub.room("shout").places == 0


async def test_when_the_server_stops_polls_end_and_what_they_had_is_lost():
    house = House(Shout)
    link = house.link(concurrency=2)
    house.begin(SAID)
    await given(ask(link))
    poll = ask(link)
    await settle()
    link.close()
    assert await given(poll) is None
    assert house.hub.links == (house.hub.links[0],)


async def test_who_has_gone_is_given_nothing():
    house = House(Shout)
    link = house.link()
    link.close()
    step = make_plan(cluster_of(Shout), house.registry, given=[Transcript]).steps[0]
    work = Work(
        track_id="T",
        task_id="t",
        step=step,
        inputs=Inputs({}),
        latency=LatencyProfile(house.clock),
        urgency=lambda: 1,
        history=(),
        claim=lambda *_, **__: None,
    )
    with pytest.raises(WorkerLost):
        await asyncio.wait_for(anext(link.perform(work, 1)), 5)
    assert link.running == 0


class Slowly(Shelf):
    """Waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def sound(self, pieces: Iterable[Any]) -> HandedSound:
        await self.go.wait()
        return await super().sound(pieces)


@pytest.mark.parametrize("gone", [True, False], ids=["closed", "polls no more"])
async def test_who_goes_while_its_input_is_made_ready_has_lost_the_task(gone: bool):
    house = House(Hear)
    house.shelf = Slowly()
    link = house.link(tasks=("hear",))
    poll = ask(link)
    run = house.begin(VOICE)
    await settle()
    if not gone:
        poll.cancel()
        await settle()
    link.close()
    house.shelf.go.set()
    other = house.link("W-2", tasks=("hear",))
    task = await given(ask(other))
    assert task["attempt"] == 2
    other.complete(task["id"], task["claim"], Outcome(chunk=SAID))
    assert (await asyncio.wait_for(run, 5)).error is None
    assert poll.cancelled() if not gone else poll.result() is None


async def test_a_poll_whose_task_is_cancelled_on_its_way_ends():
    house = House(Hear)
    house.shelf = Slowly()
    link = house.link(tasks=("hear",))
    poll = ask(link)
    run = house.begin(VOICE)
    await settle()
    assert not poll.done()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert await asyncio.wait_for(poll, 5) is None


async def test_what_an_earlier_component_fails_with_reaches_no_worker():
    failing = scripted("speech2text", [Audio], Transcript, ValueError("no"))
    house = House(failing, Shout)
    link = house.link()
    poll = ask(link)
    result = await house.clock.drive(house.begin(VOICE), lambda: house.executor.loading)  # type: ignore[arg-type]
    assert result.error.component == "speech2text"
    assert not poll.done()


async def test_an_endless_input_keeps_a_place_but_no_claim():
    house = House(Shout)
    link = house.link()
    poll = ask(link)
    run = house.begin(SAID, Hang())
    await settle()
    assert (poll.done(), link.room, link.running) == (False, 0, 1)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert (link.room, link.running) == (1, 0)


# Results


def wav(samples: int = 800, channels: int = 1) -> bytes:
    file = io.BytesIO()
    shape = (samples, channels) if channels > 1 else samples
    soundfile.write(file, np.zeros(shape), 8_000, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "profile"),
    [
        (Transcript, {"text": "a"}),
        (Caption, {"text": "a"}),
        (Reply, {"text": ""}),
        (Emotion, {"T": -0.5, "M": 1, "labels": {"T": "sad"}, "missing": {"A": "no voice"}}),
        (Passages, {"passages": [{"text": "a", "source": "b.md", "score": 0.5}]}),
        (Value, {"value": [1, None]}),
    ],
)
def test_a_result_reads_as_the_chunk_does(kind: type[Chunk], profile: dict[str, Any]):
    chunk = chunk_of(kind, profile)
    assert isinstance(chunk, kind)
    assert profile.items() <= chunk.profile().items()
    assert further(chunk, {**profile, "tokens": 3}) == {"tokens": 3}


@pytest.mark.parametrize(
    ("kind", "profile", "says"),
    [
        (Transcript, {}, "text must be a text"),
        (Transcript, {"text": 5}, "text must be a text"),
        (Reply, {"text": "a" * 1_000_001}, "more than"),
        (Emotion, {}, "one of T, A, V, M"),
        (Emotion, {"T": 2}, "between -1"),
        (Emotion, {"T": True}, "no number"),
        (Emotion, {"T": 0, "labels": {"X": "a"}}, "keys of T, A, V, M"),
        (Passages, {"passages": "a"}, "a list"),
        (Passages, {"passages": [{"text": "a"}]}, r"passages\[0\].source"),
        (Value, {}, "value is missing"),
        (Speech, {"text": "a"}, "part `file`"),
        (Image, {}, "part `file`"),
    ],
)
def test_a_result_that_is_no_chunk_is_refused_by_name(
    kind: type[Chunk], profile: dict[str, Any], says: str
):
    with pytest.raises(InvalidRequest, match=says):
        chunk_of(kind, profile)


def test_sound_is_mixed_down_and_audio_gets_its_rate():
    speech = chunk_of(Speech, {"text": "hi"}, wav(channels=2))
    assert isinstance(speech, Speech)
    assert (speech.sample_rate, speech.samples.shape, speech.text) == (8_000, (800,), "hi")
    audio = chunk_of(Audio, {}, wav())
    assert isinstance(audio, Audio)
    assert (audio.sample_rate, audio.duration_s) == (16_000, pytest.approx(0.1, abs=0.01))


def flac(rate: int, channels: int, seconds: float) -> bytes:
    """Silence, which takes next to no room."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, format="FLAC", subtype="PCM_16") as sound:
        block = np.zeros((rate, channels), dtype=np.int16)
        for _ in range(int(seconds)):
            sound.write(block)
    return file.getvalue()


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(96_000, 8, 1), (8_000, 8, 600)])
def test_a_small_file_that_claims_much_is_refused_before_it_is_decoded(rate, channels, seconds):
    file = flac(rate, channels, seconds)
    assert len(file) < 2**20
    with pytest.raises(InvalidRequest, match=r"claims|longer"):
        chunk_of(Speech, {"text": "a"}, file)


def test_many_blocks_of_many_channels_become_one_channel():
    tone = np.sin(np.arange(200_000) / 20).astype(np.float32) / 2
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone, -tone, tone], axis=1), 24_000, "FLOAT", format="WAV")
    speech = chunk_of(Speech, {}, file.getvalue())
    assert isinstance(speech, Speech)
    np.testing.assert_allclose(speech.samples, tone / 3, atol=1e-6)


@pytest.mark.parametrize("file", [b"", b"no sound", wav(0)])
def test_a_file_that_is_no_sound_is_refused(file: bytes):
    with pytest.raises(InvalidRequest):
        chunk_of(Speech, {}, file)


@pytest.mark.parametrize(
    "profile",
    [
        {"ts_end": 1.0},
        {"queue_a": 1.0},
        {"model_": 1.0},
        {"model_a": -1.0},
        {"model_a": float("nan")},
        {"model_a": "1"},
        {"ts_a": "yesterday"},
        {"ts_a": "2026-01-02T03:04:05"},
        {f"model_{i}": 0.0 for i in range(300)},
    ],
)
def test_timings_that_say_nothing_are_refused(profile: dict[str, Any]):
    with pytest.raises(InvalidRequest):
        check_timings(profile)


@pytest.mark.parametrize("told", [{"model_a": 3600.0, "wait_b": 1200.0}, {"model_a": 0.5}, {}])
def test_durations_are_held_to_how_long_the_worker_had_the_task(told: dict[str, float]):
    latency = LatencyProfile(FakeClock())
    note_timings(latency, told, (99.0, 100.0), 0.0)
    spans = [(each.label, each.start_s, each.end_s) for each in latency.intervals]
    assert all(99.0 <= start_s <= end_s <= 100.0 for _, start_s, end_s in spans)
    lengths = {label: end_s - start_s for label, start_s, end_s in spans}
    wanted = {"a": 0.75, "b": 0.25} if len(told) == 2 else {"a": 0.5} if told else {}
    assert lengths == pytest.approx(wanted)


def test_moments_are_unix_seconds_or_iso_8601():
    same = check_timings({"ts_a": "1970-01-01T00:00:10Z", "ts_b": 10, "wait_disk": 0.5})
    assert same == {"ts_a": 10.0, "ts_b": 10.0, "wait_disk": 0.5}


@pytest.mark.parametrize("error", [{"code": "Bad Code", "message": "x"}, {"message": "  "}, {}])
def test_a_failure_needs_a_code_and_a_message(error: dict[str, Any]):
    with pytest.raises(InvalidRequest):
        failure_of(error)
    assert failure_of({"message": "x"}).code == ModuleFailed.code
