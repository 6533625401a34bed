"""`turnlab worker` as a process of its own, over real sockets, where Django cannot be imported."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.api.worker_rig import LoopbackServer, loopback
from turnlab.chunks import Audio
from turnlab.errors import ServerUnreachable
from turnlab.modules.base import Module
from turnlab.modules.registry import find_modules
from turnlab.testing import Rig
from turnlab.worker.dial import dial, is_here, socket_url

VOICE = Audio(samples=np.linspace(-0.5, 0.5, 160, dtype=np.float32), sample_rate=16_000)

MODULE = '''
import asyncio
from pathlib import Path

import numpy as np

from turnlab.chunks import Audio, Speech
from turnlab.modules.base import Module

HERE = Path(__file__).parent


class Echo(Module):
    """Says what it heard; waits, or takes memory, while there is a file that says so."""

    task_name = "echo"
    consumes = (Audio,)
    produces = Speech

    async def run(self, inputs, context):
        heard = await inputs.whole(Audio)
        (HERE / "begun").touch()
        while (HERE / "wait").exists():
            await asyncio.sleep(0.01)
        while (HERE / "grow").exists():
            self.taken = getattr(self, "taken", []) + [np.ones(4 * 2**20)]
            await asyncio.sleep(0.01)
        yield Speech(samples=heard.samples, sample_rate=heard.sample_rate, text="ok")
'''

COMMAND = """
import sys
from importlib.abc import MetaPathFinder

class NoDjango(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("django", "ninja"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, NoDjango())
sys.argv = ["turnlab", "worker", *sys.argv[1:]]
from turnlab.cli import main
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "echo.py").write_text(MODULE)
    return tmp_path


def echo(folder: Path) -> type[Module]:
    return find_modules([folder]).get("echo")


class Worker:
    """The process; `said` is its stderr so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        self._reading = asyncio.create_task(self._read())

    async def exit(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 30)
        await self._reading
        return code

    async def says(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while self.said.count(text) < times:
                assert self.process.returncode is None, self.said
                await asyncio.sleep(0.005)

    async def _read(self) -> None:
        async for line in self.process.stderr:
            self.said += line.decode()


@asynccontextmanager
async def worker(
    folder: Path, url: str, *arguments: str, token: str = LoopbackServer.TOKEN
) -> AsyncIterator[Worker]:
    """`turnlab worker`, until it ends or the test does."""
    command = [sys.executable, "-c", COMMAND, "--api", url, "--modules", str(folder), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "TURNLAB_TOKEN": token}, stderr=asyncio.subprocess.PIPE
    )
    started = Worker(process)
    try:
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await started.exit()


async def until(path: Path) -> None:
    async with asyncio.timeout(20):
        while not path.exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.005)


async def test_a_worker_answers_as_this_process_does_and_drains_on_sigterm(folder: Path):
    long = Audio(samples=np.random.default_rng(1).random(1_000_000, np.float32), sample_rate=16_000)
    async with loopback(echo(folder)) as server:
        rig = server.rig
        async with worker(folder, server.url, "--tasks", "echo", "--warm") as process:
            await rig.until(lambda: rig.hub.links)
            assert rig.hub.links[0].facts.tasks[0]["loaded"]
            for sound in (VOICE, long):  # the longer one goes by HTTP, there and back
                result = await rig.run(sound)
                here = await Rig(echo(folder)).run(sound)
                assert result.error is None
                assert result.speech.samples.tobytes() == here.speech.samples.tobytes()
                total_s = result.track.voice_to_voice_s
                spans_s = sum(span.duration_s for span in result.spans)
                assert spans_s == pytest.approx(total_s, abs=1e-3)
            (folder / "wait").touch()
            (folder / "begun").unlink()
            turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
            await until(folder / "begun")
            process.process.send_signal(signal.SIGTERM)
            await rig.until(lambda: rig.hub.links[0].draining)
            (folder / "wait").unlink()
            assert (await turn).error is None
            assert await process.exit() == 0
            assert "Tasks left to end: 1" in process.said
            assert server.headers[0] == f"Bearer {LoopbackServer.TOKEN}"


async def test_a_worker_outlives_its_server_and_says_so(folder: Path):
    async with loopback(echo(folder)) as server:
        rig = server.rig
        async with worker(folder, server.url, "--tasks", "echo") as process:
            await rig.until(lambda: rig.hub.links)
            await server.stop()
            await process.says("trying again")
            await server.start()
            await process.says("connected to", times=2)
            await rig.until(lambda: rig.hub.links)
            assert (await rig.run(VOICE)).error is None
            (folder / "wait").touch()
            (folder / "begun").unlink()
            turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
            await until(folder / "begun")
            process.process.kill()
            await rig.until(lambda: not rig.hub.links)
            turn.cancel()
            await asyncio.gather(turn, return_exceptions=True)


async def test_a_worker_over_its_memory_fails_what_it_has_and_ends(folder: Path):
    (folder / "grow").touch()
    async with loopback(echo(folder)) as server:
        rig = server.rig
        arguments = ("--tasks", "echo", "--max-memory", "400")
        async with worker(folder, server.url, *arguments) as process:
            await rig.until(lambda: rig.hub.links)
            result = await rig.run(VOICE)
            assert result.error.code == "module_failed"
            assert "--max-memory 400" in result.error.message
            assert await process.exit() == 1
            assert "--max-memory 400" in process.said


async def test_a_second_signal_ends_a_worker_at_once(folder: Path):
    (folder / "wait").touch()
    async with loopback(echo(folder)) as server:
        rig = server.rig
        async with worker(folder, server.url, "--tasks", "echo") as process:
            await rig.until(lambda: rig.hub.links)
            turn = asyncio.create_task(rig.runner.run(rig.plan, rig.turn(VOICE)))
            await until(folder / "begun")
            process.process.send_signal(signal.SIGINT)
            await process.says("stopping")
            process.process.send_signal(signal.SIGINT)
            assert await process.exit() == 130
            turn.cancel()
            await asyncio.gather(turn, return_exceptions=True)


async def test_a_worker_that_may_not_connect_says_why_and_ends(folder: Path):
    async with (
        loopback(echo(folder)) as server,
        worker(folder, server.url, "--tasks", "echo", token="wrong") as process,
    ):
        assert await process.exit() == 1
        assert "forbidden" in process.said
        assert "turnlab tokens create" in process.said
        assert "wrong" not in process.said.replace("it is wrong", "")


@pytest.mark.parametrize(
    ("arguments", "token", "says"),
    [
        (("--tasks", "ecko"), "x", "did you mean 'echo'"),
        ((), "", "TURNLAB_TOKEN"),
    ],
)
async def test_a_wrong_command_line_ends_a_worker(
    folder: Path, arguments: tuple[str, ...], token: str, says: str
):
    async with worker(folder, "http://127.0.0.1:9", *arguments, token=token) as process:
        assert await process.exit() == 1
        assert says in process.said


async def test_the_token_is_not_given_to_whom_the_server_names():
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ServerUnreachable, match="302"):
        await dial(f"http://127.0.0.1:{port}", "Bearer x")
    server.close()


@pytest.mark.parametrize("url", ["host:8000", "ftp://host", "http://", "", "ws://host"])
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(ServerUnreachable):
        socket_url(url)


def test_where_the_socket_is():
    assert socket_url("http://host:8000/") == "ws://host:8000/api/v1/worker"
    assert socket_url("https://host/lab") == "wss://host/lab/api/v1/worker"
    assert is_here("http://127.0.0.1:8000")
    assert is_here("http://localhost")
    assert is_here("http://[::1]:80")
    assert not is_here("http://example.org")
