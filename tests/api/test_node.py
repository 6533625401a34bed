"""One API process by itself: what is accepted is begun, ended or put back, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from turnlab.clusters import find_clusters
from turnlab.errors import DatabaseUnavailable, Saturated, ServerLost
from turnlab.modules.registry import find_modules
from turnlab.server import models, ownership
from turnlab.server.membership import Membership
from turnlab.server.node import Node, NodeSettings
from turnlab.server.requests import TrackRequest
from turnlab.server.running import Running
from turnlab.server.waiting import Waiting
from turnlab.work import Priority

PARTS = Path(__file__).parent / "parts"


def asked(**changes: object) -> TrackRequest:
    values = {"cluster": "CLUSTER_FAST", "text": "what a day", "priority": Priority.BATCH}
    return TrackRequest(**{**values, **changes})  # type: ignore[arg-type]


def slow(**changes: object) -> TrackRequest:
    return asked(
        text="word " * 100, overrides={"fast_answer": {"word_s": 0.2, "words": 100}}, **changes
    )


def make_node(**settings: object) -> Node:
    return Node(
        find_modules([PARTS / "modules"]),
        find_clusters([PARTS / "clusters"]),
        NodeSettings(**settings),  # type: ignore[arg-type]
    )


async def stop(node: Node) -> None:
    await node.finish()
    await node.stop()


@pytest.fixture
async def node(database: Path) -> AsyncIterator[Node]:
    node = make_node()
    yield node
    await stop(node)


async def row(node: Node, track_id: str) -> models.Track:
    return await node.database.call(models.Track.objects.get, track_id=track_id)


async def ended(node: Node, track_id: str) -> models.Track:
    """The row of a Track that has ended, once nothing of it is under way here."""
    async with asyncio.timeout(20):
        while (found := await row(node, track_id)).status in ("pending", "started"):  # noqa: ASYNC110 (a row has no events)
            await asyncio.sleep(0.01)
    await until(lambda: node.running(track_id) is None)
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (anything may make it true)
            await asyncio.sleep(0.01)


async def begun(node: Node, track_id: str) -> Running:
    """The Track, once a Worker has begun with a Task of it."""
    running = node.running(track_id)
    assert running is not None
    await until(lambda: not running.untouched)
    return running


async def test_an_accepted_track_completes(node: Node) -> None:
    accepted = await node.accept(asked(), owner="me")
    assert (await ended(node, accepted.track_id)).status == "completed"
    assert node.room == node.settings.most_running


async def test_a_client_that_goes_away_while_its_track_is_kept_loses_nothing(node: Node) -> None:
    accepting = asyncio.create_task(node.accept(asked(), owner="me"))
    await asyncio.sleep(0)
    accepting.cancel()
    await asyncio.gather(accepting, return_exceptions=True)
    await until(lambda: node.room == node.settings.most_running)
    (track,) = await node.database.call(lambda: list(models.Track.objects.all()))
    assert track.status == "completed"


async def test_live_tracks_beyond_the_places_are_refused_and_batch_tracks_wait(
    database: Path,
) -> None:
    node = make_node(most_running=1)
    first = await node.accept(slow(priority=Priority.LIVE), owner="me")
    with pytest.raises(Saturated):
        await node.accept(asked(priority=Priority.LIVE), owner="me")
    waiting = await node.accept(asked(), owner="me")
    assert waiting.status == "pending"
    await node.cancel(first.track_id)
    assert (await ended(node, waiting.track_id)).status == "completed"
    await stop(node)


@pytest.mark.parametrize("moments", range(4))
async def test_looking_for_waiting_tracks_stops_also_when_told_to_look_at_that_moment(
    moments: int,
) -> None:
    waiting = Waiting(SimpleNamespace(accepts=False))  # type: ignore[arg-type]
    job = asyncio.create_task(waiting.run())
    for _ in range(3):
        await asyncio.sleep(0)
    waiting.look()
    for _ in range(moments):
        await asyncio.sleep(0)
    job.cancel()
    await asyncio.wait([job], timeout=10)
    assert job.cancelled()


async def test_a_track_cancelled_twice_gives_its_room_back(node: Node) -> None:
    accepted = await node.accept(slow(), owner="me")
    for _ in range(3):
        node.cancel_here(accepted.track_id)
        await asyncio.sleep(0)
    assert (await ended(node, accepted.track_id)).status == "cancelled"
    await until(lambda: not node.under_way)
    assert node.room == node.settings.most_running


async def test_what_waits_is_all_begun_also_where_much_of_it_does(database: Path) -> None:
    """As many as are claimed at once, and more, for which one place at a time is free."""
    node = make_node(most_running=1)
    ids = [(await node.accept(asked(), owner="me")).track_id for _ in range(40)]
    for track_id in ids:
        assert (await ended(node, track_id)).status == "completed"
    await stop(node)


async def test_a_track_that_nobody_has_begun_with_is_put_back_when_the_server_stops(
    database: Path,
) -> None:
    embedded = make_node()
    accepted = await embedded.accept(asked(), owner="me")
    await ended(embedded, accepted.track_id)
    await stop(embedded)
    node = make_node(stop_s=2.0)
    link = node.hub.links[0]
    accepted = await node.accept(asked(), owner="me")
    node.hub.leave(link)  # before any Task was handed out: nothing has run on this loop yet
    await stop(node)
    again = make_node()
    assert (await ended(again, accepted.track_id)).status == "completed"
    await stop(again)


async def test_a_track_that_is_still_under_way_when_the_server_stops_fails_with_a_reason(
    database: Path,
) -> None:
    node = make_node(stop_s=0.1)
    accepted = await node.accept(slow(), owner="me")
    await begun(node, accepted.track_id)
    await node.finish()
    found = await row(node, accepted.track_id)
    assert (found.status, found.error_code) == ("failed", ServerLost.code)
    await node.stop()


async def test_a_track_that_another_process_took_over_is_let_go(node: Node) -> None:
    accepted = await node.accept(slow(), owner="me")
    mine = models.Track.objects.filter(track_id=accepted.track_id)
    await node.database.call(mine.update, node="N-other")
    await node.let_go()
    await until(lambda: not node.under_way)
    assert (await row(node, accepted.track_id)).status == "started"


async def test_a_process_that_is_gone_leaves_nothing_stuck(database: Path) -> None:
    gone = make_node()
    membership = Membership(gone)
    await membership.begin()
    under_way = await gone.accept(slow(), owner="me")
    running = await begun(gone, under_way.track_id)
    await gone.journal.flush()
    # As if it had been killed: nothing more of it reaches the database, and its lock is free.
    running.abandon()
    await gone.stop()
    membership._lock.close()  # type: ignore[union-attr]
    for job in membership._jobs:
        job.cancel()
    heir = make_node()
    company = Membership(heir)
    await company.begin()
    found = await ended(heir, under_way.track_id)
    assert (found.status, found.error_code) == ("failed", ServerLost.code)
    tasks = await heir.database.call(lambda: list(models.Task.objects.all()))
    assert not [task for task in tasks if task.status in ("pending", "started")]
    assert not await heir.database.call(lambda: models.Node.objects.exclude(id=heir.id).exists())
    await heir.finish()
    await company.end()
    await heir.stop()


async def test_a_database_that_refuses_leaves_no_room_taken(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise DatabaseUnavailable()

    monkeypatch.setattr(ownership, "insert", refuse)
    with pytest.raises(DatabaseUnavailable):
        await node.accept(asked(), owner="me")
    assert node.room == node.settings.most_running
