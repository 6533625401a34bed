"""`turnlab run --reload`: again at every change, keeping loaded what did not change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import typer

from turnlab.chunks import Audio, Reply
from turnlab.cli.reload import Opened, run_on_change, watch
from turnlab.clusters import Plan, make_plan
from turnlab.errors import InvalidCluster, ModuleFailed
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.base import NoParams, loaded
from turnlab.modules.registry import Registry
from turnlab.testing import cluster_of, scripted


class Changes:
    """Changes that a test makes."""

    def __init__(self) -> None:
        self.begun = False
        self._made: asyncio.Queue[bool] = asyncio.Queue()

    def change(self) -> None:
        self._made.put_nowait(True)

    def end(self) -> None:
        self._made.put_nowait(False)

    async def watch(self) -> AsyncGenerator[bool, None]:
        self.begun = True
        while await self._made.get():
            yield True


@pytest.fixture
def changes(database: Path) -> Changes:
    return Changes()


async def test_it_runs_at_once_and_again_at_each_change(changes):
    runs: list[Opened] = []

    async def once(opened: Opened) -> None:
        assert changes.begun, "what changes during the first run would go unnoticed"
        runs.append(opened)
        changes.change() if len(runs) < 3 else changes.end()

    assert await run_on_change(once, changes.watch()) == 0
    assert len(runs) == 3
    assert runs[0] is runs[1] is runs[2], "models stay loaded on one executor"


@pytest.mark.parametrize("error", [InvalidCluster("mine.toml is wrong."), ValueError("odd")])
async def test_an_error_is_shown_and_the_next_change_awaited(changes, capsys, error):
    runs = 0

    async def once(opened: Opened) -> None:
        nonlocal runs
        runs += 1
        changes.change() if runs == 1 else changes.end()
        if runs == 1:
            raise error

    await run_on_change(once, changes.watch())
    assert runs == 2
    assert str(error) in capsys.readouterr().err


async def test_a_change_cancels_what_hangs(changes):
    ended: list[str] = []

    async def once(opened: Opened) -> None:
        if ended:
            changes.end()
            return
        changes.change()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("cancelled")

    await run_on_change(once, changes.watch())
    assert ended == ["cancelled"]


async def test_cancelling_ends_it_and_what_is_under_way(changes):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def once(opened: Opened) -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    run = asyncio.ensure_future(run_on_change(once, changes.watch()))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended.is_set()


class Params(NoParams):
    model: str = loaded("a")
    speed: float = 1.0


Made = Callable[..., Plan]


@pytest.fixture
def plan() -> Made:
    """A Plan of Modules, with parameters of the first."""

    def make(*modules, **params) -> Plan:
        overrides = {modules[0].task_name: params}
        return make_plan(cluster_of(*modules), Registry(modules), overrides)

    return make


def part(task_name: str, closed: list[str]):
    def close(self) -> None:
        closed.append(f"{task_name} {self.params.model}")

    return scripted(task_name, [Audio], Reply, Params=Params, close=close)


async def test_what_the_plan_needs_stays_loaded_and_the_rest_is_closed(plan):
    closed: list[str] = []
    kept, old, new = part("kept", closed), part("edited", closed), part("edited", closed)
    executor = EmbeddedExecutor()
    await executor.prepare(plan(kept, old))
    await executor.keep_only(plan(kept, new, speed=2.0))
    assert closed == ["edited a"]
    await executor.prepare(plan(kept, new, speed=2.0))
    assert (kept.loads, old.loads, new.loads) == (1, 1, 1)
    await executor.keep_only(plan(kept, new, model="b"))
    assert closed == ["edited a", "kept a"]
    await executor.close()


async def test_a_module_that_cannot_be_closed_is_named_and_dropped(plan):
    def close(self) -> None:
        raise ValueError("stuck")

    old, new = (scripted("edited", [Audio], Reply, close=close) for _ in range(2))
    executor = EmbeddedExecutor()
    await executor.prepare(plan(old))
    with pytest.raises(ModuleFailed, match=r"edited could not be closed: ValueError\('stuck'\)"):
        await executor.keep_only(plan(new))
    await executor.close()


def test_there_must_be_a_folder_to_watch(tmp_path, monkeypatch):
    monkeypatch.delenv("TURNLAB_CLUSTERS", raising=False)
    monkeypatch.delenv("TURNLAB_MODULES", raising=False)
    with pytest.raises(typer.BadParameter, match="needs --clusters or --modules"):
        watch(None, None)
    with pytest.raises(typer.BadParameter, match="is no folder"):
        watch(None, [tmp_path / "absent"])


def test_without_watchfiles_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("turnlab.cli.reload.installed", lambda package: False)
    with pytest.raises(typer.BadParameter, match=r"pip install 'turnlab\[reload\]'"):
        watch([tmp_path], None)


async def test_only_files_of_modules_and_clusters_count(tmp_path):
    pytest.importorskip("watchfiles")
    watched = watch([tmp_path], None)
    change = asyncio.ensure_future(anext(watched))
    await asyncio.sleep(0)  # watching begins with the first step
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "mine.toml").write_text("x")
    assert {Path(path).name for _, path in await change} == {"mine.toml"}
    await watched.aclose()
