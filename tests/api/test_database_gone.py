"""The database goes away, the disk is full: requests are refused, what was accepted is kept."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.api.delivery_rig import (
    CLUSTERS,
    MODULES,
    Client,
    is_so,
    needs_postgres,
    started_postgres,
)
from turnlab.bench.questions import make_questions
from turnlab.testing.service import Served, served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question asked by the local voice."""
    return make_questions(tmp_path_factory.mktemp("questions"), 1)[0]


SLOW = {"overrides": {"fast_answer": {"word_s": 0.15}}}
PARTS = {"modules": MODULES, "clusters": CLUSTERS}


@needs_postgres
def test_a_database_that_is_gone_for_a_while_loses_nothing(tmp_path: Path):
    database = started_postgres()
    try:
        with served(tmp_path, **PARTS, database_url=database.url) as server:
            client = Client(server.url, server.token("client"))
            before = client.start()
            client.ended(before)
            under_way = client.start(**SLOW)
            client.at_work(under_way)
            database.stop("immediate")

            key = {"Idempotency-Key": "once"}
            asked = {"cluster": "CLUSTER_FAST", "text": "hello there"}
            for answer in (
                client.http.post("/tracks", json=asked, headers=key),
                client.http.get(f"/tracks/{before}"),
                client.http.get("/tracks"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
                assert int(answer.headers["Retry-After"]) > 0
            ready = client.http.get(f"{server.url}/readyz")
            assert ready.status_code == 503
            assert client.http.get(f"{server.url}/healthz").status_code == 200

            database.start()
            is_so(lambda: client.http.post("/tracks", json=asked, headers=key).status_code == 202)
            for track_id in (before, under_way):
                track = client.ended(track_id)
                assert (track["status"], track["error"]) == ("completed", None)
                assert [task["status"] for task in track["tasks"]] == ["completed"] * 2
            once = client.http.post("/tracks", json=asked, headers=key)
            assert client.ended(once.json()["track_id"])["status"] == "completed"
            assert len(client.http.get("/tracks").json()["items"]) == 3
            assert client.http.get(f"{server.url}/readyz").status_code == 200
    finally:
        database.delete()


@contextmanager
def no_room(server: Served) -> Iterator[None]:
    """As on a full disk: no file grows. A limit of the process needs no rights and no disk."""
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_nothing_that_was_accepted(tmp_path: Path, question: Path):
    with served(tmp_path, **PARTS) as server:
        client = Client(server.url, server.token("client"))
        client.ended(client.start())
        under_way = client.start(**SLOW)
        client.at_work(under_way)
        with no_room(server):
            answer = client.ask()
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            sound = {"audio": ("a.wav", question.read_bytes(), "audio/wav")}
            fields = {"request": '{"cluster": "CLUSTER_FAST"}'}
            answer = client.http.post("/tracks", data=fields, files=sound)
            assert answer.status_code == 503, answer.text
            assert len(client.http.get("/tracks").json()["items"]) == 2
        track = client.ended(under_way)
        assert (track["status"], track["error"]) == ("completed", None)
        assert [task["status"] for task in track["tasks"]] == ["completed"] * 2
        assert client.ended(client.start())["status"] == "completed"
        answer = client.http.post("/tracks", data=fields, files=sound)
        assert client.ended(answer.json()["track_id"])["status"] == "completed"
        assert len(client.http.get("/tracks").json()["items"]) == 4
    assert not list((tmp_path / "media").glob("incoming/*")), "an upload was left behind"
