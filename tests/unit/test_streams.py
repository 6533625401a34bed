"""Streams: one producer, any number of readers, bounded, closed cleanly, spilled to a file."""

from __future__ import annotations

import asyncio
import tempfile

import numpy as np
import pytest

from turnlab.chunks import Audio, Origin, Reply, Transcript
from turnlab.errors import (
    InvalidAudio,
    InvalidModule,
    ModuleFailed,
    SpillFailed,
    StreamCancelled,
)
from turnlab.spill import Spill, Spilled
from turnlab.streams import Stream, whole
from turnlab.testing import FakeClock
from turnlab.testing.clock import settle


def reply_stream(**fields) -> Stream[Reply]:
    return Stream(Reply, clock=FakeClock(), **fields)


async def texts(stream: Stream[Reply]) -> list[str]:
    return [chunk.text async for chunk in stream.read()]


async def put(stream: Stream[Reply], *pieces: str) -> None:
    for text in pieces:
        await stream.put(Reply(text=text))


async def test_each_reader_starts_from_the_beginning():
    stream = reply_stream()
    early = asyncio.create_task(texts(stream))
    await put(stream, "a", "b")
    middle = asyncio.create_task(texts(stream))
    await put(stream, "c")
    stream.end()
    assert await early == await middle == await texts(stream) == ["a", "b", "c"]
    assert stream.gathered().text == "abc"
    assert (await whole(stream.read(), Reply)).text == "abc"


async def test_an_empty_stream_gathers_to_nothing():
    stream = reply_stream()
    stream.end()
    assert stream.gathered() is None
    assert await whole(stream.read(), Reply) is None
    assert await stream.begun() is False
    assert stream.newest is None


async def test_a_producer_waits_for_its_foremost_reader():
    stream = reply_stream(consumers=2, lead=2)
    producing = asyncio.create_task(put(stream, *"abcde"))
    await settle()
    assert len(stream) == 2
    reader = stream.read()
    await anext(reader)
    await settle()
    assert len(stream) == 3
    assert [chunk.text for chunk in [await anext(reader) for _ in range(4)]] == list("bcde")
    await producing


async def test_a_slow_second_reader_holds_nobody_up():
    stream = reply_stream(consumers=2, lead=1)
    fast = asyncio.create_task(texts(stream))
    await put(stream, *"abc")
    stream.end()
    assert await fast == list("abc")
    assert await texts(stream) == list("abc")


async def test_without_consumers_a_producer_runs_freely():
    stream = reply_stream(consumers=1, lead=1)
    producing = asyncio.create_task(put(stream, *"abc"))
    await settle()
    assert not producing.done()
    stream.release()
    await producing
    assert len(stream) == 3


@pytest.mark.parametrize("close", ["end", "cancel", "fail"])
async def test_closing_frees_a_producer_that_waits(close):
    stream = reply_stream(consumers=1, lead=1)
    producing = asyncio.create_task(put(stream, *"ab"))
    await settle()
    getattr(stream, close)(*([ModuleFailed()] if close == "fail" else []))
    with pytest.raises((StreamCancelled, ModuleFailed)):
        await producing
    assert len(stream) == 1


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        (lambda s: s.end(), None),
        (lambda s: s.fail(ModuleFailed("broken")), ModuleFailed),
        (lambda s: s.cancel(), StreamCancelled),
    ],
    ids=["end", "fail", "cancel"],
)
async def test_readers_get_what_there_is_and_then_learn_how_it_closed(close, expected):
    stream = reply_stream()
    await put(stream, "a")
    got: list[str] = []

    async def read() -> None:
        async for chunk in stream.read():
            got.append(chunk.text)

    waiting = [asyncio.create_task(read()), asyncio.create_task(stream.finished())]
    await settle()
    assert got == ["a"]
    close(stream)
    for job in waiting:
        if expected is None:
            await job
        else:
            with pytest.raises(expected):
                await job
    assert stream.closed


async def test_only_the_first_way_of_closing_counts():
    stream = reply_stream()
    stream.end()
    stream.fail(ModuleFailed())
    stream.cancel()
    await stream.finished()


async def test_a_reader_that_is_cancelled_disturbs_nobody():
    stream = reply_stream()
    gone = asyncio.create_task(texts(stream))
    stays = asyncio.create_task(texts(stream))
    await settle()
    gone.cancel()
    await put(stream, "a")
    stream.end()
    assert await stays == ["a"]


async def test_a_reader_knows_when_it_asked_and_when_it_got():
    clock = FakeClock(10.0)
    stream = Stream(Reply, clock=clock)
    reader = stream.read()
    reading = asyncio.ensure_future(anext(reader))
    await clock.advance(2.0)
    await stream.put(Reply(text="a"))
    await reading
    assert (reader.asked_s, reader.read_s) == (10.0, 12.0)


async def test_what_nobody_stamped_was_said_by_the_producer_just_now():
    stream = reply_stream(producer="llm")
    await stream.put(Reply(text="a"))
    assert stream.newest.origin == Origin(producer="llm", emitted_s=100.0)


async def test_a_chunk_of_another_stream_keeps_its_own_origin():
    first, second = reply_stream(producer="first"), reply_stream(producer="second")
    await put(first, "a")
    await second.put(first.newest, Origin(producer="second", emitted_s=101.0))
    assert first.newest.origin.producer == "first"
    assert second.newest.origin.producer == "second"


async def test_a_chunk_of_another_kind_is_refused():
    stream = reply_stream(producer="llm")
    with pytest.raises(InvalidModule, match="llm emitted Transcript, not Reply"):
        await stream.put(Transcript(text="a"))
    with pytest.raises(InvalidModule, match="llm emitted str"):
        await stream.put("a")
    assert not len(stream)


async def test_sound_keeps_to_one_rate():
    stream = Stream(Audio, clock=FakeClock())
    await stream.put(sound(1))
    with pytest.raises(InvalidAudio, match="keep to one rate"):
        await stream.put(Audio(samples=np.zeros(1, np.float32), sample_rate=8_000))
    assert stream.gathered().sample_rate == 16_000


def sound(number: int, count: int = 250) -> Audio:
    return Audio(samples=np.full(count, number / 100, dtype=np.float32), sample_rate=16_000)


async def test_sound_beyond_the_cap_moves_to_a_file_and_comes_back_the_same():
    spill = Spill(cap_bytes=3_000)
    stream = Stream(Audio, clock=FakeClock(), spill=spill)
    for number in range(10):
        await stream.put(sound(number))
    stream.end()
    assert spill.held_bytes <= 3_000
    assert sum(isinstance(entry, Spilled) for entry in stream._log) == 7
    for _ in range(2):
        heard = [chunk async for chunk in stream.read()]
        assert [round(float(c.samples[0]) * 100) for c in heard] == list(range(10))
        assert all(c.origin.producer == "user" for c in heard)
    in_a_thread = await asyncio.to_thread(lambda: [len(chunk.samples) for chunk in stream])
    assert in_a_thread == [250] * 10


async def test_streams_of_one_track_share_the_cap():
    spill = Spill(cap_bytes=3_000)
    one, other = (Stream(Audio, clock=FakeClock(), spill=spill) for _ in range(2))
    for number in range(5):
        await one.put(sound(number))
        await other.put(sound(number))
    assert spill.held_bytes <= 3_000
    assert len(one.gathered().samples) == len(other.gathered().samples) == 1_250


async def test_a_full_disk_is_an_error_that_says_so(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    spill = Spill(cap_bytes=1_500)
    stream = Stream(Audio, clock=FakeClock(), spill=spill)
    await stream.put(sound(1))
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(SpillFailed, match="No space left"):
        await stream.put(sound(2))
    monkeypatch.undo()
    await stream.put(sound(3))
    assert spill.held_bytes <= 1_500
    assert len(stream.gathered().samples) == 750
