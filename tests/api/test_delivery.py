"""A Track that was accepted is run, once, whatever goes away in between."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from benchmarks.chaos import survive
from benchmarks.delivery import deliver
from benchmarks.parts.relay_service import relay_service
from tests.api.delivery_rig import CLUSTERS, MODULES
from turnlab.chunks import Reply, Transcript
from turnlab.clusters.catalogue import find_clusters
from turnlab.errors import DatabaseUnavailable
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.executors.embedded_link import EmbeddedLink
from turnlab.modules.base import Context, Inputs, Module
from turnlab.modules.registry import find_modules
from turnlab.server import models, ownership
from turnlab.server.membership import Membership
from turnlab.server.node import Node, NodeSettings
from turnlab.server.ownership import Owned
from turnlab.server.requests import TrackRequest
from turnlab.tracks import Mode, Track, TrackStatus, new_track_id
from turnlab.work import Priority

ASKED = TrackRequest(cluster="CLUSTER_FAST", text="hello there")
LATER = TrackRequest(cluster="CLUSTER_FAST", text="hello there", priority=Priority.BATCH)

go_on = threading.Event()


class Held(Module):
    """Answers when it is told to go on; one at a time."""

    task_name = "held"
    consumes, produces = (Transcript,), Reply
    concurrency = 1

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Reply]:
        await context.blocking(go_on.wait, 20.0)
        yield Reply(text="done")


@pytest.fixture
async def node(database: Path) -> AsyncIterator[Node]:
    """An API process without a worker."""
    registry = find_modules([MODULES])
    registry.add(Held)
    go_on.clear()
    node = Node(registry, find_clusters([CLUSTERS]), NodeSettings(embedded=False, lease_s=1.0))
    yield node
    go_on.set()
    await node.finish()
    await node.stop()


@pytest.fixture
async def worker(node: Node) -> AsyncIterator[EmbeddedLink]:
    """It serves everything, once it has joined the Hub."""
    executor = EmbeddedExecutor()
    yield EmbeddedLink(executor, node.registry)
    await executor.close()


async def accepted(node: Node, request: TrackRequest) -> str:
    return (await node.accept(request, owner="somebody")).track_id


async def statuses(node: Node) -> Counter[str]:
    def read() -> list[str]:
        return list(models.Track.objects.values_list("status", flat=True))

    return Counter(await node.database.call(read))


async def become(node: Node, expected: dict[str, int]) -> None:
    """Wait until so many Tracks have these statuses."""
    deadline_s = time.monotonic() + 20
    while (found := await statuses(node)) != expected:
        assert time.monotonic() < deadline_s, found
        await asyncio.sleep(0.01)


def losing(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which commits, whereupon the database goes away; once."""
    lost: list[bool] = []

    def called(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not lost:
            lost.append(True)
            raise OperationalError("server closed the connection unexpectedly")
        return result

    return called


async def test_a_track_is_begun_although_its_client_has_gone_away(
    node: Node, worker: EmbeddedLink, monkeypatch: pytest.MonkeyPatch
):
    node.hub.join(worker)
    inserting, gone = threading.Event(), threading.Event()
    insert = ownership.insert

    def slow(*args: Any, **kwargs: Any) -> str:
        inserting.set()
        assert gone.wait(10)
        return insert(*args, **kwargs)

    monkeypatch.setattr(ownership, "insert", slow)
    request = asyncio.create_task(accepted(node, ASKED))
    await asyncio.to_thread(inserting.wait, 10)
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request
    gone.set()
    await become(node, {"completed": 1})


async def test_a_track_is_begun_although_the_answer_to_its_commit_was_lost(
    node: Node, worker: EmbeddedLink, monkeypatch: pytest.MonkeyPatch
):
    node.hub.join(worker)
    monkeypatch.setattr(ownership, "insert", losing(ownership.insert))
    with pytest.raises(DatabaseUnavailable):
        await accepted(node, ASKED)
    assert await statuses(node) == {"started": 1}
    assert node.under_way == 0
    membership = Membership(node)
    await membership.begin()
    await become(node, {"completed": 1})
    await membership.end()


async def test_a_track_is_begun_although_the_answer_to_its_claim_was_lost(
    node: Node, worker: EmbeddedLink, monkeypatch: pytest.MonkeyPatch
):
    await accepted(node, LATER)
    assert await statuses(node) == {"pending": 1}
    monkeypatch.setattr(ownership, "claim_waiting", losing(ownership.claim_waiting))
    node.hub.join(worker)
    await become(node, {"started": 1})
    membership = Membership(node)
    await membership.begin()
    await become(node, {"completed": 1})
    await membership.end()


async def test_a_track_under_way_is_not_taken_for_a_stray(node: Node, worker: EmbeddedLink):
    node.hub.join(worker)
    request = TrackRequest(task_name="held", text="hello", priority=Priority.BATCH)
    await accepted(node, request)
    await become(node, {"started": 1})
    assert await node.strayed() == []
    go_on.set()
    await become(node, {"completed": 1})


async def test_no_more_tracks_are_claimed_than_there_is_room_for(
    node: Node, worker: EmbeddedLink, monkeypatch: pytest.MonkeyPatch
):
    put_back: list[Any] = []
    monkeypatch.setattr(ownership, "put_back", lambda *args: put_back.append(args))
    request = TrackRequest(task_name="held", text="hello", priority=Priority.BATCH)
    for _ in range(10):
        await accepted(node, request)
    node.hub.join(worker)
    await become(node, {"started": 4, "pending": 6})  # four for each place
    go_on.set()
    await become(node, {"completed": 10})
    assert not put_back


def test_a_track_that_was_put_back_counts_as_not_begun(database: Path):
    track = Track(
        track_id=new_track_id("CLUSTER_FAST"),
        cluster="CLUSTER_FAST",
        cluster_hash="0",
        mode=Mode.STREAMED,
        created_at=datetime.now(UTC),
        status=TrackStatus.PENDING,
    )
    owned = Owned(track_id=track.track_id, request=LATER, owner="somebody", project="default")
    ownership.insert(track, owned, node="")
    for _ in range(3):
        (taken,), _ = ownership.claim_waiting("N-1", {"CLUSTER_FAST": 1}, 16)
        ownership.put_back("N-1", [taken.track_id])
    (taken,), _ = ownership.claim_waiting("N-1", {"CLUSTER_FAST": 1}, 16)
    assert ownership.may_begin_again(taken)
    for _ in range(2):
        taken = ownership.note_beginning(taken)
    assert not ownership.may_begin_again(taken)


@pytest.mark.slow
def test_many_tracks_at_once_lose_nothing_and_run_nothing_twice():
    with relay_service("sqlite", workers=2) as service:
        assert deliver(service, "sqlite", 60).tasks == 300


@pytest.mark.slow
def test_killed_workers_and_a_killed_server_lose_nothing():
    survived = survive("sqlite", seconds=10.0)
    assert survived.wrong == []
    assert survived.accepted > 50
    assert survived.workers_killed >= 3
    assert survived.servers_killed == 1
    assert survived.completed > survived.accepted / 2
