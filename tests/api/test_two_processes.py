"""Two API processes on one PostgreSQL: each serves what the other has, and inherits from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.api.delivery_rig import (
    CLUSTERS,
    MODULES,
    Client,
    is_so,
    needs_postgres,
    started_postgres,
    until,
)
from turnlab.testing.service import Served, served, worker

pytestmark = [needs_postgres, pytest.mark.slow]

DECLARED = '''
from turnlab.chunks import Reply, Transcript
from turnlab.modules.base import Module


class Told(Module):
    """Answers; somebody's own program performs it."""

    task_name = "told"
    consumes = (Transcript,)
    produces = Reply


class Untold(Module):
    """Answers; nobody performs it."""

    task_name = "untold"
    consumes = (Transcript,)
    produces = Reply
'''


@dataclass(frozen=True, kw_only=True)
class Company:
    """Two processes; a worker with one place is connected to the second."""

    first: Client
    second: Client
    urls: tuple[str, str]
    tokens: dict[str, str]
    serving: Callable[[str], AbstractContextManager[Served]]
    """Another process of the same company."""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("two-processes")
    modules = shutil.copytree(MODULES, folder / "modules")
    (modules / "declared.py").write_text(DECLARED)
    with ExitStack() as stack:
        server = started_postgres()
        stack.callback(server.delete)

        @contextmanager
        def serving(name: str) -> Iterator[Served]:
            environment = {"TURNLAB_LEASE_S": "1", "TURNLAB_SECRET_KEY": "s" * 50}
            with served(
                folder / name,  # homes of their own, as on machines of their own
                modules=modules,
                clusters=CLUSTERS,
                database_url=server.url,
                embedded=False,
                env=environment,
                name=name,
            ) as found:
                yield found

        first, second = (stack.enter_context(serving(name)) for name in ("first", "second"))
        tasks = ("--tasks", "fast_answer,fast_speak", "--concurrency", "1")
        stack.enter_context(worker(second, "--modules", str(modules), *tasks))
        tokens = {role: first.token(role) for role in ("client", "researcher", "worker")}
        asking = Client(first.url, tokens["client"])
        is_so(lambda: asking.ask().status_code == 202)  # the processes have met
        yield Company(
            first=asking,
            second=Client(second.url, tokens["client"]),
            urls=(first.url, second.url),
            tokens=tokens,
            serving=serving,
        )


def test_a_track_reaches_a_worker_of_the_other_process(company: Company):
    track_id = company.first.start()
    track = company.first.ended(track_id)
    assert (track["status"], track["error"]) == ("completed", None)
    assert [task["status"] for task in track["tasks"]] == ["completed"] * 2
    there = company.second.track(track_id)
    made = [[(each["id"], each["kind"]) for each in one.pop("contents")] for one in (there, track)]
    assert made[0] == made[1]  # their links are signed anew
    assert there == track
    answered = next(task for task in track["tasks"] if task["name"] == "fast_answer")
    assert answered["result_profile"]["text"] == "You said hello there today."
    # Whose it was is told, not through whom it went.
    workers = company.first.http.get("/workers").json()
    assert answered["worker"] in str(workers)


def test_a_track_is_followed_through_the_process_that_does_not_run_it(company: Company):
    track_id = company.first.start(overrides={"fast_answer": {"word_s": 0.1}})
    events = list(company.second.events(track_id))
    assert events[0][0] == "track"
    said = [data["text"] for kind, data in events if kind == "chunk" and data["kind"] == "Reply"]
    assert "".join(said) == "You said hello there today."
    assert events[-1] == ("end", events[-1][1])
    assert events[-1][1]["status"] == "completed"


def test_a_track_is_cancelled_through_the_process_that_does_not_run_it(company: Company):
    track_id = company.first.start(overrides={"fast_answer": {"word_s": 30}})
    company.first.at_work(track_id)
    assert company.second.http.post(f"/tracks/{track_id}/cancel").status_code == 202
    track = company.first.ended(track_id)
    assert track["status"] == "cancelled"
    assert {task["status"] for task in track["tasks"]} == {"cancelled"}
    assert company.first.ended(company.first.start())["status"] == "completed"  # its place is free


def test_somebodys_own_worker_may_poll_at_either_process(company: Company):
    asker = Client(company.urls[0], company.tokens["researcher"])
    track_id = asker.queue("told")
    theirs = {"Authorization": f"Bearer {company.tokens['worker']}"}
    query = {"task_name": "told", "worker": "mine", "wait": 5}

    def given() -> object:
        polled = company.second.http.get("/tasks/next", params=query, headers=theirs)
        return polled.json() if polled.status_code == 200 else None

    task = until(given)
    assert isinstance(task, dict)
    result = {"claim": task["claim"], "status": "completed", "result_profile": {"text": "hi"}}
    path = f"/tasks/{task['id']}/result"
    assert company.second.http.post(path, json=result, headers=theirs).status_code == 200
    track = asker.ended(track_id)
    assert (track["status"], track["contents"][-1]["text"]) == ("completed", "hi")


def test_what_a_killed_process_had_is_taken_over(company: Company):
    """What had been begun is closed, also where its Tasks waited; what waits waits on."""
    with company.serving("third") as third:
        client = Client(third.url, company.tokens["client"])
        is_so(lambda: client.ask().status_code == 202)
        slow = {"fast_answer": {"word_s": 30}}
        at_work = client.start(overrides=slow)
        client.at_work(at_work)
        queued = client.start()  # the worker has one place
        until(lambda: client.track(queued)["tasks"] or None)
        waiting = Client(third.url, company.tokens["researcher"]).queue("untold")
        third.kill()
    closed = company.first.ended(at_work)
    assert (closed["status"], closed["error"]["code"]) == ("failed", "server_lost")
    assert {task["status"] for task in closed["tasks"]} <= {"failed", "cancelled"}
    assert company.second.ended(queued)["error"]["code"] == "server_lost"
    asker = Client(company.urls[0], company.tokens["researcher"])
    assert asker.track(waiting)["status"] == "pending"
    assert asker.http.post(f"/tracks/{waiting}/cancel").status_code == 202
    assert asker.ended(waiting)["status"] == "cancelled"
