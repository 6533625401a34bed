from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from django.test import RequestFactory

from turnlab.errors import EmptyAudio, InvalidAudio, InvalidRequest, TooLarge
from turnlab.server.api.bodies import limited
from turnlab.server.api.media_files import _part
from turnlab.server.api.uploads import (
    MOST_JSON,
    MOST_VALUES,
    JsonParser,
    check_recording,
    read_json,
)

MIB = 2**20


class Client:
    """One HTTP request to an ASGI application, and what it was answered."""

    def __init__(self, parts: Iterator[bytes], **headers: str) -> None:
        self.read = 0
        self._parts = parts
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope = {"type": "http", "path": "/api/v1/tracks", "query_string": b"", "headers": raw}
        self.sent: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        part = next(self._parts, None)
        self.read += len(part or b"")
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def problem(self) -> Any:
        return json.loads(self.sent[1]["body"])


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads all of its body, as Django does before any view is asked."""
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 65_536


async def test_a_body_without_an_end_is_refused_where_it_becomes_too_long() -> None:
    client = Client(endless())
    async with asyncio.timeout(10):
        await limited(reading, MIB)(client.scope, client.receive, client.send)
    assert client.status == 413
    assert client.problem["code"] == "too_large"
    assert client.read <= 2 * MIB + 65_536  # also what is read so that the client gets the answer


async def test_a_body_that_says_that_it_is_too_long_is_refused_before_it_comes() -> None:
    client = Client(endless(), content_length=str(MIB + 1), expect="100-continue")
    await limited(reading, MIB)(client.scope, client.receive, client.send)
    assert (client.status, client.read) == (413, 0)


async def test_a_body_of_just_the_longest_length_is_read() -> None:
    client = Client(iter([b"x" * MIB]), content_length=str(MIB))
    client.scope["path"] = "/admin/"  # where no token counts
    await limited(reading, MIB)(client.scope, client.receive, client.send)
    assert client.status == 200
    assert client.scope["turnlab.received_s"] > 0


async def test_a_query_that_is_no_text_is_a_problem_and_no_failure() -> None:
    client = Client(iter(()))
    client.scope["query_string"] = b"cursor=\xff"
    await limited(reading, MIB)(client.scope, client.receive, client.send)
    assert (client.status, client.problem["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        '{"a": Infinity}',
        "1e999",
        "9" * 5_000,
        '"\\u0000"',
        '{"a\\u0000": 1}',
        '"\\ud800"',
        "[" * 100_000,
        "[" * 100 + "]" * 100,
    ],
)
def test_json_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_json(text)


def test_json_is_read() -> None:
    assert read_json(b'{"a": [1, 2.5, "\\ud83d\\ude00", null]}') == {"a": [1, 2.5, "😀", None]}


def test_long_json_is_refused_before_it_is_parsed() -> None:
    long = b'"' + b"x" * MOST_JSON + b'"'
    with pytest.raises(TooLarge, match="longer than 1 MiB"):
        read_json(long)
    with pytest.raises(TooLarge, match="longer than 1 MiB"):
        read_json(long.decode())
    request = RequestFactory().post("/api/v1/conversations", long, "application/json")
    with pytest.raises(TooLarge, match="longer than 1 MiB"):
        JsonParser().parse_body(request)
    assert len(read_json(long, 2 * MOST_JSON)) == MOST_JSON


def test_many_values_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(TooLarge, match="values"):
        read_json(b"[" + b"[]," * MOST_VALUES + b"[]]", 64 * MIB)


def flac(seconds: float, rate: int = 8_000) -> bytes:
    file = io.BytesIO()
    silence = np.zeros(int(seconds * rate), dtype=np.int16)
    soundfile.write(file, silence, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def claiming(data: bytes, frames: int) -> bytes:
    """The FLAC file with another number of samples in its STREAMINFO (RFC 9639, 8.2)."""
    at = 4 + 4 + 13
    field = int.from_bytes(data[at : at + 5], "big") >> 36 << 36 | frames
    return data[:at] + field.to_bytes(5, "big") + data[at + 5 :]


def test_a_recording_within_the_limit_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(flac(5))
    check_recording(path, 5)


@pytest.mark.parametrize("claimed_s", [3600, 61, 0])  # 0: not known
def test_a_small_file_that_decodes_to_an_hour_is_refused(tmp_path: Path, claimed_s: int) -> None:
    data = flac(3_600)
    assert len(data) < MIB  # which is what makes it a bomb
    path = tmp_path / "recording"
    path.write_bytes(claiming(data, claimed_s * 8_000))
    with pytest.raises(TooLarge, match="longer than 60 s"):
        check_recording(path, 60)


def test_of_a_file_no_more_is_decoded_than_it_claims(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(claiming(flac(3_600), 8_000))
    check_recording(path, 60)
    with soundfile.SoundFile(path) as file:
        assert len(file.read(100_000)) == 8_000


def test_many_channels_at_a_high_rate_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    soundfile.write(path, np.zeros((10, 8)), 384_000, format="WAV")
    with pytest.raises(TooLarge, match="channels"):
        check_recording(path, 60)


def test_what_is_no_sound_is_told_apart_from_what_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b"no sound")
    with pytest.raises(InvalidAudio):
        check_recording(path, 60)
    path.write_bytes(b"")
    with pytest.raises(EmptyAudio):
        check_recording(path, 60)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", (0, 100, False)),
        ("bytes=0-9", (0, 10, True)),
        ("bytes=90-", (90, 100, True)),
        ("bytes=90-1000", (90, 100, True)),
        ("bytes=-10", (90, 100, True)),
        ("bytes=-1000", (0, 100, True)),
        ("bytes=100-", None),
        ("bytes=-0", None),
        ("bytes=9-3", (0, 100, False)),
        ("bytes=0-1,5-6", (0, 100, False)),
        ("items=0-1", (0, 100, False)),
        ("bytes=" + "9" * 500 + "-", (0, 100, False)),
    ],
)
def test_a_range_is_read_as_http_has_it(header: str, part: object) -> None:
    assert _part(header, 100) == part
