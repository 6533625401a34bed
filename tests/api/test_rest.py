"""The REST API of a real `turnlab serve` process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from django.db import connection

from turnlab.bench.questions import make_questions
from turnlab.errors import NotReady
from turnlab.server import models
from turnlab.server.api import listening
from turnlab.server.api.replies import _next as next_of
from turnlab.server.problems import described
from turnlab.server.roles import LOCAL
from turnlab.testing.service import Served, command, served
from turnlab.tracks import new_track_id

PARTS = Path(__file__).parent / "parts"
LIMITS = {
    "TURNLAB_MAX_UPLOAD_MIB": "2",
    "TURNLAB_MAX_SPEECH_S": "20",
    "TURNLAB_REQUESTS_PER_MINUTE": "100000",
    "TURNLAB_FAILURES_PER_MINUTE": "1000",
}
FAST = {"cluster": "CLUSTER_FAST", "text": "what is the weather like"}
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89"
    b"\0\0\0\rIDATx\x9cc\xf8\xff\xff?\0\5\xfe\2\xfe\xa7\x9a\xa0\xa0\0\0\0\0IEND\xaeB`\x82"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    clusters, modules = PARTS / "clusters", PARTS / "modules"
    with served(home, modules=modules, clusters=clusters, env=LIMITS) as process:
        yield process


@pytest.fixture(scope="module")
def clients(server: Served) -> Iterator[dict[str, httpx2.Client]]:
    """Clients by the name of their owner."""
    roles = {
        "anna": "client",
        "bob": "client",
        "listener": "client",
        "researcher": "researcher",
        "admin": "administrator",
    }

    def connected(name: str) -> httpx2.Client:
        token = server.token(roles[name], "--name", name)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.Client(base_url=server.url, headers=headers, timeout=30)

    with ThreadPoolExecutor(len(roles)) as pool:
        made = dict(zip(roles, pool.map(connected, roles), strict=True))
    yield made
    for client in made.values():
        client.close()


@pytest.fixture
def anna(clients: dict[str, httpx2.Client]) -> httpx2.Client:
    return clients["anna"]


@pytest.fixture
def bob(clients: dict[str, httpx2.Client]) -> httpx2.Client:
    return clients["bob"]


@pytest.fixture
def researcher(clients: dict[str, httpx2.Client]) -> httpx2.Client:
    return clients["researcher"]


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A question asked by the local voice, as a WAV file."""
    return make_questions(tmp_path_factory.mktemp("questions"), 1)[0].read_bytes()


def start(client: httpx2.Client, **more: Any) -> str:
    answer = client.post("/api/v1/tracks", json={**FAST, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["track_id"])


def speak(client: httpx2.Client, sound: bytes, **more: Any) -> httpx2.Response:
    asked = {"cluster": "CLUSTER_FAST", **more}
    return client.post(
        "/api/v1/tracks",
        data={"request": json.dumps(asked)},
        files={"audio": ("../../etc/passwd", sound)},
    )


def events(client: httpx2.Client, track_id: str, **headers: str) -> list[dict[str, Any]]:
    """What is told of the Track until its end."""
    path = f"/api/v1/tracks/{track_id}/events"
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        return list(parsed(answer.iter_lines()))


def parsed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            event[name] = json.loads(value) if name == "data" else value
        elif event:
            yield event
            event = {}


def ended(client: httpx2.Client, track_id: str) -> dict[str, Any]:
    """The Track once it has ended."""
    events(client, track_id)
    answer = client.get(f"/api/v1/tracks/{track_id}")
    assert answer.status_code == 200
    detail: dict[str, Any] = answer.json()
    return detail


def problem(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of an answer, which must be a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    assert told["detail"]
    assert told["instance"] == answer.request.url.path
    return told["status"], told["code"]


def slow(**more: Any) -> dict[str, Any]:
    """A request for a reply that takes most of a second, word by word."""
    return {"overrides": {"fast_answer": {"word_s": 0.1, "words": 5}}, **more}


# Turns


def test_a_recording_becomes_a_track_with_texts_sounds_and_its_waterfall(
    anna: httpx2.Client, question: bytes
) -> None:
    answer = speak(anna, question)
    assert answer.status_code == 202
    track_id = answer.json()["track_id"]
    assert answer.headers["location"] == f"/api/v1/tracks/{track_id}"

    track = ended(anna, track_id)
    assert track["status"] == "completed"
    assert track["error"] is None
    assert track["voice_to_voice_s"] > 0
    assert sum(s["end_s"] - s["start_s"] for s in track["spans"]) == pytest.approx(
        track["voice_to_voice_s"], abs=1e-4
    )
    assert [task["task_name"] for task in track["tasks"]] == [
        "fast_hear",
        "fast_answer",
        "fast_speak",
    ]
    by_kind = {each["kind"]: each for each in track["contents"]}
    assert by_kind["ResText"]["text"].startswith("You said hello")
    assert by_kind["DataAudio"]["task_id"] is None
    assert by_kind["ResSpeech"]["media_type"] == "audio/wav"
    svg = anna.get(f"/api/v1/tracks/{track_id}/waterfall.svg")
    assert svg.headers["content-type"] == "image/svg+xml"
    assert "fast_speak" in svg.text


def test_a_typed_turn_needs_no_sound(anna: httpx2.Client) -> None:
    track = ended(anna, start(anna, overrides={"fast_answer": {"words": 2}}))
    texts = {each["kind"]: each["text"] for each in track["contents"]}
    assert texts["ResText"] == "You said what is today."
    assert track["speech_s"] is None


def test_what_a_module_refuses_is_told_with_its_code(researcher: httpx2.Client) -> None:
    track = ended(researcher, start(researcher, overrides={"fast_answer": {"fail_after": 1}}))
    assert (track["status"], track["error"]["code"]) == ("failed", "module_failed")
    failed = next(task for task in track["tasks"] if task["name"] == "fast_answer")
    assert failed["error"]["code"] == "module_failed"


# Following


def test_events_tell_a_track_from_its_beginning_to_its_end(anna: httpx2.Client) -> None:
    told = events(anna, start(anna, **slow()))
    telling = told[0]["id"].removesuffix("-1")
    assert [each["id"] for each in told] == [f"{telling}-{n}" for n in range(1, len(told) + 1)]
    assert told[0]["event"] == "track"
    assert told[-1]["event"] == "end"
    assert told[-1]["data"]["status"] == "completed"
    chunks = [each["data"] for each in told if each["event"] == "chunk"]
    words = [chunk["text"] for chunk in chunks if chunk["kind"] == "Reply"]
    assert "".join(words) == "You said what is the weather like today."
    assert all("audio" not in chunk for chunk in chunks)


def test_after_a_break_events_go_on_where_they_ended(anna: httpx2.Client) -> None:
    track_id = start(anna, **slow())
    seen = []
    with anna.stream("GET", f"/api/v1/tracks/{track_id}/events") as answer:
        for event in parsed(answer.iter_lines()):
            seen.append(event)
            if len(seen) == 3:
                break
    rest = events(anna, track_id, **{"Last-Event-ID": seen[-1]["id"]})
    assert rest[0]["id"] == seen[-1]["id"].removesuffix("3") + "4"
    assert rest[-1]["event"] == "end"


def test_of_a_track_that_has_ended_the_records_tell(anna: httpx2.Client) -> None:
    track_id = start(anna, **slow())
    live = events(anna, track_id)
    past = events(anna, track_id)
    assert past[0]["event"] == "track"
    assert past[-1]["data"] == live[-1]["data"]
    replies = [each["data"] for each in past if each["data"].get("kind") == "Reply"]
    assert [each["text"] for each in replies] == ["You said what is the weather like today."]
    missed = events(anna, track_id, **{"Last-Event-ID": live[-2]["id"]})
    assert missed == past  # what was seen live counts pieces, the records count wholes
    rest = events(anna, track_id, **{"Last-Event-ID": past[-3]["id"]})
    assert rest == past[-2:]


def test_events_bring_the_sound_where_it_is_asked_for(anna: httpx2.Client) -> None:
    track_id = start(anna, **slow())
    with anna.stream("GET", f"/api/v1/tracks/{track_id}/events?audio=base64") as answer:
        told = list(parsed(answer.iter_lines()))
    spoken = [each["data"] for each in told if each["data"].get("kind") == "Speech"]
    assert spoken
    assert all(len(chunk["audio"]) > 1_000 for chunk in spoken)


def test_the_reply_is_heard_while_it_is_made(anna: httpx2.Client) -> None:
    track_id = start(anna, **slow())
    with anna.stream("GET", f"/api/v1/tracks/{track_id}/speech") as answer:
        assert answer.headers["content-type"] == "audio/wav"
        parts = answer.iter_bytes()
        head = next(parts)
        while len(head) < 45:
            head += next(parts)
        assert anna.get(f"/api/v1/tracks/{track_id}").json()["status"] == "started"
        live = head + b"".join(parts)
    assert live[:8] == b"RIFF\xff\xff\xff\xff"
    ended(anna, track_id)  # the last sound is there before the Track has ended
    kept = anna.get(f"/api/v1/tracks/{track_id}/speech")
    assert kept.headers["content-length"] == str(len(kept.content))
    assert kept.content[44:] == live[44:]


def test_a_track_without_sound_has_none_to_hear(researcher: httpx2.Client) -> None:
    track_id = start(researcher, overrides={"fast_answer": {"fail_after": 0}})
    assert problem(researcher.get(f"/api/v1/tracks/{track_id}/speech"))[0] == 404


def test_a_track_of_another_process_is_followed_heard_and_cancelled_through_this_one(
    server: Served, anna: httpx2.Client
) -> None:
    home = Path(server.env["TURNLAB_HOME"])
    parts = {"clusters": PARTS / "clusters", "modules": PARTS / "modules"}
    with served(home, env=LIMITS, name="second", **parts) as other:
        headers = {"Authorization": anna.headers["Authorization"]}
        with httpx2.Client(base_url=other.url, headers=headers, timeout=30) as there:
            track_id = start(anna, **slow())
            told = events(there, track_id)
            assert told[-1]["data"]["status"] == "completed"
            assert sum(each["event"] == "chunk" for each in told) > 5

            track_id = start(anna, **slow())
            sound = there.get(f"/api/v1/tracks/{track_id}/speech")
            assert sound.content[:8] == b"RIFF\xff\xff\xff\xff"

            track_id = start(anna, **slow())
            assert there.post(f"/api/v1/tracks/{track_id}/cancel").status_code == 202
            assert events(there, track_id)[-1]["data"]["status"] == "cancelled"


class Refusing(BaseHTTPRequestHandler):
    """Another API process that cannot tell of its Tracks now."""

    def do_GET(self) -> None:
        body = json.dumps(described(NotReady("Not now."), self.path.partition("?")[0])).encode()
        self.send_response(503)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_what_another_process_refuses_is_told(server: Served, anna: httpx2.Client) -> None:
    now, track_id = datetime.now(UTC), new_track_id("CLUSTER_FAST")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with database_at(Path(server.env["TURNLAB_HOME"], "turnlab.sqlite3")):
            moments = {"started_at": now, "heartbeat_at": now}
            url = f"http://127.0.0.1:{other.server_port}"
            node = models.Node.objects.create(id="N-other", url=url, **moments)
            track = models.Track.objects.create(
                track_id=track_id,
                cluster="CLUSTER_FAST",
                status="started",
                owner="anna",
                node=node.id,
                created_at=now,
                updated_at=now,
            )
            for path in ("events", "speech"):
                answer = anna.get(f"/api/v1/tracks/{track_id}/{path}")
                assert problem(answer) == (503, "not_ready")
                assert answer.headers["retry-after"] == "7"
            track.delete()
            node.delete()
        other.shutdown()


@contextmanager
def database_at(path: Path) -> Iterator[None]:
    """The database of a server, as another process sees it."""
    with pytest.MonkeyPatch.context() as patch:
        connection.close()
        patch.setitem(connection.settings_dict, "NAME", path)
        yield
        connection.close()


async def test_the_sound_of_a_track_that_waits_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look(*_: Any) -> Any:
        return listening._Waiting()

    monkeypatch.setattr(listening, "_look", look)
    with pytest.raises(NotReady, match="waits to be begun"):
        await listening._place(LOCAL, new_track_id("CLUSTER_FAST"), 0.0)


# Cancelling, running again


def test_a_cancelled_track_ends_and_says_so(anna: httpx2.Client) -> None:
    track_id = start(anna, **slow())
    answer = anna.post(f"/api/v1/tracks/{track_id}/cancel")
    assert answer.status_code == 202
    track = ended(anna, track_id)
    assert track["status"] == "cancelled"
    assert all(task["status"] in ("cancelled", "completed") for task in track["tasks"])
    again = anna.post(f"/api/v1/tracks/{track_id}/cancel")
    assert again.json() == {"track_id": track_id, "status": "cancelled"}


def test_a_rerun_has_the_same_input(anna: httpx2.Client, question: bytes) -> None:
    first = ended(anna, speak(anna, question).json()["track_id"])
    answer = anna.post(f"/api/v1/tracks/{first['track_id']}/rerun", json={})
    assert answer.status_code == 202
    second = ended(anna, answer.json()["track_id"])
    assert second["rerun_of"] == first["track_id"]
    assert second["speech_s"] == pytest.approx(first["speech_s"], abs=1e-3)
    assert texts_of(second) == texts_of(first)
    unknown = anna.post(f"/api/v1/tracks/{first['track_id']}/rerun", json={"cluster": "NONE"})
    assert problem(unknown) == (404, "unknown_cluster")


def texts_of(track: dict[str, Any]) -> list[str]:
    return [each["text"] for each in track["contents"] if each["text"]]


# Idempotency


def test_a_repeated_request_gives_the_same_track(anna: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "key-1"}
    first = anna.post("/api/v1/tracks", json=FAST, headers=headers)
    second = anna.post("/api/v1/tracks", json=FAST, headers=headers)
    assert first.json()["track_id"] == second.json()["track_id"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    other = anna.post("/api/v1/tracks", json={**FAST, "text": "another"}, headers=headers)
    assert problem(other) == (409, "idempotency_conflict")


def test_a_key_belongs_to_its_owner(anna: httpx2.Client, bob: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "key-of-two"}
    tracks = {
        client.post("/api/v1/tracks", json=FAST, headers=headers).json()["track_id"]
        for client in (anna, bob)
    }
    assert len(tracks) == 2


def test_of_simultaneous_repetitions_one_makes_the_track(
    anna: httpx2.Client, question: bytes
) -> None:
    together = threading.Barrier(6)

    def post(_: int) -> str:
        together.wait(10)
        answer = anna.post(
            "/api/v1/tracks",
            data={"request": json.dumps({"cluster": "CLUSTER_FAST"})},
            files={"audio": question},
            headers={"Idempotency-Key": "at once"},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["track_id"])

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(post, range(6)))) == 1


def test_a_repeated_conversation_is_the_same(anna: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "conversation-1"}
    first, second = (anna.post("/api/v1/conversations", json={}, headers=headers) for _ in "ab")
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"


# What clients may


def test_a_client_may_override_what_is_open_and_nothing_else(
    anna: httpx2.Client, researcher: httpx2.Client
) -> None:
    closed = {"overrides": {"fast_hear": {"greeting": "goodbye"}}}
    refused = anna.post("/api/v1/tracks", json={**FAST, **closed})
    assert problem(refused) == (422, "invalid_params")
    assert "fast_answer.words" in refused.json()["detail"]
    assert researcher.post("/api/v1/tracks", json={**FAST, **closed}).status_code == 202


def test_somebody_elses_track_is_as_unknown_as_one_that_is_not(
    anna: httpx2.Client, bob: httpx2.Client, researcher: httpx2.Client
) -> None:
    track_id = start(anna)
    events(anna, track_id)
    nobodys = track_id[:-32] + "0" * 32
    for path in ("", "/events", "/speech", "/waterfall.svg"):
        foreign = bob.get(f"/api/v1/tracks/{track_id}{path}")
        absent = bob.get(f"/api/v1/tracks/{nobodys}{path}")
        assert problem(foreign) == problem(absent) == (404, "unknown_track")
        assert foreign.text.replace(track_id, nobodys) == absent.text
    for action in ("cancel", "rerun"):
        assert problem(bob.post(f"/api/v1/tracks/{track_id}/{action}", json={}))[0] == 404
    assert problem(bob.post(f"/api/v1/replies/{track_id}/played"))[0] == 404
    assert bob.get("/api/v1/tracks", params={"owner": "anna"}).json()["items"] == []
    assert researcher.get(f"/api/v1/tracks/{track_id}").json()["owner"] == "anna"


def test_without_a_token_nothing_is_told(server: Served, anna: httpx2.Client) -> None:
    for path in ("/api/v1/tracks", "/api/v1/openapi.json", "/api/v1/docs", "/metrics"):
        answer = httpx2.get(server.url + path)
        assert problem(answer) == (401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    wrong = {"Authorization": "Bearer tl_000000000000_" + "A" * 43}
    assert problem(httpx2.get(server.url + "/api/v1/tracks", headers=wrong))[0] == 401
    assert problem(anna.get("/metrics")) == (403, "forbidden")


# Lists


def test_pages_give_every_track_once_newest_first(bob: httpx2.Client) -> None:
    made = [start(bob) for _ in range(5)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = bob.get("/api/v1/tracks", params={"limit": 2, **cursor}).json()
        found += [each["track_id"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found[:5] == made[::-1]
    assert len(found) == len(set(found))


def test_tracks_are_found_by_what_they_are(researcher: httpx2.Client) -> None:
    failed = ended(researcher, start(researcher, overrides={"fast_answer": {"fail_after": 0}}))

    def ids(**asked: Any) -> list[str]:
        page = researcher.get("/api/v1/tracks", params={"limit": 200, **asked}).json()
        return [each["track_id"] for each in page["items"]]

    assert failed["track_id"] in ids(status="failed")
    assert failed["track_id"] not in ids(status="completed")
    assert ids(cluster="CLUSTER_FAST", since=failed["created_at"])[-1] == failed["track_id"]
    assert failed["track_id"] not in ids(until=failed["created_at"])
    assert failed["track_id"] not in ids(min_latency=0)
    assert ids(cluster="NONE") == []
    assert ids(owner="nobody") == []


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 100_000},
        {"cursor": "bm9uc2Vuc2U="},
        {"status": "lost"},
        {"since": "yesterday"},
        {"since": "2026-11-22T10:00:00"},  # in which zone?
        {"min_latency": "nan"},
        {"owner": "\0"},
    ],
)
def test_a_query_that_cannot_be_is_told_by_its_field(
    anna: httpx2.Client, query: dict[str, Any]
) -> None:
    answer = anna.get("/api/v1/tracks", params=query)
    assert problem(answer) == (422, "invalid_request")
    assert next(iter(query)) in answer.json()["detail"]


# Refusals


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cluster": "CLUSTER_FAST", "text": ""}, "text"),
        ({"text": "hello"}, "cluster"),
        ({**FAST, "mode": "fast"}, "mode"),
        ({**FAST, "conversation": "mine"}, "conversation"),
        ({**FAST, "overrides": {"fast_answer": 1}}, "overrides"),
        ({**FAST, "webhook": "http://localhost"}, "webhook"),
        ([], "body"),
    ],
)
def test_a_request_that_is_wrong_is_told_by_its_field(
    anna: httpx2.Client, body: Any, field: str
) -> None:
    answer = anna.post("/api/v1/tracks", json=body)
    assert problem(answer) == (422, "invalid_request")
    assert field in answer.json()["detail"]


def test_whatever_http_refuses_is_a_problem_too(server: Served, anna: httpx2.Client) -> None:
    assert problem(anna.get("/api/v1/nothing")) == (404, "invalid_request")
    wrong_method = anna.put("/api/v1/tracks", json={})
    assert problem(wrong_method) == (405, "invalid_request")
    assert set(wrong_method.headers["allow"].split(", ")) == {"GET", "POST"}
    plain = {"Content-Type": "text/plain"}
    assert problem(anna.post("/api/v1/tracks", content=b"{}", headers=plain))[0] == 415
    assert problem(anna.post("/api/v1/conversations", content=b"{}", headers=plain))[0] == 415
    broken = {"Content-Type": "multipart/form-data"}
    assert problem(anna.post("/api/v1/tracks", content=b"--", headers=broken))[0] == 400
    as_json = {"Content-Type": "application/json"}
    for body in (b"{", b'{"text": NaN}', b'{"text": "\\u0000"}', b"\xff", b"[" * 10_000):
        assert problem(anna.post("/api/v1/tracks", content=body, headers=as_json))[0] == 400
    assert problem(anna.get("/api/v1/tracks", headers={"Host": "evil.example"}))[0] == 400


def test_too_much_is_refused(anna: httpx2.Client, tmp_path: Path) -> None:
    def without_length() -> Iterator[bytes]:
        for _ in range(48):
            yield b"x" * 65_536

    as_json = {"Content-Type": "application/json"}
    too_long = b'"' + b"x" * (3 << 20) + b'"'
    assert problem(anna.post("/api/v1/tracks", content=too_long, headers=as_json)) == (
        413,
        "too_large",
    )
    long = {"consent": "granted", "x": "x" * (3 << 19)}
    assert problem(anna.post("/api/v1/conversations", json=long)) == (413, "too_large")
    answer = anna.post("/api/v1/tracks", content=without_length(), headers=as_json)
    assert problem(answer) == (413, "too_large")
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(3_600 * 8_000, dtype=np.int16), 8_000, subtype="PCM_16")
    assert problem(speak(anna, path.read_bytes())) == (413, "too_large")


def test_sounds_and_pictures_that_are_none_are_refused(
    anna: httpx2.Client, question: bytes
) -> None:
    assert problem(speak(anna, b"no sound")) == (422, "invalid_audio")
    assert problem(speak(anna, b"")) == (422, "empty_audio")
    asked = {"request": json.dumps({"cluster": "CLUSTER_FAST"})}

    def show(*pictures: bytes) -> httpx2.Response:
        files = [("audio", question), *(("images", each) for each in pictures)]
        return anna.post("/api/v1/tracks", data=asked, files=files)

    assert problem(show(b"no picture")) == (422, "invalid_image")
    assert problem(show(*[PNG] * 17)) == (422, "invalid_request")
    assert show(PNG).status_code == 202
    strange = anna.post("/api/v1/tracks", data={**asked, "webhook": "x"}, files={"audio": question})
    assert problem(strange) == (422, "invalid_request")


# Media


def test_media_are_read_by_a_link_or_by_a_token_that_may(
    server: Served, anna: httpx2.Client, bob: httpx2.Client, question: bytes
) -> None:
    track = ended(anna, speak(anna, question).json()["track_id"])
    by_kind = {each["kind"]: each["media_url"] for each in track["contents"]}
    link = by_kind["DataAudio"]
    whole = httpx2.get(server.url + link)
    assert whole.content[:4] == b"RIFF"
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("inline; filename=")

    part = httpx2.get(server.url + link, headers={"Range": "bytes=8-11"})
    assert (part.status_code, part.content) == (206, b"WAVE")
    assert part.headers["content-range"] == f"bytes 8-11/{len(whole.content)}"
    behind = httpx2.get(server.url + link, headers={"Range": "bytes=99999999-"})
    assert problem(behind)[0] == 416
    head = httpx2.head(server.url + link)
    assert head.headers["content-length"] == str(len(whole.content))

    path = link.partition("?")[0]
    assert problem(httpx2.get(server.url + path)) == (401, "invalid_token")
    assert problem(httpx2.get(server.url + link.replace("signature=", "signature=x")))[0] == 403
    assert problem(httpx2.get(server.url + by_kind["ResSpeech"].partition("?")[0]))[0] == 401
    other_file = by_kind["ResSpeech"].partition("?")[0] + "?" + link.partition("?")[2]
    assert problem(httpx2.get(server.url + other_file)) == (403, "forbidden")
    assert anna.get(path).status_code == 200
    assert problem(bob.get(path))[0] == 404
    assert problem(anna.get("/media/%2e%2e/turnlab.sqlite3"))[0] == 404
    assert problem(httpx2.post(server.url + link))[0] == 405


# Conversations, replies


def test_a_conversation_remembers_its_turns(anna: httpx2.Client, bob: httpx2.Client) -> None:
    made = anna.post("/api/v1/conversations", json={"consent": "granted"})
    assert made.status_code == 201
    conversation = made.json()["id"]
    ended(anna, start(anna, conversation=conversation, overrides={"fast_answer": {"words": 1}}))
    path = f"/api/v1/conversations/{conversation}"
    kept = anna.get(path).json()
    assert kept["tracks"] == 1
    assert kept["exchanges"] == [{"text": FAST["text"], "reply": "You said what today."}]
    assert anna.patch(path, json={"consent": "refused"}).json()["consent"] == "refused"
    assert problem(anna.patch(path, json={"consent": "maybe"})) == (422, "invalid_request")
    assert problem(bob.get(path)) == (404, "unknown_conversation")
    assert problem(bob.post("/api/v1/tracks", json={**FAST, "conversation": conversation})) == (
        404,
        "unknown_conversation",
    )
    listed = anna.get("/api/v1/conversations").json()["items"]
    assert conversation in [each["id"] for each in listed]


def test_a_conversation_begins_with_its_first_turn(anna: httpx2.Client) -> None:
    answer = anna.post("/api/v1/tracks", json={**FAST, "conversation": "new"}).json()
    track = ended(anna, answer["track_id"])
    assert track["conversation_id"] == answer["conversation_id"]
    assert anna.get(f"/api/v1/conversations/{answer['conversation_id']}").status_code == 200


def test_a_reply_is_given_out_until_somebody_has_played_it(
    clients: dict[str, httpx2.Client], bob: httpx2.Client
) -> None:
    listener = clients["listener"]
    assert listener.get("/api/v1/replies/next").status_code == 204
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(listener.get, "/api/v1/replies/next", params={"wait": 20})
        track_id = start(listener, deliver=True)
        found = waiting.result(20).json()
    assert found["track_id"] == track_id
    assert listener.get(found["speech_url"]).content[:4] == b"RIFF"
    assert bob.get("/api/v1/replies/next").status_code == 204
    path = f"/api/v1/replies/{track_id}/played"
    assert [listener.post(path).json()["first"] for _ in range(2)] == [True, False]
    assert listener.get("/api/v1/replies/next").status_code == 204


def test_who_may_read_what_belongs_to_others_may_not_write_to_it(
    clients: dict[str, httpx2.Client], bob: httpx2.Client, researcher: httpx2.Client
) -> None:
    talk = bob.post("/api/v1/conversations", json={"consent": "granted"}).json()["id"]
    track_id = start(bob, conversation=talk, deliver=True)
    path = f"/api/v1/conversations/{talk}"
    assert researcher.get(path).status_code == 200
    forbidden = (403, "forbidden")
    assert problem(researcher.patch(path, json={"consent": "refused"})) == forbidden
    asked = {**FAST, "conversation": talk}
    assert problem(researcher.post("/api/v1/tracks", json=asked)) == forbidden
    played = f"/api/v1/replies/{track_id}/played"
    assert problem(researcher.post(played)) == forbidden
    admin = clients["admin"]
    assert admin.patch(path, json={"consent": ""}).json()["consent"] == ""
    assert bob.post(played).json()["first"] is True


def test_a_rerun_belongs_to_the_project_of_its_original(
    server: Served, anna: httpx2.Client, researcher: httpx2.Client
) -> None:
    command(server.env, "projects", "set", "study", "--keep", "text")
    token = server.token("client", "--name", "dora", "--project", "study")
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as dora:
        original = ended(dora, start(dora))
    answer = researcher.post(f"/api/v1/tracks/{original['track_id']}/rerun", json={})
    again = ended(researcher, answer.json()["track_id"])
    assert (again["owner"], again["project"]) == ("researcher", "study")


def test_while_an_older_reply_waits_no_younger_one_is_played(database: Path) -> None:
    def track(status: str, age_s: float) -> str:
        at = datetime.now(UTC) - timedelta(seconds=age_s)
        made = new_track_id("CLUSTER_FAST")
        values = {"status": status, "created_at": at, "updated_at": at, "deliver": True}
        models.Track.objects.create(track_id=made, cluster="CLUSTER_FAST", owner="eve", **values)
        return made

    younger = track("completed", 1)
    assert (next_of("eve") or {})["track_id"] == younger
    older = track("pending", 2)
    assert next_of("eve") is None
    models.Track.objects.filter(pk=older).update(status="failed")
    assert (next_of("eve") or {})["track_id"] == younger


def test_who_waits_for_a_reply_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    parts = {"clusters": PARTS / "clusters", "modules": PARTS / "modules"}
    with served(tmp_path / "home", **parts) as stopping, ThreadPoolExecutor(2) as pool:
        headers = {"Authorization": f"Bearer {stopping.token('client')}"}
        with httpx2.Client(base_url=stopping.url, headers=headers, timeout=30) as client:
            assert client.get("/api/v1/replies/next").status_code == 204
            waiting = pool.submit(client.get, "/api/v1/replies/next", params={"wait": 30})
            with pytest.raises(TimeoutError):
                waiting.result(0.3)  # it is there, and waits
            stopping.stop(timeout_s=20)
            assert waiting.result(20).status_code == 204


def test_files_of_the_server_are_not_told(anna: httpx2.Client) -> None:
    wrong = {"overrides": {"fast_answer": {"words": "many"}}}
    answer = anna.post("/api/v1/tracks", json={**FAST, **wrong})
    assert problem(answer) == (422, "invalid_params")
    told = answer.json()["detail"]
    assert told.startswith("CLUSTER_FAST: component 'fast_answer'")
    assert str(PARTS) not in told
    assert ".toml" not in told


# What there is


def test_clusters_and_modules_say_whether_they_can_run(anna: httpx2.Client) -> None:
    cluster = anna.get("/api/v1/clusters/CLUSTER_FAST").json()
    assert (cluster["runnable"], cluster["missing"], cluster["needs"]) == (True, [], ["Audio"])
    opened = {each["name"]: each["open"] for each in cluster["components"]}
    assert opened["fast_answer"] == ["word_s", "words"]
    names = [each["name"] for each in anna.get("/api/v1/clusters").json()["items"]]
    assert "CLUSTER_FAST" in names
    module = anna.get("/api/v1/modules/fast_answer").json()
    assert module["places"] == 64
    assert module["parameters"]["words"]["default"] == 8
    assert len(anna.get("/api/v1/modules").json()["items"]) > 10
    assert anna.get("/api/v1/workers").status_code == 200
    assert problem(anna.get("/api/v1/clusters/CLUSTER_FAS")) == (404, "unknown_cluster")
    assert problem(anna.get("/api/v1/modules/fast_answe")) == (404, "unknown_module")


def test_health_is_told_to_everybody(server: Served) -> None:
    assert httpx2.get(server.url + "/healthz").json() == {"status": "alive"}
    ready = httpx2.get(server.url + "/readyz")
    assert (ready.status_code, ready.json()["problems"]) == (200, [])


def test_metrics_count_what_happened(researcher: httpx2.Client, anna: httpx2.Client) -> None:
    ended(anna, start(anna))
    answer = researcher.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = dict(
        line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")
    )
    assert float(lines['turnlab_tracks_total{cluster="CLUSTER_FAST",status="completed"}']) >= 1
    route = 'method="POST",route="/api/v1/tracks",status="202"'
    assert float(lines[f"turnlab_http_requests_total{{{route}}}"]) >= 1
    assert lines["turnlab_database_up"] == "1.0"
    assert lines['turnlab_tasks_places{task_name="fast_hear"}'] == "64.0"
    assert "T-CLUSTER_FAST" not in answer.text


def test_the_schema_is_openapi(anna: httpx2.Client) -> None:
    schema = anna.get("/api/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    for path in schema["paths"].values():
        for operation in path.values():
            assert operation["security"] == [{"Bearer": []}]
            assert "application/problem+json" in operation["responses"]["401"]["content"]
    assert "swagger" in anna.get("/api/v1/docs").text


def test_the_page_of_the_docs_has_every_call(anna: httpx2.Client) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/rest-api.md").read_text()
    described = ("/api/v1/tasks", "/api/v1/projects", "/api/v1/purge")
    for path, operations in anna.get("/api/v1/openapi.json").json()["paths"].items():
        if not path.startswith(described):
            assert f"{path}`" in page
            assert all(f"{each.upper()} /api" in page for each in operations)
