"""Real `turnlab serve` and `turnlab worker` processes, for tests of what lies between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

START_S = 60.0


class Process:
    """A process of the command line; what it says on stderr lies in `log`."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._file = log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "turnlab", *arguments],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            # Started in the background by a shell, a process ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def said(self) -> str:
        """All that it has said so far."""
        return self.log.read_text(errors="replace")

    def stop(self, name: int = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        """Send it a signal and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(name)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end: {self.said[-4000:]}") from None
        finally:
            self._file.close()

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)


class Served(Process):
    """A `turnlab serve` process at `url`."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path, port: int):
        self.env = dict(env)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(["serve", "--port", str(port), *arguments], env, log)

    def token(self, role: str, *more: str) -> str:
        """A new token of this role; `more` are options of `turnlab tokens create`."""
        return command(self.env, "tokens", "create", "--role", role, *more).split()[-1]

    def wait_ready(self) -> Served:
        """Wait until /readyz says so."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if self.process.poll() is not None:
                raise AssertionError(f"turnlab serve ended: {self.said[-4000:]}")
            if _answers(f"{self.url}/readyz"):
                return self
            time.sleep(0.05)
        raise AssertionError(f"turnlab serve is not ready: {self.said[-4000:]}")


def command(env: Mapping[str, str], *arguments: str) -> str:
    """What `turnlab ARGUMENTS` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "turnlab", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise AssertionError(f"turnlab {' '.join(arguments)} failed: {done.stderr}")
    return done.stdout


@contextmanager
def served(
    home: Path,
    *,
    modules: Path | None = None,
    clusters: Path | None = None,
    database_url: str = "",
    embedded: bool = True,
    env: Mapping[str, str] | None = None,
    port: int | None = None,
    name: str = "serve",
) -> Iterator[Served]:
    """A `turnlab serve` process on a free port, ready, with its records in `home`.

    It is told to stop at the end, and must do so.
    """
    settings = {"TURNLAB_HOME": str(home), "TURNLAB_ADMIN_PASSWORD": "correct-horse-battery"}
    settings |= {"DATABASE_URL": database_url} if database_url else {}
    settings |= env or {}
    arguments = [] if embedded else ["--no-embedded"]
    arguments += ["--modules", str(modules)] if modules else []
    arguments += ["--clusters", str(clusters)] if clusters else []
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = home / f"{name}.log"
    process = Served(arguments, settings, log, port or free_port())
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@contextmanager
def worker(
    server: Served, *arguments: str, env: Mapping[str, str] | None = None, name: str = "worker"
) -> Iterator[Process]:
    """A `turnlab worker` process that is connected to `server`."""
    token = server.token("worker")
    log = Path(server.env["TURNLAB_HOME"], f"{name}.log")
    process = Process(
        ["worker", "--api", server.url, "--name", name, *arguments],
        {**server.env, "TURNLAB_TOKEN": token, **(env or {})},
        log,
    )
    try:
        _wait_connected(process)
        yield process
    finally:
        process.stop()


def _wait_connected(process: Process) -> None:
    deadline_s = time.monotonic() + START_S
    while "connected" not in process.said:
        if process.process.poll() is not None or time.monotonic() > deadline_s:
            raise AssertionError(f"turnlab worker did not connect: {process.said[-4000:]}")
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False
    except OSError:
        return False
