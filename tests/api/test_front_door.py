"""Who only wants to keep the server busy: refused before anything is read, or in time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from pydantic import ValidationError

from turnlab.cli.serve import CannotListen, _listen
from turnlab.errors import Forbidden, InvalidToken
from turnlab.server import limits
from turnlab.server.api.bodies import FORM_BYTES, SMALL_BYTES, limited
from turnlab.server.api.schemas import StartTrack
from turnlab.server.connections import MOST, TimelyProtocol
from turnlab.server.logs import is_failure, without_traceback
from turnlab.server.tokens import create_token
from turnlab.testing.service import Served, served
from turnlab.worker.dial import dial

MIB = 2**20
LONG = {"content-length": str(10 * MIB)}
IN_PIECES = {"transfer-encoding": "chunked"}


class Client:
    """One request whose body comes in pieces of 64 KiB, and then stops, where `stops_at` says."""

    def __init__(self, path: str, size: int, headers: dict[str, str], stops_at: int = 2**40):
        self.left, self.read, self.stops_at = size, 0, stops_at
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.scope = {"type": "http", "path": path, "query_string": b"", "headers": raw}
        self.scope["client"] = ("192.0.2.1", 1)
        self.sent: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        if self.read >= self.stops_at:
            await asyncio.Event().wait()
        part = b"x" * min(self.left, 1 << 16)
        self.read, self.left = self.read + len(part), self.left - len(part)
        return {"type": "http.request", "body": part, "more_body": self.left > 0}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def asked(self, **options: Any) -> int:
        """The status that it is answered with."""
        async with asyncio.timeout(10):
            await limited(reading, 64 * MIB, **options)(self.scope, self.receive, self.send)
        return int(self.sent[0]["status"])

    @property
    def problem(self) -> Any:
        return json.loads(self.sent[1]["body"])


read_by_app: list[int] = []


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """Reads all of its body, as Django does before any view is asked."""
    read_by_app.append(0)
    while True:
        message = await receive()
        read_by_app[-1] += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    read_by_app.clear()
    limits._failures.cache_clear()


@pytest.mark.parametrize("path", ["/api/v1/tracks", "/v1/audio/transcriptions", "/api/nothing"])
@pytest.mark.parametrize("how", [LONG, IN_PIECES])
@pytest.mark.parametrize("token", [None, "", "Basic YWxhZGRpbg==", "Bearer sk-1234", "Bearer tl_1"])
async def test_a_long_body_is_not_read_for_who_has_no_token(
    database: Path, path: str, how: dict[str, str], token: str | None
) -> None:
    headers = how if token is None else {**how, "authorization": token}
    client = Client(path, 10 * MIB, headers)
    assert await client.asked() == 401
    assert client.problem["code"] == "invalid_token"
    assert b"WWW-Authenticate" in dict(client.sent[0]["headers"])
    assert read_by_app == []


async def test_a_wrong_token_is_counted_and_a_right_one_may_send(database: Path) -> None:
    _, token = await asyncio.to_thread(create_token, "client")
    right = {**LONG, "authorization": f"Bearer {token}"}
    assert await Client("/api/v1/tracks", 10 * MIB, right).asked() == 200
    assert read_by_app == [10 * MIB]
    wrong = {**LONG, "authorization": f"Bearer {token[:-4]}AAAA"}
    found = []
    for _ in range(50):
        found.append(await Client("/api/v1/tracks", 0, wrong).asked())
    assert (found[0], found[-1]) == (401, 429)


async def test_a_short_body_goes_on_to_who_answers_as_ever() -> None:
    headers = {"content-length": str(SMALL_BYTES)}
    assert await Client("/api/v1/tracks", SMALL_BYTES, headers).asked() == 200


async def test_of_a_form_no_more_is_read_than_people_send() -> None:
    assert await Client("/admin/login/", 10 * MIB, LONG).asked() == 413
    assert read_by_app == []
    assert await Client("/nothing", 10 * MIB, IN_PIECES).asked() == 413
    assert read_by_app[-1] <= FORM_BYTES


async def test_a_body_that_stops_is_waited_for_no_longer() -> None:
    client = Client("/admin/login/", MIB, {}, stops_at=1 << 17)
    assert await client.asked(silence_s=0.01) == 408
    assert client.problem["detail"]


async def test_a_body_that_drips_has_to_be_there_in_time() -> None:
    class Dripping(Client):
        async def receive(self) -> dict[str, Any]:
            await asyncio.sleep(0.001)
            return {"type": "http.request", "body": b"x", "more_body": True}

    assert await Dripping("/admin/login/", 0, {}).asked(silence_s=5, whole_s=0.05) == 408


async def test_after_its_body_a_request_may_take_as_long_as_it_likes() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()  # which Django does to see whether the client goes away
        await send({"type": "http.response.start", "status": 200, "headers": []})

    class Staying(Client):
        async def receive(self) -> dict[str, Any]:
            if self.sent or self.read:
                await asyncio.sleep(0.1)
                return {"type": "http.disconnect"}
            self.read = 1
            return {"type": "http.request", "body": b"", "more_body": False}

    client = Staying("/api/v1/tracks", 0, {})
    await limited(slow, MIB, silence_s=0.01, whole_s=0.02)(
        client.scope, client.receive, client.send
    )
    assert client.sent[0]["status"] == 200


# Connections


@asynccontextmanager
async def listening(head_s: float) -> AsyncIterator[int]:
    """A server that answers with nothing; its port."""

    class Hasty(TimelyProtocol):
        pass

    Hasty.head_s = head_s

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await asyncio.sleep(4 * head_s)
            await send({"type": "websocket.send", "text": "still here"})
            return
        await asyncio.sleep(2 * head_s if scope["path"] == "/slow" else 0)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    options: dict[str, Any] = {"lifespan": "off", "log_level": "error", "timeout_keep_alive": 1}
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, http=Hasty, ws="websockets-sansio", **options)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n",
    ],
)
async def test_half_a_head_is_not_waited_for_without_end(sent: bytes) -> None:
    async with listening(0.1) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answers = await reader.read()  # to the end, which the server makes
        assert answers.count(b"204 No Content") == sent.count(b"\r\n\r\n")
        writer.close()


async def test_who_has_asked_is_answered_however_long_it_takes() -> None:
    async with listening(0.1) as port, asyncio.timeout(10):
        url = f"http://127.0.0.1:{port}/slow"
        async with httpx2.AsyncClient() as client:
            assert [(await client.get(url)).status_code for _ in range(2)] == [204, 204]


async def test_a_websocket_is_no_head_that_does_not_end() -> None:
    from websockets.asyncio.client import connect

    async with listening(0.05) as port, connect(f"ws://127.0.0.1:{port}/") as connection:
        assert await connection.recv() == "still here"


def test_an_address_that_is_not_of_this_machine_is_told_apart_from_a_port_in_use() -> None:
    with pytest.raises(CannotListen, match="--host"):
        _listen("192.0.2.1", 0)  # RFC 5737: nobody's
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotListen, match="--port"):
            _listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * MOST, reason="ulimit -n is too small for it"
)
async def test_beyond_what_a_process_holds_the_answer_is_503(server: Served) -> None:
    port = int(server.url.rpartition(":")[2])
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST - 1)]
    async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
        assert (await client.get("/healthz")).status_code == 503
    for _, writer in idle:
        writer.close()
    async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
        while (await client.get("/healthz")).status_code != 200:
            pass  # until the server has seen them close


def test_a_worker_takes_the_address_from_where_clients_do() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "turnlab", "worker"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"TURNLAB_API": "nowhere"},
    )
    assert done.returncode == 1
    assert "'nowhere' is no address" in done.stderr.replace("\n", " ")


# What is typed, and what is logged


@pytest.mark.parametrize("text", ["", " ", "\t\n\u00a0"])
def test_blanks_are_nothing_to_say(text: str) -> None:
    with pytest.raises(ValidationError):
        StartTrack(cluster="A", text=text)
    assert StartTrack(cluster="A", text=f"{text}hello{text}").text == "hello"


def test_what_a_client_did_is_one_line_and_what_failed_has_its_traceback() -> None:
    failure = (ValueError, ValueError("why"), None)
    suspected, failed = (
        logging.LogRecord(name, logging.ERROR, "", 1, "what", (), failure)
        for name in ("django.security.DisallowedModelAdminLookup", "django.request")
    )
    for record in (suspected, failed):
        assert without_traceback(record)
        assert is_failure(record)
    assert (suspected.exc_info, failed.exc_info) == (None, failure)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), embedded=False) as process:
        yield process


def test_the_first_address_leads_to_the_admin(server: Served) -> None:
    with httpx2.Client(base_url=server.url, follow_redirects=True) as browser:
        assert browser.get("/").url.path == "/admin/login/"
        icon = browser.get("/favicon.ico")
        assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")


def test_who_signs_in_without_having_asked_for_a_page_sees_the_admin(server: Served) -> None:
    with httpx2.Client(base_url=server.url) as browser:
        browser.get("/admin/login/")
        form = {"username": "admin", "password": server.env["TURNLAB_ADMIN_PASSWORD"]}
        form["csrfmiddlewaretoken"] = browser.cookies["turnlab_csrf"]
        answer = browser.post("/admin/login/", data=form)
        assert answer.headers["location"] == "/admin/"
        said = server.said
        assert browser.get("/admin/turnlab/track/?foo=1").status_code == 400
        assert "Traceback" not in server.said.removeprefix(said)


async def test_a_refused_worker_is_told_why_and_nothing_has_failed(server: Served) -> None:
    with pytest.raises(InvalidToken, match="wrong"):
        await dial(server.url, "Bearer tl_000000000000_" + "A" * 43)
    token = await asyncio.to_thread(server.token, "client")
    with pytest.raises(Forbidden):
        await dial(server.url, f"Bearer {token}")
    assert "handshake" not in server.said


def test_nobody_fills_the_disk_without_a_token(server: Served) -> None:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        length = f"Content-Length: {62 * MIB}"
        head = ("POST /api/v1/tracks HTTP/1.1", "Host: localhost", length, "", "")
        client.sendall("\r\n".join(head).encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 401 ")
