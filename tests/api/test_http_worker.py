"""Workers written in anything: the documented one, and what a careful or a careless one meets."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile

from turnlab.testing.service import Served, served

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "http_worker.py"
PAGE = ROOT / "docs" / "how-to" / "write-a-worker-in-anything.md"

MODULES = '''
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.modules.base import Module


class Beep(Module):
    """Speaks; a worker performs it."""

    task_name = "beep"
    consumes = (Reply,)
    produces = Speech


class Hear(Module):
    """Hears; a worker performs it."""

    task_name = "hear"
    consumes = (Audio,)
    produces = Transcript
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page shows, and two Modules more."""
    folder = tmp_path_factory.mktemp("http-worker")
    shown = re.findall(r"`my-(\w+/shout\.\w+)`:\n\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in shown] == ["modules/shout.py", "clusters/shout.toml"]
    for name, text in (*shown, ("modules/others.py", MODULES)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@contextmanager
def serving(folder: Path, name: str = "serve") -> Iterator[Served]:
    parts = {"modules": folder / "modules", "clusters": folder / "clusters"}
    with served(folder / "home", **parts, name=name) as server:
        yield server


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with serving(folder) as server:
        yield server


class Caller:
    """Asks a server with one token."""

    def __init__(self, url: str, token: str) -> None:
        self.token = token
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=40)

    def get(self, path: str, **query: Any) -> httpx2.Response:
        return self.http.get(path, params=query)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        return (
            self.http.post(path, json=body, **more)
            if body is not None
            else self.http.post(path, **more)
        )

    def register(self, *tasks: str, concurrency: int = 4) -> str:
        asked = {"name": "test", "tasks": list(tasks), "concurrency": concurrency}
        answer = self.post("/workers", asked)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["worker_id"])

    def next(self, worker: str, task_name: str = "all", wait: float = 20) -> Any:
        answer = self.get("/tasks/next", worker=worker, task_name=task_name, wait=wait)
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.status_code == 200 else None

    def give(self, task: Any, **result: Any) -> httpx2.Response:
        body = {"claim": task["claim"], "status": "completed", **result}
        return self.post(f"/tasks/{task['id']}/result", body)

    def ended(self, track_id: str) -> Any:
        return until(lambda: self._ended(track_id))

    def _ended(self, track_id: str) -> Any:
        track = self.get(f"/tracks/{track_id}").json()
        return None if track["status"] in ("pending", "started") else track


def until(found: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        if (value := found()) is not None:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come to be")


@pytest.fixture(scope="module")
def worker(server: Served) -> Caller:
    return Caller(server.url, server.token("worker"))


@pytest.fixture(scope="module")
def researcher(server: Served) -> Caller:
    return Caller(server.url, server.token("researcher"))


def queue(researcher: Caller, task_name: str, **asked: Any) -> str:
    answer = researcher.post("/tasks", {"task_name": task_name, **asked})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["track_id"])


def test_the_documented_worker_is_short_and_needs_nothing_but_python():
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 20
    assert f"```python\n{text}```" in PAGE.read_text()
    tree = ast.parse(text)
    imported = {
        each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names
    }
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)


def test_the_documented_worker_performs_a_component_of_a_track(server: Served, researcher: Caller):
    command = [sys.executable, str(EXAMPLE), server.url, server.token("worker")]
    with subprocess.Popen(command) as process:
        try:
            asked = {"cluster": "CLUSTER_SHOUT", "text": "good morning", "priority": "batch"}
            track_id = researcher.post("/tracks", asked).json()["track_id"]
            track = researcher.ended(track_id)
        finally:
            process.kill()
    assert (track["status"], track["error"]) == ("completed", None)
    (task,) = track["tasks"]
    assert task["result_profile"] == {"text": "GOOD MORNING"}
    assert task["worker"].startswith("W-")
    assert track["contents"][-1]["text"] == "GOOD MORNING"


def test_a_module_without_code_needs_a_worker(researcher: Caller):
    answer = researcher.post(
        "/tasks", {"task_name": "beep", "inputs": {"text": "x"}, "priority": "live"}
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "no_worker")


def test_a_task_by_itself_waits_for_its_worker_and_reads_back(worker: Caller, researcher: Caller):
    track_id = queue(researcher, "shout", inputs={"text": "hello"})
    assert researcher.get(f"/tasks/{track_id}").json()["status"] in ("pending", "started")
    task = worker.next(worker.register("shout"))
    assert (task["task_name"], task["inputs"]) == ("shout", {"Transcript": {"text": "hello"}})
    assert (task["track_id"], task["history"], task["attempt"]) == (track_id, [], 1)
    timings = {"ts_begin": time.time(), "model_upper": 0.002, "transfer_in": 0.001}
    answer = worker.give(task, result_profile={"text": "HI", "n": 1}, latency_profile=timings)
    assert (answer.status_code, answer.json()) == (200, {"repeated": False})
    researcher.ended(track_id)
    for task_id in (task["id"], track_id):
        read = researcher.get(f"/tasks/{task_id}").json()
        assert (read["id"], read["status"]) == (task["id"], "completed")
        assert read["result_profile"] == {"text": "HI", "n": 1}
        assert read["latency_profile"]["model_upper"] == pytest.approx(0.002)
        assert "ts_begin" in read["latency_profile"]


def test_a_result_counts_once_and_by_its_claim_alone(
    server: Served, worker: Caller, researcher: Caller
):
    stranger = Caller(server.url, server.token("worker"))
    track_id = queue(researcher, "shout", inputs={"text": "a"})
    task = worker.next(worker.register("shout"))
    forged = {**task, "claim": task["claim"][:-1] + "!"}
    for caller, given in ((worker, forged), (stranger, task), (worker, {**task, "claim": "N-0:x"})):
        answer = caller.give(given, result_profile={"text": "FORGED"})
        assert (answer.status_code, answer.json()["code"]) == (409, "claim_lost")
    lease = worker.post(f"/tasks/{task['id']}/heartbeat", {"claim": task["claim"]})
    assert lease.json()["lease_until"] > task["lease_until"]
    answers = [worker.give(task, result_profile={"text": each}) for each in ("ONE", "TWO")]
    assert [each.json() for each in answers] == [{"repeated": False}, {"repeated": True}]
    assert researcher.ended(track_id)["tasks"][0]["result_profile"] == {"text": "ONE"}
    assert worker.give(task, result_profile={"text": "LATE"}).json() == {"repeated": True}


def test_a_wrong_result_is_named_and_can_be_mended(worker: Caller, researcher: Caller):
    track_id = queue(researcher, "shout", inputs={"text": "a"})
    task = worker.next(worker.register("shout"))
    for wrong, says in (
        ({"result_profile": {}}, "result_profile.text"),
        ({"result_profile": {"text": "A"}, "latency_profile": {"ts_end": 1}}, "ts_end"),
        ({"result_profile": {"text": "A"}, "strange": 1}, "body.strange"),
        ({"status": "failed"}, "body.error"),
    ):
        answer = worker.give(task, **wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert says in answer.json()["detail"]
    big = worker.give(task, result_profile={"text": "A", "more": "x" * (5 << 20)})
    assert big.status_code == 413
    error = {"code": "out_of_paper", "message": "Put paper in."}
    assert worker.give(task, status="failed", error=error).status_code == 200
    track = researcher.ended(track_id)
    assert (track["status"], track["error"]) == ("failed", error)


def test_speech_is_posted_as_a_file_beside_the_result(worker: Caller, researcher: Caller):
    track_id = queue(researcher, "beep", inputs={"text": "beep"})
    task = worker.next("beeper", "beep")
    file = io.BytesIO()
    soundfile.write(file, np.full(8_000, 0.25), 16_000, format="WAV")
    result = {"claim": task["claim"], "status": "completed", "result_profile": {"text": "beep"}}
    answer = worker.post(
        f"/tasks/{task['id']}/result",
        data={"result": json.dumps(result)},
        files={"file": ("a.wav", file.getvalue())},
    )
    assert answer.json() == {"repeated": False}
    contents = {each["kind"]: each for each in researcher.ended(track_id)["contents"]}
    spoken = contents["ResSpeech"]
    assert (spoken["text"], spoken["duration_s"], spoken["sample_rate"]) == ("beep", 0.5, 16_000)


def test_sound_is_fetched_by_a_link_that_goes_with_the_task(
    worker: Caller, researcher: Caller, recordings: Path
):
    recording = sorted(recordings.rglob("*.wav"))[0].read_bytes()
    sent = {"request": '{"task_name": "hear"}'}
    queued = researcher.post("/tasks", data=sent, files={"audio": ("a.wav", recording)})
    assert queued.status_code == 202, queued.text
    task = worker.next("hearer", "hear")
    heard = task["inputs"]["Audio"]
    fetched = httpx2.get(heard["url"])
    assert fetched.status_code == 200
    samples, rate = soundfile.read(io.BytesIO(fetched.content))
    assert (rate, len(samples) / rate) == (heard["sample_rate"], pytest.approx(heard["duration_s"]))
    worker.give(task, result_profile={"text": "words"})
    assert researcher.ended(queued.json()["track_id"])["status"] == "completed"
    until(lambda: True if httpx2.get(heard["url"]).status_code == 404 else None)


def test_what_cannot_be_queued_is_refused(researcher: Caller, worker: Caller):
    for asked, code in (
        ({"task_name": "shout", "inputs": {"text": "a"}, "track_id": "T-none"}, "invalid_track_id"),
        (
            {"task_name": "shout", "inputs": {"text": "a"}, "track_id": f"T-A-{'0' * 32}"},
            "unknown_track",
        ),
        ({"task_name": "shuot", "inputs": {"text": "a"}}, "unknown_module"),
        ({"task_name": "shout"}, "invalid_request"),
        ({"task_name": "shout", "inputs": {"text": "a"}, "parameters": {"x": 1}}, "invalid_params"),
    ):
        answer = researcher.post("/tasks", asked)
        assert answer.json()["code"] == code, answer.text
    assert worker.post("/tasks", {"task_name": "shout"}).status_code == 403
    assert researcher.get("/tasks/next").status_code == 403
    assert researcher.get("/tasks/01a20575-6f3f-720f-9311-8c0fa8168d3c").status_code == 404


def test_registering_says_what_is_wrong(worker: Caller):
    asked = {"name": "w", "tasks": ["shuot"]}
    assert worker.post("/workers", asked).json()["code"] == "unknown_module"
    assert worker.post("/workers", {"name": "w", "tasks": []}).status_code == 422
    unknown = worker.get("/tasks/next", worker=f"W-{'0' * 32}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_worker"), unknown.text
    several = worker.register("shout", "beep")
    refused = worker.get("/tasks/next", worker=several, task_name="shout")
    assert "register one worker for each task" in refused.json()["detail"]
    assert worker.next(several, wait=0) is None


@pytest.mark.slow
def test_a_worker_may_poll_at_one_process_and_post_at_another(
    folder: Path, server: Served, worker: Caller, researcher: Caller
):
    with serving(folder, "second") as second:
        there = Caller(second.url, worker.token)
        worker_id = worker.register("shout")
        track_id = queue(researcher, "shout", inputs={"text": "far"})
        task = worker.next(worker_id)
        beat = there.post(f"/tasks/{task['id']}/heartbeat", {"claim": task["claim"]})
        assert beat.status_code == 200, beat.text
        assert there.give(task, result_profile={"text": "FAR"}).json() == {"repeated": False}
        assert researcher.ended(track_id)["status"] == "completed"
        assert there.next(worker_id, wait=0) is None  # known there, too
