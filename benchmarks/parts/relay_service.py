"""An API process and workers that run CLUSTER_RELAY, as processes that can be killed."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from turnlab.testing.postgres import postgres
from turnlab.testing.service import Process, Served, free_port

CLUSTER = "CLUSTER_RELAY"
TASKS = ("relay_first", "relay_second", "relay_third", "relay_fourth", "relay_last")
DATABASES = ("sqlite", "postgresql")

_PARTS = Path(__file__).parent / "relay"
_MODULES = str(_PARTS / "modules")
_CONNECT_S = 60.0


class RelayService:
    """One API process without Modules of its own, and workers that are started and ended at will.

    `environment` is that of all its processes.
    """

    def __init__(self, folder: Path, database_url: str, environment: Mapping[str, str]) -> None:
        self.notes = folder / "notes"
        self.notes.touch(mode=0o600)
        self._folder, self._home = folder, folder / "home"
        self._home.mkdir(mode=0o700)
        self._database_url = database_url
        self._environment = {
            "TURNLAB_HOME": str(self._home),
            "TURNLAB_ADMIN_PASSWORD": "correct-horse-battery",
            "TURNLAB_REQUESTS_PER_MINUTE": "1000000",
            "TURNLAB_RELAY_NOTES": str(self.notes),
            **({"DATABASE_URL": database_url} if database_url else {}),
            **environment,
        }
        self._port = free_port()
        self.api = self.start_api()
        self.url = self.api.url
        self.token = self.api.token("client")
        self._worker_token = self.api.token("worker")
        self.workers: list[Process] = []
        self._started = 0

    def start_api(self) -> Served:
        """The API process, ready; the next one has the same port and home."""
        arguments = ["--no-embedded", "--modules", _MODULES, "--clusters", str(_PARTS / "clusters")]
        self.api = Served(arguments, self._environment, self._folder / "api.log", self._port)
        return self.api.wait_ready()

    def start_worker(self) -> Process:
        """A worker for all five tasks; `wait_workers` waits until it is there."""
        self._started += 1
        name = f"worker-{self._started}"
        arguments = ["worker", "--api", self.url, "--name", name, "--modules", _MODULES]
        process = Process(
            [*arguments, "--tasks", ",".join(TASKS), "--concurrency", "256"],
            {**self._environment, "TURNLAB_TOKEN": self._worker_token},
            self._folder / f"{name}.log",
        )
        self.workers.append(process)
        return process

    def wait_workers(self) -> None:
        """Wait until all workers have connected once."""
        deadline_s = time.monotonic() + _CONNECT_S
        for each in self.workers:
            while "connected" not in each.said:
                if time.monotonic() > deadline_s or each.process.poll() is not None:
                    raise AssertionError(f"a worker did not connect: {each.said[-4000:]}")
                time.sleep(0.02)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database holds."""
        if self._database_url:
            import psycopg

            with psycopg.connect(self._database_url) as connection:
                return connection.execute(sql.encode()).fetchall()
        with closing(sqlite3.connect(self._home / "turnlab.sqlite3", timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    def wait_ended(self, timeout_s: float) -> None:
        """Wait until no Track is pending or started. Raises AssertionError that tells of some."""
        sql = "SELECT track_id, status FROM {} WHERE status IN ('pending', 'started')"
        deadline_s = time.monotonic() + timeout_s
        while left := self.rows(sql.format("turnlab_track")):
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{len(left)} Tracks do not end, such as {left[:3]}")
            time.sleep(0.1)

    def executions(self) -> Counter[tuple[str, str]]:
        """How often a Module came to its end, by Track and Component."""
        lines = self.notes.read_text().splitlines()
        return Counter((track, name) for track, name, _, _ in map(str.split, lines))

    def close(self) -> None:
        """End all processes."""
        for each in self.workers:
            each.kill()
        self.api.stop()


@contextmanager
def relay_service(
    database: str, workers: int, environment: Mapping[str, str] | None = None
) -> Iterator[RelayService]:
    """A fresh service on `sqlite` or on a `postgresql` of its own, with workers connected.

    PostgreSQL syncs at every commit, SQLite is set up as Turnlab does it.
    """
    with tempfile.TemporaryDirectory(prefix="turnlab-relay-") as folder, _url(database) as url:
        service = RelayService(Path(folder), url, environment or {})
        try:
            for _ in range(workers):
                service.start_worker()
            service.wait_workers()
            yield service
        finally:
            service.close()


@contextmanager
def _url(database: str) -> Iterator[str]:
    if database == "sqlite":
        yield ""
        return
    with postgres(durable=True) as server:
        yield server.url
