"""Workers that break the protocol, by malice or mistake: nobody but they are worse off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from tests.api.worker_rig import WorkerRig, opened, settle
from turnlab.chunks import Audio, Transcript
from turnlab.errors import InvalidRequest, TooLarge
from turnlab.executors.websocket_server import serve_worker
from turnlab.testing import scripted
from turnlab.wire import media
from turnlab.wire import messages as m
from turnlab.wire.chunks import encode_chunk
from turnlab.wire.fields import Offer
from turnlab.wire.frames import pack
from turnlab.wire.transports import Disconnected, MemoryTransport, pair

VOICE = Audio(samples=np.zeros(160, dtype=np.float32), sample_rate=16_000)
WORD = Transcript(text="a", final=True)
STT = scripted("speech2text", [Audio], Transcript, WORD)
HELLO = m.Hello(
    protocol=m.PROTOCOL,
    worker_id="a-worker-by-hand",
    name="by hand",
    modules=(Offer("speech2text", "1", True, 8),),
    concurrency=8,
    hardware={},
    pid=1,
)


class ByHand:
    """A worker's end that says what a test tells it to; pings are answered."""

    def __init__(self, end: MemoryTransport) -> None:
        self.end = end
        self.got: list[m.Message] = []
        self.over = ""
        self._reading = asyncio.create_task(self._read())

    async def say(self, *messages: m.Message | bytes) -> None:
        for each in messages:
            await self.end.send(each if isinstance(each, bytes) else m.write(each))
            await settle()

    async def until(self, kind: type[m.Message]) -> Any:
        """The first message of this type, once it is there."""
        async with asyncio.timeout(10):
            while True:
                for each in self.got:
                    if isinstance(each, kind):
                        return each
                await asyncio.sleep(0)

    async def _read(self) -> None:
        try:
            while True:
                message = m.read(await self.end.receive())
                self.got.append(message)
                if isinstance(message, m.Ping):
                    pong = m.Pong(
                        number=message.number, got_s=1.0, answered_s=1.0, running=0, memory_mib=1.0
                    )
                    await self.end.send(m.write(pong))
        except Disconnected as gone:
            self.over = str(gone)


@asynccontextmanager
async def by_hand(
    rig: WorkerRig, hello: m.Message | bytes = HELLO, **fields: Any
) -> AsyncIterator[ByHand]:
    """A connection that has said hello."""
    here, there = pair(1_000)
    rig.serving.append(asyncio.create_task(serve_worker(here, rig.door, "test", **fields)))
    hand = ByHand(there)
    await hand.say(hello)
    yield hand
    await there.close()


@asynccontextmanager
async def at_work(count: int = 1) -> AsyncIterator[tuple[WorkerRig, ByHand, asyncio.Task[Any]]]:
    """A worker by hand that was given a Task, and the turn that waits for it."""
    async with opened(STT) as rig, by_hand(rig) as hand:
        await rig.joined()
        turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(*[VOICE] * count)))
        await hand.until(m.Open)
        await settle()
        yield rig, hand, turn
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)


def out(number: int = 0, **fields: Any) -> m.Out:
    values = {"kind": "Transcript", "sent_s": 1.0, "payload": encode_chunk(WORD), **fields}
    return m.Out(task=0, number=number, **values)


STARTED = m.Started(task=0, got_s=1.0, at_s=1.0)


async def test_a_worker_written_by_hand_completes_a_task():
    async with at_work() as (rig, hand, turn):
        sent = await hand.until(m.In)
        assert (sent.kind, sent.number, sent.last_s is not None) == ("Audio", 0, True)
        await hand.say(STARTED, out(cause=("Audio", m.END), read_s=1.0), m.End(task=0))
        result = await turn
        assert (result.error, result.transcript) == (None, "a")
        assert result.tasks[0].worker == HELLO.worker_id
        assert rig.hub.links[0].room == 8


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"garbage",
        m.Ping(number=0),
        HELLO,
        m.Pong(number=99, got_s=1.0, answered_s=1.0, running=0, memory_mib=1.0),
        out(1),
        out(kind="Reply"),
        out(payload=b"\0\0\0\2{}"),
        out(cause=("Audio", 7)),
        out(cause=("Image", 0)),
        out(media="../../etc/passwd"),
        m.Credit(task=0, kind="Audio", count=33),
        m.Credit(task=0, kind="Image", count=1),
        m.Timing(task=0),
        m.Stopped(task=0),
        m.End(task=0, payload=b"[]"),
        m.End(task=0, payload=b"{"),
        m.Cancel(task=0),
        m.Out(task=1, kind="Transcript", number=0, sent_s=1.0),
        m.End(task=99),
    ],
    ids=lambda each: each.type if isinstance(each, m.Message) else repr(each),
)
async def test_what_breaks_the_protocol_ends_the_connection_and_nothing_else(wrong):
    async with at_work() as (rig, hand, turn):
        await hand.say(wrong)
        await rig.until(lambda: not rig.hub.links)
        await hand.until(m.Bye)
        assert hand.got[-1].code == "protocol_violation"
        rig.start(rig.worker(name="honest"))
        result = await asyncio.wait_for(turn, 10)
        assert (result.error, result.tasks[0].attempt) == (None, 2)


async def flood(hand: ByHand, make: Callable[[int], m.Message], count: int = 500) -> None:
    for number in range(count):
        try:
            await hand.say(make(number))
        except Disconnected:
            return
    raise AssertionError("it was never stopped")


@pytest.mark.parametrize(
    "make",
    [
        out,
        lambda _: STARTED,
        lambda _: m.Credit(task=0, kind="Audio", count=1),
        lambda _: m.Drain(),
        lambda _: m.Capabilities(modules=(), concurrency=0),
    ],
    ids=["chunks", "starts", "credit", "farewells", "capabilities"],
)
async def test_a_flood_is_stopped(make):
    async with at_work() as (rig, hand, turn):
        turn.cancel()  # so that nobody takes what comes
        await flood(hand, make)
        assert not rig.hub.links
        # What was taken is bounded: a window of Chunks, some two hundred of anything else.
        assert len(rig.recorder.contents()) < 300


async def test_a_task_that_is_told_twice_is_told_once():
    async with at_work() as (rig, hand, turn):
        more = [out(1), m.End(task=0), m.Fail(task=0, code="module_failed", message="late")]
        await hand.say(STARTED, out(), m.End(task=0), *more)
        result = await turn
        assert (result.error, result.transcript) == (None, "a")
        assert rig.recorder.task_statuses("speech2text") == ["pending", "started", "completed"]
        assert len(rig.hub.links) == 1


async def test_a_result_that_comes_after_the_task_was_cancelled_changes_nothing():
    async with at_work() as (rig, hand, turn):
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        await hand.until(m.Cancel)
        assert rig.hub.links[0].room == 7
        await hand.say(STARTED, out(), m.End(task=0))
        assert rig.recorder.tasks[0].status == "cancelled"
        assert rig.hub.links[0].room == 8


async def test_moments_that_cannot_be_are_held_to_what_can():
    async with at_work() as (_, hand, turn):
        lie = {"asked_s": -1e9, "read_s": 1e9, "first_read_s": 1e9, "points": {"p": -1e9}}
        await hand.say(
            m.Started(task=0, got_s=1e9, at_s=-1e9),
            out(cause=("Audio", 0), **{**lie, "sent_s": -1e9}),
            m.End(task=0),
        )
        result = await turn
    profile = result.tasks[0].result_json["latency_profile"]
    assert all(value == pytest.approx(0.0, abs=1e-6) for value in profile.values())


async def test_no_more_is_sent_than_the_worker_allows():
    async with at_work(count=100) as (_, hand, _):
        ins = [each for each in hand.got if isinstance(each, m.In)]
        assert len(ins) == m.WINDOW
        await hand.say(m.Credit(task=0, kind="Audio", count=5))
        await settle()
        assert len([each for each in hand.got if isinstance(each, m.In)]) == m.WINDOW + 5


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (b"nothing", "protocol_violation"),
        (m.Drain(), "protocol_violation"),
        ({"protocol": 99}, "protocol_violation"),
        ({"worker_id": "embedded"}, "protocol_violation"),
        ({"worker_id": "../../../../etc/passwd"}, "protocol_violation"),
        ({"node": "another"}, "forbidden"),
    ],
)
async def test_who_cannot_be_let_in_is_told_why(hello, code):
    if isinstance(hello, dict):
        hello = m.Hello(**{**{n: getattr(HELLO, n) for n in HELLO.__slots__}, **hello})
    async with opened(STT) as rig, by_hand(rig, hello) as hand:
        bye = await hand.until(m.Bye)
        assert bye.code == code
        assert not rig.hub.links


async def test_the_id_of_a_worker_belongs_to_whoever_has_it():
    async with opened(STT) as rig, by_hand(rig):
        await rig.joined()
        here, there = pair()
        rig.serving.append(asyncio.create_task(serve_worker(here, rig.door, "somebody else")))
        other = ByHand(there)
        await other.say(HELLO)
        assert (await other.until(m.Bye)).code == "forbidden"
        assert len(rig.hub.links) == 1


async def test_modules_that_the_server_does_not_have_are_refused():
    hello = m.Hello(
        **{
            **{n: getattr(HELLO, n) for n in HELLO.__slots__},
            "modules": (Offer("speech2text", "9", True, 8), Offer("nothing", "1", True, 8)),
        }
    )
    async with opened(STT) as rig, by_hand(rig, hello) as hand:
        welcome = await hand.until(m.Welcome)
        assert [each.type for each in hand.got] == ["ping"] * 5 + ["welcome"]
        assert welcome.accepted == ()
        assert "version 1" in welcome.refused["speech2text"]
        assert "nothing" in welcome.refused["nothing"]


async def test_a_reply_to_no_ping_keeps_the_worker_out():
    async with opened(STT) as rig:
        here, there = pair()
        rig.serving.append(asyncio.create_task(serve_worker(here, rig.door, "test")))
        await there.send(m.write(HELLO))
        await settle()
        await there.send(pack({"type": "pong", "number": 0, "got_s": 2.0, "answered_s": 1.0,
                               "running": 0, "memory_mib": 0}))  # fmt: skip
        await settle()
        assert not rig.hub.links
        assert there.closed


async def nothing() -> AsyncIterator[bytes]:
    yield b""


async def test_a_worker_may_have_so_many_media_kept_and_no_more(monkeypatch):
    monkeypatch.setattr(media, "MOST_REFS", 2)
    exchange = media.MediaExchange("node-1")
    refs = [media.new_ref("node-1") for _ in range(4)]
    for ref in refs[:2]:
        await exchange.receive(ref, nothing(), "one")
    with pytest.raises(TooLarge):
        await exchange.receive(refs[2], nothing(), "one")
    await exchange.receive(refs[2], nothing(), "two")
    await exchange.put(b"the process itself has no such limit")
    await exchange.delete(refs[0])
    await exchange.receive(refs[3], nothing(), "one")
    exchange.close()


async def test_a_medium_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(media, "KEEP_S", 0.01)

    async def never() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.get_running_loop().create_future()

    exchange = media.MediaExchange("node-1", most_bytes=4)
    with pytest.raises(InvalidRequest, match="too long"):
        await asyncio.wait_for(exchange.receive(media.new_ref("node-1"), never(), "one"), 5)
    await exchange.put(b"full")  # all the room is there again
    exchange.close()
