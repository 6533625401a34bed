"""`turnlab listen`, `respond` and `extract` against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.api.loopback import Answer, loopback, said
from tests.api.test_client_listening import Service
from tests.unit.test_film import make_film
from turnlab.testing.service import Process, Served, free_port, served

PARTS = Path(__file__).parent / "parts"
RATE = 16_000

SLOW = """
name = "SLOW"

[[component]]
task = "fast_hear"

[[component]]
task = "fast_answer"
params = { word_s = 0.15, words = 8 }

[[component]]
task = "fast_speak"
"""
"""Replies `You said hello for N seconds today.`: 7 words, of 50 ms each, in a second."""

REPLY_S = 7 * 0.05


@pytest.fixture
def clusters(tmp_path: Path) -> Path:
    folder = tmp_path / "clusters"
    folder.mkdir()
    (folder / "slow.toml").write_text(SLOW)
    return folder


@pytest.fixture
def three_questions(recordings: Path, tmp_path: Path) -> Path:
    """A recording of three turns."""
    question, rate = soundfile.read(recordings / "whats_the_weather_like.wav", dtype="float32")
    path = tmp_path / "three.wav"
    soundfile.write(path, np.tile(np.pad(question, (0, rate)), 3), rate)
    return path


class Client(Process):
    """A client's command as a process; it prints objects."""

    @property
    def told(self) -> list[dict[str, Any]]:
        """What it has told so far."""
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [each for each in self.told if each["event"] == name]


@contextmanager
def client(tmp_path: Path, name: str, token: str, *arguments: str) -> Iterator[Client]:
    env = {"TURNLAB_HOME": str(tmp_path / "client"), "TURNLAB_TOKEN": token}
    process = Client([name, *arguments, "--json"], env, tmp_path / f"{name}-{time.time_ns()}.log")
    try:
        yield process
    finally:
        process.stop(signal.SIGINT)


def until(condition: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} never came"
        time.sleep(0.02)


def ended(process: Client) -> int:
    return process.process.wait(60)


def serve(tmp_path: Path, clusters: Path, port: int | None = None) -> Any:
    return served(
        tmp_path / "server",
        modules=PARTS / "modules",
        clusters=clusters,
        port=port,
        env={"TURNLAB_LEASE_S": "2"},
    )


@pytest.mark.slow
def test_a_server_that_is_killed_loses_no_turn_doubles_none_and_each_reply_is_played_once(
    tmp_path: Path, clusters: Path, recordings: Path, three_questions: Path
) -> None:
    replies = tmp_path / "replies"
    one = str(recordings / "whats_the_weather_like.wav")
    more = ("--from", str(three_questions), "--spool", str(tmp_path / "spool"))
    port = free_port()
    with serve(tmp_path, clusters, port) as server:
        api, token = ("--api", server.url), server.token("client")
        with client(tmp_path, "respond", token, *api, "--to", str(replies)) as responding:
            listen = ("listen", token, *api, "--track_cluster", "SLOW")
            with client(tmp_path, *listen, "--from", one) as first:
                until(lambda: list(replies.glob("*.part")), "the reply")
                server.kill()
                until(lambda: responding.events("interrupted"), "the interruption")
                with client(tmp_path, *listen, *more) as listening:
                    until(lambda: len(listening.events("heard")) == 3, "the third turn")
                    with serve(tmp_path, clusters, port) as server:
                        assert ended(listening) == 0, listening.said
                        assert ended(first) == 1  # its Track was under way
                        until(lambda: len(responding.events("played")) == 3, "the last reply")
                        rows = listed(server, token)
                        assert responding.stop(signal.SIGINT) == 130
    check(rows, first, listening, responding)
    assert sorted(path.suffix for path in replies.iterdir()) == [".wav"] * 3
    lengths_s = [soundfile.info(path).duration for path in replies.iterdir()]
    assert lengths_s == [pytest.approx(REPLY_S)] * 3


def check(rows: dict[str, str], first: Client, listening: Client, responding: Client) -> None:
    """Four Tracks; replies came in the order in which they were asked for, one of them half."""
    (lost,) = [each["track_id"] for each in first.events("track")]
    tracks = [each["track_id"] for each in listening.events("track")]
    assert rows == {lost: "failed", **dict.fromkeys(tracks, "completed")}
    assert [each["error"]["code"] for each in first.events("end")] == ["server_lost"]
    assert [each["error"]["code"] for each in responding.events("failed")] == ["server_lost"]
    played = responding.events("played")
    assert [each["track_id"] for each in played] == tracks
    assert all(each["first"] for each in played)
    assert {each["status"] for each in listening.events("end")} == {"completed"}
    assert len({each["conversation_id"] for each in listening.events("track")}) == 1


def listed(server: Served, token: str) -> dict[str, str]:
    """The status of every Track that the server has."""
    import httpx2

    headers = {"Authorization": f"Bearer {token}"}
    found = httpx2.get(f"{server.url}/api/v1/tracks", headers=headers).json()
    return {each["track_id"]: each["status"] for each in found["items"]}


@pytest.fixture
def film(tmp_path: Path, recordings: Path) -> Path:
    """Two questions of 2 s."""
    pytest.importorskip("av")
    question, _ = soundfile.read(recordings / "whats_the_weather_like.wav", dtype="float32")
    return make_film(tmp_path / "film.mp4", np.tile(question, 2), seconds=4.0)


TURNLAB = (sys.executable, "-m", "turnlab")
WHERE = ("--time-points", "0:02,0", "--json")


def extract(tmp_path: Path, film: Path, *arguments: str) -> list[dict[str, Any]]:
    """What `turnlab extract --json` prints of the film's two turns."""
    done = subprocess.run(
        [*TURNLAB, "extract", str(film), "--out", str(tmp_path / "out"), *WHERE, *arguments],
        env={**os.environ, "TURNLAB_TOKEN": "token", "TURNLAB_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_turns_of_a_film_are_run_in_this_process(tmp_path: Path, film: Path) -> None:
    parts = ("--modules", str(PARTS / "modules"), "--clusters", str(PARTS / "clusters"))
    lines = extract(tmp_path, film, *parts, "--cluster", "CLUSTER_FAST")
    assert [each["turn"] for each in lines] == [1, 2]
    assert all(each["reply"].startswith("You said hello for 2.") for each in lines)
    assert all(each["voice_to_voice_s"] > 0 for each in lines)


def test_the_turns_of_a_film_are_run_on_a_server(tmp_path: Path, film: Path) -> None:
    clusters = said(items=[{"name": "A"}, {"name": "B"}])
    with loopback(Service(lambda r: clusters if r.path.endswith("/clusters") else None)) as server:
        lines = extract(tmp_path, film, "--api", server.url, "--all-clusters")
    assert [each["cluster"] for each in lines] == ["TALK"] * 4  # as the Tracks say
    assert [each["turn"] for each in lines] == [1, 2, 1, 2]
    assert all(each["reply"] == "Hello!" for each in lines)
    asked = server.asked("POST", "/tracks")
    assert [each.json["cluster"] for each in asked] == ["A", "A", "B", "B"]
    assert all(each.body.count(b'name="images"') == 2 for each in asked)


LEAN = """
import sys
from turnlab.cli import main
try:
    main()
except SystemExit as leaving:
    assert leaving.code == 0, leaving.code
heavy = ("django", "torch", "onnxruntime", "faster_whisper", "moonshine_voice", "piper",
         "xllamacpp", "transformers", "cv2", "openai", "av", "sounddevice", "PIL", "sklearn",
         "turnlab.server", "turnlab.modules", "turnlab.executors", "turnlab.clusters")
found = [name for name in sys.modules if name.startswith(tuple(f"{each}." for each in heavy))]
found += [name for name in heavy if name in sys.modules]
assert not found, found
"""


@pytest.mark.parametrize("command", ["listen", "respond"])
def test_the_client_needs_neither_django_nor_any_model(
    tmp_path: Path, recordings: Path, command: str
) -> None:
    more = {
        "listen": ["--cluster", "TALK", "--from", str(recordings / "whats_the_weather_like.wav")],
        "respond": ["--once", "--to", str(tmp_path / "replies")],
    }[command]
    service = Service(lambda r: None if "replies" not in r.path else Answer(204))
    with loopback(service) as server:
        env = {**os.environ, "TURNLAB_TOKEN": "token", "TURNLAB_HOME": str(tmp_path / "home")}
        run = [sys.executable, "-c", LEAN, command, "--api", server.url, *more]
        done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("Hello!" in done.stdout) == (command == "listen")
