"""The machine: blocking calls in threads, stopped by cancellation; the urgent go first."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import aclosing

import pytest

from turnlab.machine import Machine
from turnlab.profiles import LatencyProfile
from turnlab.testing import Block, FakeClock
from turnlab.testing.clock import settle


@pytest.fixture
def machine():
    machine = Machine(clock=FakeClock(), threads=4)
    yield machine
    machine.close()


class Job:
    """A blocking call of one Task, which works until it is told to stop."""

    def __init__(self, machine: Machine, urgency: int) -> None:
        self.stop = threading.Event()
        self.block = Block()
        latency = LatencyProfile(machine.clock)
        self.task = asyncio.ensure_future(
            machine.call(latency, self.stop, urgency, self.block.until, self.stop)
        )

    async def begin(self) -> Job:
        assert await asyncio.to_thread(self.block.begun.wait, 5)
        return self

    async def end(self) -> None:
        self.stop.set()
        await self.task


async def working(machine: Machine, urgency: int) -> Job:
    return await Job(machine, urgency).begin()


def latency(machine: Machine) -> LatencyProfile:
    return LatencyProfile(machine.clock)


async def test_a_call_returns_and_notes_its_wait_for_a_thread(machine):
    profile = latency(machine)
    result = await machine.call(profile, threading.Event(), 1, lambda a, b: a + b, 1, b=2)
    assert result == 3
    assert [(each.kind, each.label) for each in profile.intervals] == [("queue", "thread")]
    assert machine.working == 0


async def test_what_a_thread_raises_comes_out(machine):
    with pytest.raises(ZeroDivisionError):
        await machine.call(latency(machine), threading.Event(), 1, lambda: 1 / 0)
    assert machine.working == 0


async def test_cancelling_a_call_stops_and_joins_its_thread(machine):
    job = await working(machine, 1)
    job.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job.task
    assert job.stop.is_set()
    assert job.block.ended.is_set()
    assert machine.working == 0


async def test_a_cancelled_call_that_waits_for_a_thread_never_begins():
    machine = Machine(clock=FakeClock(), threads=1)
    busy = await working(machine, 1)
    waiting = Job(machine, 1)
    await settle()
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    await busy.end()
    machine.close()
    assert not waiting.block.begun.is_set()


async def test_the_less_urgent_must_pause_until_the_urgent_are_done(machine):
    assert not machine.must_pause(1)
    first, second = await working(machine, 3), await working(machine, 2)
    assert [machine.must_pause(urgency) for urgency in (0, 1, 2, 3)] == [True, True, True, False]
    order: list[int] = []

    async def wait(urgency: int) -> None:
        await machine.turn(urgency)
        order.append(urgency)

    waiting = [asyncio.create_task(wait(urgency)) for urgency in (1, 2, 3)]
    await settle()
    assert order == [3]
    await first.end()
    await settle()
    assert order == [3, 2]
    await second.end()
    await asyncio.gather(*waiting)
    assert order == [3, 2, 1]


async def test_a_task_never_makes_way_for_itself(machine):
    """Its urgency may fall while it works, as when the listener has sound again."""
    job = await working(machine, 3)
    assert not machine.must_pause(1, job.stop)
    await machine.turn(1, job.stop)
    assert machine.must_pause(1)
    await job.end()


def pausable(machine: Machine, block: Block, stop: threading.Event) -> asyncio.Future[list[object]]:
    """A Task that can pause, at work until `stop`."""

    async def run() -> list[object]:
        stream = machine.stream(
            latency(machine), threading.Event(), 1, lambda emit: block.until(stop), pausable=True
        )
        return [item async for item in stream]

    return asyncio.ensure_future(run())


async def test_an_urgent_call_begins_when_those_that_can_pause_have_left(machine):
    block, stop = Block(), threading.Event()
    writing = pausable(machine, block, stop)
    assert await asyncio.to_thread(block.begun.wait, 5)
    begun: list[str] = []
    urgent = asyncio.ensure_future(
        machine.call(latency(machine), threading.Event(), 2, begun.append, "urgent")
    )
    await settle()
    assert machine.must_pause(1)
    assert not begun
    stop.set()
    await writing
    await urgent
    assert begun


async def test_an_urgent_call_does_not_wait_for_long(machine):
    block, stop = Block(), threading.Event()
    writing = pausable(machine, block, stop)
    assert await asyncio.to_thread(block.begun.wait, 5)
    await machine.call(latency(machine), threading.Event(), 2, lambda: None)
    assert not writing.done()
    stop.set()
    await writing


async def test_nobody_pauses_where_nobody_yields():
    machine = Machine(clock=FakeClock(), yielding=False)
    job = await working(machine, 9)
    assert not machine.must_pause(0)
    await machine.turn(0)
    await job.end()
    machine.close()


async def test_a_cancelled_wait_for_ones_turn_is_forgotten(machine):
    job = await working(machine, 2)
    waiting = asyncio.create_task(machine.turn(1))
    await settle()
    waiting.cancel()
    await settle()
    await job.end()
    assert waiting.cancelled()
    assert machine._waiting == []


async def test_a_stream_gives_all_that_its_thread_emits_in_order(machine):
    def count(emit):
        for number in range(100):
            emit(number)

    stop = threading.Event()
    async with aclosing(machine.stream(latency(machine), stop, 1, count)) as numbers:
        assert [number async for number in numbers] == list(range(100))
    assert not stop.is_set()


async def test_a_stream_gives_what_there_was_and_then_raises(machine):
    def fail(emit):
        emit(1)
        raise ZeroDivisionError

    numbers = machine.stream(latency(machine), threading.Event(), 1, fail)
    assert await anext(numbers) == 1
    with pytest.raises(ZeroDivisionError):
        await anext(numbers)


async def test_leaving_a_stream_early_stops_and_joins_its_thread(machine):
    stop, ended = threading.Event(), threading.Event()

    def count(emit):
        emit(1)
        stop.wait(5)
        ended.set()

    async with aclosing(machine.stream(latency(machine), stop, 1, count)) as numbers:
        async for _ in numbers:
            break
    assert ended.is_set()
    assert machine.working == 0


async def test_a_stream_that_is_left_open_is_stopped_with_its_task(machine):
    """`async for` does not close what it iterates when its block is left by an error."""
    stop, ended = threading.Event(), threading.Event()

    def count(emit):
        emit(1)
        stop.wait(5)
        ended.set()

    async for _ in machine.stream(latency(machine), stop, 1, count):
        break
    await machine.stopped(stop)
    assert ended.is_set()
    await settle()
    gc.collect()
    await settle()
    assert machine.working == 0


async def test_a_stream_ends_when_the_machine_closes_before_it_began():
    machine = Machine(clock=FakeClock(), threads=1)
    busy = await working(machine, 1)
    stream = machine.stream(latency(machine), threading.Event(), 1, lambda emit: emit(1))
    reading = asyncio.ensure_future(anext(stream))
    await settle()
    machine.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(reading, 5)
    await busy.end()
