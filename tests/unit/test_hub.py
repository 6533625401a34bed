"""The Hub: who gets a Task, in which order, and what happens when a Worker is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from turnlab.chunks import Audio, Chunk, Reply, Transcript, Value
from turnlab.clusters.plan import make_plan
from turnlab.errors import NoWorker, Saturated, WorkerLost
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.executors.embedded_link import EmbeddedLink
from turnlab.executors.hub import Hub
from turnlab.machine import Machine
from turnlab.modules.base import Inputs, Module
from turnlab.modules.registry import Registry
from turnlab.profiles import LatencyProfile
from turnlab.runner import Runner
from turnlab.server.peers import Lent
from turnlab.streams import LEAD
from turnlab.testing.clock import FakeClock
from turnlab.testing.rig import Rig, cluster_of
from turnlab.testing.scripted import Each, Hang, scripted
from turnlab.tracks import TrackStatus
from turnlab.work import Work

HEAR = scripted("hear", [Audio], Transcript, Transcript(text="hello", final=True))
ANSWER = scripted("answer", [Transcript], Reply, Reply(text="good"), Reply(text=" day"))


@dataclass
class FakeLink:
    """A Worker that does what a test lets it do."""

    id: str
    serves: dict[str, int]
    transport: str = "websocket"
    draining: bool = False
    room: int = 10
    given: list[tuple[str, str, int]] = field(default_factory=list)
    """Track, task and attempt of each Task that it was given."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    emits: int = 1
    lost: bool = False

    def places(self, task_name: str) -> int:
        return self.serves.get(task_name, 0)

    async def perform(self, work: Work, attempt: int) -> AsyncIterator[Chunk]:
        self.given.append((work.track_id, work.step.name, attempt))
        self.room -= 1
        try:
            work.claim(self.id, attempt)
            await self.go.wait()
            for _ in range(self.emits):
                yield Reply(text=f"by {self.id}")
            if self.lost:
                raise WorkerLost()
        finally:
            self.room += 1


class OnePlace:
    """The embedded Worker with one place for all Tasks."""

    id, transport, draining = "W1", "websocket", False

    def __init__(self, link: EmbeddedLink) -> None:
        self.room = 1
        self._link = link

    def places(self, task_name: str) -> int:
        return 1

    async def perform(self, work: Work, attempt: int) -> AsyncIterator[Chunk]:
        self.room = 0
        try:
            async for chunk in self._link.perform(work, attempt):
                yield chunk
        finally:
            self.room = 1


def work_of(track: str = "T1", name: str = "answer", priority: int = 1) -> Work:
    registry = Registry([HEAR, ANSWER])
    plan = make_plan(cluster_of(HEAR, ANSWER), registry)
    step = next(step for step in plan.steps if step.name == name)
    clock = FakeClock()
    return Work(
        track_id=track,
        task_id=f"{track}-{name}",
        step=step,
        inputs=Inputs({}),
        latency=LatencyProfile(clock),
        urgency=lambda: 1,
        history=(),
        claim=lambda *_, **__: None,
        priority=priority,
    )


async def run(hub: Hub, work: Work) -> list[str]:
    return [chunk.text async for chunk in hub.perform(work) if isinstance(chunk, Reply)]


async def spin() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_task_goes_to_a_worker_that_serves_it() -> None:
    hub = Hub()
    other, able = FakeLink("W1", {"hear": 1}), FakeLink("W2", {"answer": 1})
    for link in (other, able):
        link.go.set()
        hub.join(link)
    assert await run(hub, work_of()) == ["by W2"]
    assert not other.given


async def test_the_embedded_worker_takes_what_is_left() -> None:
    hub = Hub()
    near = FakeLink("embedded", {"answer": 9}, transport="embedded")
    far = FakeLink("W1", {"answer": 1})
    hub.join(near)
    hub.join(far)
    runs = [asyncio.create_task(run(hub, work_of(f"T{i}"))) for i in range(3)]
    await spin()
    assert (len(far.given), len(near.given)) == (1, 2)
    far.go.set()
    near.go.set()
    await asyncio.gather(*runs)


async def test_no_worker_gets_more_than_it_has_places_for() -> None:
    hub = Hub()
    link = FakeLink("W1", {"answer": 2, "hear": 9}, room=3)
    hub.join(link)
    works = [work_of(f"T{i}") for i in range(4)] + [work_of(f"S{i}", "hear") for i in range(4)]
    runs = [asyncio.create_task(run(hub, work)) for work in works]
    await spin()
    assert [name for _, name, _ in link.given].count("answer") == 2
    assert len(link.given) == 3
    assert hub.room("answer").waiting + hub.room("hear").waiting == 5
    link.go.set()
    await asyncio.gather(*runs)
    assert len(link.given) == 8
    assert hub.room("answer").running == hub.room("hear").running == 0


async def test_first_turns_of_live_conversations_go_before_batch_work() -> None:
    hub = Hub()
    link = FakeLink("W1", {"answer": 1})
    hub.join(link)
    first = asyncio.create_task(run(hub, work_of("busy")))
    await spin()
    order = [("batch", 2), ("later", 1), ("first", 0), ("batch2", 2)]
    runs = [asyncio.create_task(run(hub, work_of(name, priority=p))) for name, p in order]
    await spin()
    link.go.set()
    await asyncio.gather(first, *runs)
    assert [track for track, _, _ in link.given] == ["busy", "first", "later", "batch", "batch2"]


async def test_a_track_with_many_tasks_does_not_starve_the_others() -> None:
    hub = Hub()
    link = FakeLink("W1", {"answer": 2})
    hub.join(link)
    many = [asyncio.create_task(run(hub, work_of("many"))) for _ in range(5)]
    await spin()
    one = asyncio.create_task(run(hub, work_of("one")))
    await spin()
    link.go.set()
    await asyncio.gather(one, *many)
    assert [track for track, _, _ in link.given].index("one") == 2


async def test_a_task_is_tried_once_elsewhere_if_nothing_had_been_emitted() -> None:
    hub = Hub()
    bad, good = FakeLink("W1", {"answer": 1}, emits=0, lost=True), FakeLink("W2", {"answer": 1})
    bad.go.set()
    good.go.set()
    hub.join(bad)
    work = work_of()
    running = asyncio.create_task(run(hub, work))
    await spin()
    hub.join(good)
    assert await running == ["by W2"]
    assert bad.given == [("T1", "answer", 1)]
    assert good.given == [("T1", "answer", 2)]


async def test_a_task_that_had_emitted_fails_with_its_worker() -> None:
    hub = Hub()
    bad, good = FakeLink("W1", {"answer": 1}, emits=1, lost=True), FakeLink("W2", {"answer": 0})
    bad.go.set()
    hub.join(bad)
    hub.join(good)
    with pytest.raises(WorkerLost):
        await run(hub, work_of())
    assert not good.given


async def test_a_task_is_not_tried_a_third_time() -> None:
    hub = Hub()
    bad = [FakeLink(f"W{i}", {"answer": 1}, emits=0, lost=True) for i in range(3)]
    for link in bad:
        link.go.set()
        hub.join(link)
    with pytest.raises(WorkerLost):
        await run(hub, work_of())
    assert sum(len(link.given) for link in bad) == 2


async def test_nobody_serves_it() -> None:
    hub = Hub(patience_s=0.01)
    with pytest.raises(NoWorker, match="turnlab worker --tasks answer"):
        await run(hub, work_of())
    assert hub.room("answer").waiting == 0


async def test_a_wait_has_an_end() -> None:
    hub = Hub(patience_s=0.01, longest_wait_s=0.02)
    link = FakeLink("W1", {"answer": 1})
    hub.join(link)
    first = asyncio.create_task(run(hub, work_of("T1")))
    await spin()
    with pytest.raises(Saturated):
        await run(hub, work_of("T2"))
    link.go.set()
    assert await first == ["by W1"]


async def test_a_worker_that_drains_or_has_left_gets_nothing() -> None:
    hub = Hub(patience_s=0.01)
    link = FakeLink("W1", {"answer": 1}, draining=True)
    hub.join(link)
    with pytest.raises(NoWorker):
        await run(hub, work_of())
    link.draining = False
    hub.leave(link)
    with pytest.raises(NoWorker):
        await run(hub, work_of())


async def test_a_cancelled_wait_leaves_no_trace() -> None:
    hub = Hub()
    waiting = asyncio.create_task(run(hub, work_of()))
    await spin()
    assert hub.room("answer").waiting == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    link = FakeLink("W1", {"answer": 1})
    link.go.set()
    hub.join(link)
    assert (hub.room("answer").waiting, hub.room("answer").running) == (0, 0)
    assert await run(hub, work_of("T2")) == ["by W1"]


async def test_work_of_another_process_goes_only_to_workers_of_this_one() -> None:
    hub = Hub(patience_s=0.01)
    for transport in ("embedded", "node"):
        hub.join(FakeLink(transport, {"answer": 1}, transport=transport))
    with pytest.raises(NoWorker):
        [chunk async for chunk in hub.own().perform(work_of())]


async def test_a_lost_worker_leaves_a_whole_record_of_the_second_attempt() -> None:
    """A turn whose first Worker is lost before it emitted completes on the second."""
    rig = Rig(ANSWER, cluster=cluster_of(ANSWER), given=[Transcript])
    hub = Hub(rig.clock)
    bad, good = FakeLink("W1", {"answer": 1}, emits=0, lost=True), FakeLink("W2", {"answer": 1})
    bad.go.set()
    good.go.set()
    hub.join(bad)
    hub.join(good)
    rig.runner = Runner(hub, rig.recorder)
    result = await rig.run(Transcript(text="hi", final=True), kinds=(Transcript,))
    assert result.track.status is TrackStatus.COMPLETED
    (task,) = result.tasks
    assert (task.worker, task.attempt, task.status) == ("W2", 2, "completed")


async def test_a_worker_that_has_connected_anew_may_have_the_task_again() -> None:
    hub = Hub()
    before = FakeLink("W1", {"answer": 1}, emits=0, lost=True)
    after = FakeLink("W1", {"answer": 1})
    before.go.set()
    after.go.set()
    hub.join(before)
    running = asyncio.create_task(run(hub, work_of()))
    await spin()
    hub.leave(before)
    hub.join(after)
    assert await running == ["by W1"]


async def test_a_task_that_waits_for_the_place_of_its_producer_does_not_hold_it_up() -> None:
    """One place for two Components, of which the first writes more than a reader may be behind."""
    many = [Reply(text=f"{number} ") for number in range(3 * LEAD)]
    write = scripted("write", [Transcript], Reply, *many)
    speak = scripted("speak", [Reply], Value, Each(Reply, lambda _: None), Value(value="spoken"))
    rig = Rig(write, speak, given=[Transcript])
    hub = Hub(rig.clock, longest_wait_s=5.0)
    hub.join(OnePlace(EmbeddedLink(rig.executor, rig.registry)))
    rig.runner = Runner(hub, rig.recorder)
    result = await rig.run(Transcript(text="hi", final=True), kinds=(Transcript,))
    assert result.track.status is TrackStatus.COMPLETED


async def test_a_worker_that_left_with_a_task_in_hand_comes_back_with_as_many_places() -> None:
    hub = Hub()
    before, after = (FakeLink("W1", {"answer": 9}, room=1) for _ in range(2))
    hub.join(before)
    first = asyncio.create_task(run(hub, work_of("T1")))
    await spin()
    second = asyncio.create_task(run(hub, work_of("T2")))
    await spin()
    before.go.set()
    while hub.room("answer").waiting:  # noqa: ASYNC110 - it is about this very moment
        await asyncio.sleep(0)
    assert len(before.given) == 1  # the second was handed out, and nobody has begun with it
    hub.leave(before)
    hub.join(after)
    third = asyncio.create_task(run(hub, work_of("T3")))
    await spin()
    assert len(after.given) == 1
    assert (hub.room("answer").running, hub.room("answer").waiting) == (1, 1)
    after.go.set()
    await asyncio.gather(first, second, third)
    assert {track for track, *_ in after.given} == {"T2", "T3"}
    assert (hub.running_on(before), hub.running_on(after)) == (0, 0)


async def test_a_worker_that_leaves_later_leaves_nobody_waiting_for_long() -> None:
    hub = Hub(patience_s=0.04, longest_wait_s=60.0)
    link = FakeLink("W1", {"answer": 1})
    hub.join(link)
    first = asyncio.create_task(run(hub, work_of("T1")))
    await spin()
    second = asyncio.create_task(run(hub, work_of("T2")))
    assert not (await asyncio.wait([second], timeout=0.08))[0]  # somebody serves it
    hub.leave(link)
    with pytest.raises(NoWorker, match="No worker serves answer"):
        await asyncio.wait_for(second, 10)
    link.go.set()
    await first


class Relay(FakeLink):
    """The Workers of another process, where a Task waits until the test lets it go on."""

    def __init__(self, module: type[Module]) -> None:
        super().__init__("N1", {module.task_name: 1}, transport="node")
        self.executor = EmbeddedExecutor(Machine(clock=FakeClock()))

    async def perform(self, work: Work, attempt: int) -> AsyncIterator[Chunk]:
        self.given.append((work.track_id, work.step.name, attempt))
        await self.go.wait()
        async for chunk in self.executor.perform(work):
            yield chunk


@pytest.mark.parametrize("rest", [[Reply(text="late")], [Hang()]], ids=["ends", "hangs"])
async def test_the_time_of_a_task_begins_once_another_process_begins_with_it(rest: Any) -> None:
    slow = scripted("answer", [Transcript], Reply, *rest, timeout_s=1.0)
    rig = Rig(slow, given=[Transcript])
    hub, relay = Hub(rig.clock), Relay(slow)
    relay.executor = rig.executor
    hub.join(relay)
    rig.runner = Runner(hub, rig.recorder)
    said = Transcript(text="hi", final=True)
    turn = asyncio.create_task(rig.run(said, kinds=(Transcript,)))
    await spin()
    assert relay.given
    await rig.clock.advance(60.0)
    assert not turn.done()
    relay.go.set()
    result = await asyncio.wait_for(turn, 10)
    wanted = "" if rest != [Hang()] and isinstance(rest[0], Reply) else "module_timeout"
    assert (result.error.code if result.error else "") == wanted


async def test_what_is_lent_to_another_process_is_what_nobody_else_uses() -> None:
    hub = Hub()
    link = FakeLink("W1", {"answer": 2}, room=2)
    hub.join(link)
    theirs, others = hub.own(), hub.own()
    lent = [Lent(hub, Registry([HEAR, ANSWER]), each) for each in (theirs, others)]

    def told() -> list[tuple[int, int]]:
        for each in lent:
            each.renew()
        return [(each.concurrency, each.offers()[0].places) for each in lent]

    assert told() == [(2, 2), (2, 2)]
    runs = [asyncio.create_task(taken(theirs.perform(work_of("T1"))))]
    await spin()
    assert told() == [(2, 2), (1, 1)]
    runs.append(asyncio.create_task(run(hub, work_of("T2"))))
    await spin()
    # One place is told of all the same: a Task that only this Worker can run may wait for it.
    assert told() == [(1, 1), (0, 1)]
    link.go.set()
    await asyncio.gather(*runs)
    assert told() == [(2, 2), (2, 2)]


async def test_a_process_whose_workers_are_busy_is_passed_over_for_the_embedded_worker() -> None:
    hub = Hub()
    busy = FakeLink("N1", {"answer": 1}, transport="node", room=0)
    near = FakeLink("embedded", {"answer": 1}, transport="embedded")
    near.go.set()
    hub.join(busy)
    hub.join(near)
    assert await run(hub, work_of()) == ["by embedded"]


async def test_whoever_lends_workers_is_told_when_they_get_busy_and_free() -> None:
    hub = Hub()
    seen: list[int] = []
    hub.watch(lambda: seen.append(hub.room("answer").running), tasks=True)
    link = FakeLink("W1", {"answer": 1})
    link.go.set()
    hub.join(link)
    await run(hub, work_of())
    assert seen == [0, 1, 0]


async def taken(chunks: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in chunks]
