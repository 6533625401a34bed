"""A worker over a connection in memory: the same answers as here, and what may go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, SecretStr

from tests.api.worker_rig import Skewed, WorkerRig, opened, settle, working
from turnlab.chunks import Audio, Chunk, Image, Reply, Speech, Transcript, Value
from turnlab.conversations import Conversation, Exchange
from turnlab.errors import MissingKey, ModuleFailed, TurnlabError, WorkerLost
from turnlab.modules.base import Context, Inputs, Module
from turnlab.profiles import SpanKind
from turnlab.testing import Block, Each, Hang, Pause, Read, Rig, scripted
from turnlab.tracks import Mode
from turnlab.wire import messages as m
from turnlab.wire.frames import to_json
from turnlab.wire.transports import MemoryTransport, pair
from turnlab.work import Observer
from turnlab.worker import ServedModules
from turnlab.worker.session import Session

RATE = 16_000
VOICE = Audio(samples=np.linspace(-0.5, 0.5, 160, dtype=np.float32), sample_rate=RATE)
WORD = Transcript(text="a", final=True)


def spoken(text: str, seconds: float = 0.1) -> Speech:
    return Speech(
        samples=np.full(int(seconds * RATE), 0.5, dtype=np.float32), sample_rate=RATE, text=text
    )


def pipeline() -> tuple[type[Module], ...]:
    return (
        scripted("speech2text", [Audio], Transcript, Read(Audio), Pause(0.2), WORD),
        scripted(
            "reply",
            [Transcript],
            Reply,
            Read(Transcript),
            Pause(0.3),
            Reply(text="yes"),
            Pause(0.1),
            Reply(text=" sir"),
        ),
        scripted("speak", [Reply], Speech, Each(Reply, lambda reply: spoken(reply.text))),
    )


def gated(gate: asyncio.Event) -> type[Module]:
    """Transcribes when the gate is open."""

    class Gated(Module):
        task_name = "speech2text"
        consumes = (Audio,)
        produces = Transcript

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            await inputs.whole(Audio)
            await gate.wait()
            yield WORD

    return Gated


# The same answer


async def test_a_turn_over_a_worker_gives_what_it_gives_here():
    here = await Rig(*pipeline()).run(VOICE)
    async with working(*pipeline(), there=-77.7) as rig:
        there = await rig.run(VOICE)
    assert (there.transcript, there.reply) == (here.transcript, here.reply) == ("a", "yes sir")
    assert there.speech.samples.tobytes() == here.speech.samples.tobytes()
    profiles = [[t.result_json["result_profile"] for t in r.tasks] for r in (here, there)]
    assert profiles[0] == profiles[1]
    assert {task.worker for task in there.tasks} == {rig.connected[0].id}
    assert there.track.voice_to_voice_s == pytest.approx(here.track.voice_to_voice_s, abs=1e-6)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.01, 0.01), (0.002, 0.03), (0.05, 0.0)])
@pytest.mark.parametrize("there", [-1e5, 1e6])
async def test_spans_sum_to_the_latency_however_the_clocks_differ(mode, delays, there):
    async with working(*pipeline(), delays=delays, there=there) as rig:
        result = await rig.run(VOICE, mode=mode)
        offset_s = rig.hub.links[0].facts.clock_offset_s
    assert result.error is None
    total_s = result.track.voice_to_voice_s
    assert sum(span.duration_s for span in result.spans) == pytest.approx(total_s, abs=1e-3)
    assert all(
        after.start_s == pytest.approx(before.end_s)
        for before, after in zip(result.spans, result.spans[1:], strict=False)
    )
    assert abs(offset_s - there) <= sum(delays) / 2 + 1e-6


async def test_what_is_on_the_way_is_transfer_and_what_a_module_does_is_model():
    async with working(*pipeline(), delays=(0.01, 0.01), there=5.0) as rig:
        result = await rig.run(VOICE)
    spent: dict[SpanKind, float] = {}
    for span in result.spans:
        spent[span.kind] = spent.get(span.kind, 0.0) + span.duration_s
    assert spent[SpanKind.MODEL] == pytest.approx(0.5, abs=1e-3)
    assert spent[SpanKind.TRANSFER] >= 0.03 - 1e-3  # three ways back
    profile = result.tasks[0].result_json["latency_profile"]
    assert profile["transfer_from_worker"] == pytest.approx(0.01, abs=1e-6)
    assert profile["transfer_to_worker"] >= 0.01 - 1e-6
    assert profile["model_script"] == pytest.approx(0.2, abs=1e-6)


async def test_what_the_module_is_told_and_tells_is_what_it_is_here():
    class Params(BaseModel):
        key: SecretStr = SecretStr("")
        many: tuple[int, ...] = ()

    seen: dict[str, Any] = {}

    class Asked(Module):
        task_name = "reply"
        consumes = (Audio,)
        produces = Reply

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            await inputs.whole(Audio)
            seen.update(params=context.params, history=context.history, id=context.task_id)
            seen.update(component=context.component, track=context.track_id)
            context.result["tokens"] = 3
            context.latency.point("half")
            yield Reply(text="yes")

    Asked.Params = Params
    past = Conversation(exchanges=[Exchange(text="one", reply="two")])
    values = {"reply": {"key": "secret", "many": [1, 2]}}
    async with working(Asked, overrides=values, there=9.0) as rig:
        result = await rig.run(VOICE, conversation=past)
    assert result.error is None
    assert seen["params"].key.get_secret_value() == "secret"
    assert seen["params"].many == (1, 2)
    assert seen["history"] == (Exchange(text="one", reply="two"),)
    task = result.tasks[0]
    assert (seen["id"], seen["component"], seen["track"]) == (task.id, "reply", task.track_id)
    assert task.result_json["result_profile"] == {"text": "yes", "tokens": 3}
    assert task.result_json["latency_profile"]["ts_half"] == pytest.approx(0.0, abs=1e-6)


async def test_chunks_larger_than_a_frame_come_through_and_leave_nothing_behind():
    sound = np.random.default_rng(1).uniform(-1, 1, 1_500_000).astype(np.float32)
    picture = Image(data=bytes(range(256)) * 20_000, media_type="image/png")
    got: list[Image] = []

    class Big(Module):
        task_name = "big"
        consumes = (Audio, Image)
        produces = Speech

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            got.append(await inputs.whole(Image))
            audio = await inputs.whole(Audio)
            context.result["echo"] = "x" * 2_000_000
            yield Speech(samples=audio.samples, sample_rate=RATE, text="y" * 900_000)

    async with working(Big) as rig:
        result = await rig.run(picture, Audio(samples=sound, sample_rate=RATE))
        assert result.error is None
        assert result.speech.samples.tobytes() == sound.tobytes()
        assert got == [picture]
        assert len(result.tasks[0].result_json["result_profile"]["echo"]) == 2_000_000
        await settle()
        assert not rig.media._sizes


async def test_what_is_outdated_by_then_is_passed_over_as_it_is_here():
    class Newest(Module):
        task_name = "newest"
        consumes = (Transcript,)
        produces = Value

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            async for heard in inputs.latest(Transcript):
                yield Value(value=[heard.text, inputs.ended(Transcript)])

    heard = [Transcript(text=str(n), final=n == 9) for n in range(10)]
    values = []
    for make in (Rig, WorkerRig):
        rig = make(Newest, given=(Transcript,))
        if isinstance(rig, WorkerRig):
            rig.start(rig.worker())
            await rig.joined()
        result = await rig.run(*heard, mode=Mode.CHAINED)
        values.append(result.tasks[0].result_json["result_profile"])
    assert values == [{"value": ["9", True]}] * 2


async def test_urgency_follows_to_the_worker():
    asked: list[int] = []

    class Long(Module):
        task_name = "speak"
        consumes = (Audio,)
        produces = Speech

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            clock = context.machine.clock
            await inputs.whole(Audio)
            asked.append(context.urgency())
            yield spoken("a", seconds=1.0)
            await clock.sleep_until(clock.now() + 0.3)
            asked.append(context.urgency())
            await clock.sleep_until(clock.now() + 1.0)
            asked.append(context.urgency())
            yield spoken("b")

    async with working(Long) as rig:
        result = await rig.run(VOICE)
    assert result.error is None
    assert asked[0] == asked[2] > asked[1]


# Bounds


async def test_a_fast_module_is_held_by_a_slow_reader():
    emitted: list[int] = []

    class Fast(Module):
        task_name = "fast"
        consumes = (Audio,)
        produces = Reply

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            for number in range(200):
                emitted.append(number)
                yield Reply(text=str(number))

    read: list[str] = []
    ahead: list[int] = []

    class Slow(Module):
        task_name = "slow"
        consumes = (Reply,)
        produces = Speech

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            clock = context.machine.clock
            async for piece in inputs.stream(Reply):
                await clock.sleep_until(clock.now() + 0.01)
                read.append(piece.text)
                ahead.append(len(emitted) - len(read))
            yield spoken("end")

    async with working(Fast, Slow) as rig:
        result = await rig.run(VOICE)
    assert result.error is None
    assert read == [str(number) for number in range(200)]
    # One window back to the server, one lead of its stream, one window to the reader.
    assert max(ahead) <= 3 * 32 + 2


async def test_nothing_is_sent_beyond_a_window_to_a_module_that_does_not_read():
    sent: list[int] = []
    idle = scripted("idle", [Audio], Reply, Reply(text="a"), Each(Audio, lambda _: None))

    class Deaf(idle):
        task_name = "deaf"

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            clock = context.machine.clock
            async for _ in inputs.stream(Audio):
                await clock.sleep_until(clock.now() + 1.0)
                sent.append(len(inputs.streams[Audio]))
                break
            yield Reply(text="enough")

    async with working(Deaf) as rig:
        result = await rig.run(*[VOICE] * 200)
    assert result.error is None
    assert sent[0] <= 32 + 32 // 4


# Failures


async def test_an_error_of_a_module_comes_with_its_code_and_component():
    fails = scripted("speech2text", [Audio], Transcript, WORD, MissingKey("set X_KEY"))
    async with working(fails) as rig:
        result = await rig.run(VOICE)
    assert type(result.error) is MissingKey
    assert (result.error.message, result.error.component) == ("set X_KEY", "speech2text")
    assert result.tasks[0].status == "failed"
    assert result.tasks[0].result_json["result_profile"] == {"text": "a"}


async def test_an_error_that_only_the_worker_knows_becomes_module_failed():
    class Odd(TurnlabError):
        """It is odd."""

        code = "odd"

    async with working(scripted("speech2text", [Audio], Transcript, Odd("so it is"))) as rig:
        result = await rig.run(VOICE)
    assert type(result.error) is ModuleFailed
    assert "odd: so it is" in result.error.message


@pytest.mark.parametrize(
    ("chunk", "code"),
    [
        (Reply(text="x"), "invalid_module"),
        (Transcript(text=3), "invalid_module"),
        (object(), "invalid_module"),
    ],
)
async def test_what_a_module_may_not_make_is_refused_as_here(chunk, code):
    class Wrong(Module):
        task_name = "wrong"
        consumes = (Audio,)
        produces = Transcript

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            yield chunk

    here = await Rig(Wrong).run(VOICE)
    async with working(Wrong) as rig:
        there = await rig.run(VOICE)
    assert here.error.code == there.error.code == code
    assert here.error.message == there.error.message


async def test_a_result_or_chunk_that_is_no_json_fails_the_task_not_the_worker():
    class Wrong(Module):
        task_name = "wrong"
        consumes = (Audio,)
        produces = Value

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            context.latency.add(SpanKind.MODEL, "x" * 500, float("nan"), 1.0)
            context.latency.add(SpanKind.MODEL, "\0" * 500, 1.0, 2.0)
            for number in range(1000):
                context.latency.add(SpanKind.MODEL, "many", number, number)
                context.latency.point(f"p{number}")
            context.result["bad"] = object()
            yield Value(value=1)

    async with working(Wrong) as rig:
        result = await rig.run(VOICE)
        assert result.error.code == "invalid_module"
        assert len(rig.hub.links) == 1


async def test_an_upstream_failure_cancels_what_reads_it():
    first = scripted("speech2text", [Audio], Transcript, WORD, ValueError("no"))
    second = scripted("reply", [Transcript], Reply, Read(Transcript), Reply(text="x"))
    async with working(first, second) as rig:
        result = await rig.run(VOICE)
    assert [task.status for task in result.tasks] == ["failed", "cancelled"]
    assert result.tasks[1].error_code == "upstream_failed"


# Cancelling


async def test_cancelling_a_turn_stops_the_thread_and_frees_the_place():
    block = Block()
    async with working(scripted("speech2text", [Audio], Transcript, block)) as rig:
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
        await asyncio.to_thread(block.begun.wait, 10)
        link = rig.hub.links[0]
        assert link.room == link.facts.concurrency - 1
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        assert await asyncio.to_thread(block.ended.wait, 10)
        await rig.until(lambda: link.room == link.facts.concurrency)
        assert not link.reason


async def test_a_task_beyond_its_time_is_stopped_at_the_worker():
    hang = scripted("speech2text", [Audio], Transcript, Hang(), timeout_s=1.0)
    async with working(hang) as rig:
        result = await rig.run(VOICE)
        assert result.error.code == "module_timeout"
        await rig.until(lambda: rig.hub.links[0].room == 8)


@asynccontextmanager
async def session_of(rig: WorkerRig) -> AsyncIterator[tuple[MemoryTransport, Session]]:
    """A worker's end that is welcome and runs, and the server's end of its connection."""
    here, there = pair()
    offering = ServedModules(rig.registry, [module.task_name for module in rig.registry])
    session = Session(there, rig.executor, offering, lambda _: rig.media)
    welcome = m.Welcome(
        worker_id="a-worker", node="n", accepted=(), refused={}, heartbeat_s=5.0, lease_s=15.0
    )
    await here.send(m.write(welcome))
    hello = m.Hello(
        protocol=m.PROTOCOL, worker_id="a-worker", name="a", modules=offering.offers(),
        concurrency=offering.concurrency, hardware={}, pid=1,
    )  # fmt: skip
    await session.open(hello)
    await here.receive()
    running = asyncio.create_task(session.run())
    try:
        yield here, session
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_task_that_is_cancelled_as_it_is_opened_is_told_and_leaves_nothing():
    """Both messages are there before the worker has begun with the Task."""
    hang = scripted("speech2text", [Audio], Transcript, Hang())
    async with opened(hang) as rig, session_of(rig) as (here, session):
        opening = m.Open(
            task=0, task_id="t", attempt=1, track_id="T", component="speech2text",
            task_name="speech2text", version="1", inputs=(("Audio", "user", 0),), urgency=0,
            priority=0, payload=to_json({"params": {}, "history": []}),
        )  # fmt: skip
        await here.send(m.write(opening))
        await here.send(m.write(m.Cancel(task=0)))
        told = m.read(await asyncio.wait_for(here.receive(), 5))
        assert told == m.Stopped(task=0)
        await asyncio.wait_for(session.idle(), 5)
        assert session.running == 0


async def test_what_changed_while_the_worker_was_greeted_is_told():
    module = scripted("speech2text", [Audio], Transcript, WORD)
    async with opened(module) as rig:
        client = rig.worker()
        greet = client._greet

        async def changing(session: Session) -> m.Welcome:
            welcome = await greet(session)
            client._offering.concurrency = 3
            client.changed()  # while nobody can be told yet
            return welcome

        client._greet = changing
        rig.start(client)
        await rig.joined()
        await rig.until(lambda: rig.hub.links[0].room == 3)


# Workers that go


async def test_a_task_that_had_emitted_nothing_goes_to_another_worker():
    gate = asyncio.Event()
    async with working(gated(gate)) as rig:
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
        await rig.until(lambda: rig.hub.links[0]._tasks)
        rig.start(rig.worker(name="other"))
        await rig.until(lambda: len(rig.hub.links) == 2)
        await rig.ends[0].close()
        gate.set()
        result = await turn
    assert result.error is None
    assert result.transcript == "a"
    assert result.tasks[0].attempt == 2
    assert result.tasks[0].worker == rig.connected[1].id
    assert rig.gone[0].id == rig.connected[0].id


async def test_a_task_that_had_emitted_something_fails_and_keeps_it():
    partial = scripted("speech2text", [Audio], Transcript, Transcript(text="half"), Hang())
    async with working(partial) as rig:
        seen, link = Seen(), rig.hub.links[0]
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE), observer=seen))
        await rig.until(lambda: seen.chunks)
        await rig.ends[0].close()
        result = await turn
    assert type(result.error) is WorkerLost
    assert link.name in result.error.message
    assert result.transcript == "half"


async def test_a_worker_that_falls_silent_is_given_up_after_its_lease():
    hang = scripted("speech2text", [Audio], Transcript, Transcript(text="half"), Hang())
    async with working(hang) as rig:
        seen = Seen()
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE), observer=seen))
        await rig.until(lambda: seen.chunks)
        rig.ends[0].send = forever  # it reads, but nothing comes from it any more
        result = await rig.drive(asyncio.wait_for(turn, 10))
    assert result.error.code == "worker_lost"
    assert "15 s" in result.error.message


class Seen(Observer):
    """Keeps what was emitted."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def chunk(self, component: str, chunk: Chunk) -> None:
        self.chunks.append(chunk)


async def forever(*_: object) -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_worker_that_reads_no_more_is_given_up_and_blocks_nobody():
    async with working(scripted("speech2text", [Audio], Transcript, WORD)) as rig:
        link = rig.hub.links[0]
        rig.ends[0].receive = forever
        turns = [rig.runner.run(rig.plan, rig.turn(*[VOICE] * 50)) for _ in range(3)]
        jobs = [asyncio.create_task(turn) for turn in turns]
        while not link.reason:
            await rig.clock.advance(1.0)
        assert rig.gone[0].id == link.id
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


async def test_a_worker_connects_again_when_the_connection_breaks():
    async with working(*pipeline()) as rig:
        await rig.ends[0].close()
        await rig.until(lambda: not rig.hub.links)
        await rig.joined()
        result = await rig.run(VOICE)
        assert result.error is None
    assert any("trying again" in each for each in rig.said)
    assert len({each.id for each in rig.connected}) == 1


async def test_a_worker_that_dials_again_replaces_its_old_connection():
    async with working(*pipeline()) as rig:
        old = rig.hub.links[0]
        rig.start(rig.worker(worker_id=old.id))
        await rig.drive(rig.until(lambda: old.reason and rig.hub.links))
        assert "anew" in old.reason
        assert [link.id for link in rig.hub.links] == [old.id]


async def test_attempts_to_connect_grow_rare_and_stay_so():
    waits: list[float] = []
    async with opened(*pipeline()) as rig:

        async def refuse() -> Any:
            waits.append(rig.clock.now())
            raise WorkerLost("nobody is there")

        client = rig.worker(connect=refuse)
        rig.start(client)
        for _ in range(600):
            await rig.clock.advance(0.1)
        gaps = np.diff(waits)
        assert gaps[0] <= 0.3
        assert 5.0 <= gaps[-1] <= 10.2
        assert all(gaps <= 10.2)


# Draining


async def test_a_draining_worker_ends_what_it_has_and_takes_nothing_more():
    gate = asyncio.Event()
    async with opened(gated(gate)) as rig:
        client = rig.worker()
        run = rig.start(client)
        await rig.joined()
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
        await rig.until(lambda: client.running)
        client.drain()
        await rig.until(lambda: rig.hub.links[0].draining)
        assert rig.hub.links[0].room == 0
        late = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
        await settle()
        assert client.running == 1
        gate.set()
        assert (await asyncio.wait_for(turn, 10)).error is None
        await asyncio.wait_for(run, 10)
        assert not rig.hub.links
        assert rig.gone[0].draining
        late.cancel()


async def test_a_task_that_crosses_the_farewell_goes_to_another_worker():
    async with opened(scripted("speech2text", [Audio], Transcript, WORD)) as rig:
        clients = [rig.worker(name=name) for name in ("one", "two")]
        rig.start(clients[0])
        await rig.joined()
        clients[0]._session._draining = True  # its word has not come yet
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
        await settle()
        rig.start(clients[1])
        result = await asyncio.wait_for(turn, 10)
        assert (result.error, result.tasks[0].attempt) == (None, 2)


# Workers that do not do as they should


async def test_a_worker_that_lies_about_its_modules_is_not_asked_again():
    module = scripted("speech2text", [Audio], Transcript, WORD)
    async with opened(module) as rig:
        liar = rig.worker(name="liar")
        liar._offering._modules = dict(liar._offering._modules)  # what it offered it then denies
        offers = liar._offering.offers()
        liar._offering.offers = lambda: offers
        liar._offering._modules.clear()
        rig.start(liar)
        await rig.joined()
        link = rig.hub.links[0]
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
        await rig.until(lambda: not link.places("speech2text"))
        rig.start(rig.worker(name="honest"))
        result = await asyncio.wait_for(turn, 10)
        assert result.error is None
        assert result.tasks[0].attempt == 2


async def test_another_version_of_a_module_is_refused_with_the_reason():
    async with opened(scripted("speech2text", [Audio], Transcript, WORD)) as rig:
        client = rig.worker()
        newer = scripted("speech2text", [Audio], Transcript, WORD, version="2")
        client._offering._modules = {"speech2text": newer}
        rig.start(client)
        await rig.joined()
        assert rig.hub.links[0].places("speech2text") == 0
        assert any("version 1" in each for each in rig.said)


async def test_what_is_served_may_change_while_connected():
    one, two = (scripted(name, [Audio], Transcript, WORD) for name in ("one", "two"))
    async with opened(one) as rig:
        rig.registry.add(two)
        client = rig.worker("one")
        rig.start(client)
        await rig.joined()
        link = rig.hub.links[0]
        client._offering._modules["two"] = two
        client._offering.concurrency = 3
        client.changed()
        await rig.until(lambda: link.places("two") == 3)
        assert link.room == 3


# Relays


async def test_a_task_reaches_a_worker_of_another_api_process():
    """The other process is itself a worker, whose executor is its own hub."""
    from turnlab.executors.websocket_server import serve_worker
    from turnlab.wire.transports import pair
    from turnlab.worker import ServedModules, WorkerClient

    async with working(*pipeline(), there=50.0) as far:
        near = WorkerRig(*pipeline(), clock=Skewed(far.clock, -1000.0))

        async def connect() -> Any:
            here, there = pair()
            near.serving.append(
                asyncio.create_task(serve_worker(here, near.door, "far", may_relay=True))
            )
            return there

        names = [module.task_name for module in far.registry]
        relay = WorkerClient(
            far.hub.own(),
            ServedModules(far.registry, names),
            api_url="memory",
            authorization=str,
            node="far",
            connect=connect,
            media=lambda _: near.media,
        )
        far.start(relay)
        await far.drive(asyncio.wait_for(near.until(lambda: near.hub.links), 10))
        result = await far.drive(near.runner.run(near.plan, near.turn(VOICE)))
    assert result.error is None
    assert result.reply == "yes sir"
    assert {task.worker for task in result.tasks} == {far.connected[0].id}
    total_s = result.track.voice_to_voice_s
    assert sum(span.duration_s for span in result.spans) == pytest.approx(total_s, abs=1e-3)
