"""`turnlab run --reload`: again at every change, keeping loaded what did not change."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from turnlab.chunks import Audio, Reply
from turnlab.cli.reload import Opened, hint, run_on_change, watch
from turnlab.clusters import Plan, make_plan
from turnlab.errors import InvalidCluster, ModuleFailed
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.base import NoParams, loaded
from turnlab.modules.registry import Registry
from turnlab.packaged import packaged
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
    monkeypatch.delenv("TURNLAB_CODE", raising=False)
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


async def test_functions_of_trusted_folders_count(tmp_path, monkeypatch):
    pytest.importorskip("watchfiles")
    monkeypatch.setenv("TURNLAB_CODE", str(tmp_path))
    watched = watch(None, None)
    change = asyncio.ensure_future(anext(watched))
    await asyncio.sleep(0)
    (tmp_path / "mine.py").write_text("x")
    assert {Path(path).name for _, path in await change} == {"mine.py"}
    await watched.aclose()


# The command, in a process of its own

SAYS = """
import time

import numpy as np

from turnlab.chunks import Audio, Speech
from turnlab.modules.base import Module


class Says(Module):
    task_name = "says"
    consumes = (Audio,)
    produces = Speech
    results = {{"transcript": "what was asked", "known": "how many turns it knows"}}

    def load(self):
        print("loading", flush=True)
        {load}

    async def run(self, inputs, context):
        await inputs.whole(Audio)
        context.result["transcript"] = "A question."
        context.result["known"] = len(context.history)
        sound = np.full(1600, 0.5, np.float32)
        yield Speech(samples=sound, sample_rate=16_000, text="An answer.")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a Cluster of one Module that loads at once."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "says.py").write_text(SAYS.format(load="pass"))
    (folder / "says.toml").write_text('name = "SAYS"\n[[component]]\ntask = "says"\n')
    return folder


@pytest.fixture
def turnlab(mine: Path, home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `turnlab run` on that Cluster; what still runs at the end of the test is killed."""
    audio = packaged("moonshine_voice", "assets", "beckett.wav")
    if audio is None:
        pytest.skip("there is no recording: moonshine-voice is not installed")
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        folders = ("--clusters", str(mine), "--modules", str(mine))
        asked = ("run", *folders, "--cluster", "SAYS", "--audio", str(audio), *options)
        process = subprocess.Popen(
            [sys.executable, "-m", "turnlab", *asked],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TURNLAB_HOME": str(home)},
            # What a shell starts in the background, such as these tests, ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def turns(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What it tells of each turn, as soon as that is over."""
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    return (json.loads(line) for line in lines if line.startswith("{"))


def known(turn: dict[str, Any]) -> int:
    return int(turn["tasks"][0]["result_profile"]["known"])


@pytest.mark.slow
def test_each_run_again_is_a_conversation_of_its_own(turnlab, mine):
    pytest.importorskip("watchfiles")
    (begun,) = turns(turnlab("--json", "--conversation"))
    stored = begun["conversation_id"]
    process = turnlab("--json", "--reload", "--continue", stored)
    told, seen = turns(process), [stored]
    for edit in ("pass", "edited = 1", "edited = 2"):
        (mine / "says.py").write_text(SAYS.format(load=edit))
        turn = next(turn for turn in told if turn["status"] == "completed")
        assert known(turn) == 1, "a re-run is no further turn"
        assert turn["conversation_id"] not in seen
        seen.append(turn["conversation_id"])
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (after,) = turns(turnlab("--json", "--continue", stored))
    assert known(after) == 1, "the Conversation that was stored has had no turn since"


def test_the_hint_names_no_conversation_that_cannot_be_gone_on_with():
    assert "--continue C-1" in hint("C-1", None)
    assert "--continue" not in hint("C-2", "C-1")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--reload",)])
def test_ctrl_c_ends_it_while_a_module_hangs_in_load(turnlab, mine, options):
    (mine / "says.py").write_text(SAYS.format(load="time.sleep(600)"))
    process = turnlab(*options)
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_module_that_hangs_in_load_can_be_mended(turnlab, mine):
    pytest.importorskip("watchfiles")
    (mine / "says.py").write_text(SAYS.format(load="time.sleep(600)"))
    process = turnlab("--reload", "--json")
    assert process.stderr is not None  # where --json puts what Modules print
    assert "loading\n" in iter(process.stderr.readline, "")
    (mine / "says.py").write_text(SAYS.format(load="pass"))
    assert next(turns(process))["status"] == "completed"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
