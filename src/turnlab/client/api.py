"""A Turnlab server's REST API, as far as the client needs it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from turnlab.client.answers import JSON, field_of, json_of, require_success
from turnlab.client.patience import Later
from turnlab.errors import (
    InvalidRequest,
    InvalidToken,
    ServerUnreachable,
    UnreadableFile,
)
from turnlab.pictures import picture_type

TIMEOUT = httpx2.Timeout(connect=10.0, read=60.0, write=60.0, pool=None)
"""Seconds without a byte. The server's own waits (`wait=20`) are shorter."""

STREAM_TIMEOUT = httpx2.Timeout(connect=10.0, read=300.0, write=60.0, pool=None)
"""Of streams: between two pieces of a reply a model may think for long."""


class Api:
    """The API at `url`, by one token.

    Each call raises Later where the same call may succeed later on, and the error that the
    server named where it cannot. A context manager: leaving it closes the connections.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = check_url(url)
        self._client = httpx2.AsyncClient(
            base_url=f"{self.url}/api/v1/",
            headers={"Authorization": f"Bearer {check_token(token)}"},
            timeout=TIMEOUT,
            trust_env=not on_this_machine(self.url),  # no proxy for a server on this machine
        )

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def cluster(self, name: str) -> JSON:
        """A Cluster by its name."""
        return await self._json("GET", f"clusters/{quote(name, safe='')}")

    async def clusters(self) -> list[JSON]:
        """All Clusters that the server has."""
        found = await self._json("GET", "clusters")
        return list(found.get("items", ()))

    async def new_conversation(self, consent: str = "") -> str:
        """The id of a new Conversation; `consent` is `granted`, `refused` or empty."""
        made = await self._json(
            "POST", "conversations", json={"consent": consent} if consent else {}
        )
        return str(field_of(made, "id"))

    async def set_consent(self, conversation_id: str, consent: str) -> None:
        """Write down whether the user agrees that a Conversation is kept."""
        path = f"conversations/{quote(conversation_id, safe='')}"
        await self._json("PATCH", path, json={"consent": consent})

    async def start_track(
        self, request: Mapping[str, Any], audio: Path, images: Sequence[Path], key: str
    ) -> JSON:
        """Start a Track of a recording, once for each `key`: {track_id, status, ...}."""
        files = await asyncio.to_thread(_files, audio, images)
        form = {"request": json.dumps(request)}
        headers = {"Idempotency-Key": key}
        made = await self._json("POST", "tracks", data=form, files=files, headers=headers)
        field_of(made, "track_id")
        return made

    async def track(self, track_id: str) -> JSON:
        """A Track with its Tasks and contents."""
        return await self._json("GET", f"tracks/{quote(track_id, safe='')}")

    async def events(self, track_id: str) -> AsyncGenerator[httpx2.ServerSentEvent, None]:
        """What happens in a Track, from its beginning to its end."""
        path = f"tracks/{quote(track_id, safe='')}/events"
        async with self._streamed(path, {"Accept": "text/event-stream"}) as response:
            async for event in httpx2.EventSource(response):
                yield event

    async def next_reply(self, wait_s: int = 20) -> JSON | None:
        """The oldest Track whose reply waits to be played; None if none came within `wait_s`."""
        response = await self._send("GET", "replies/next", params={"wait": wait_s})
        if response.status_code == HTTPStatus.NO_CONTENT:
            return None
        found = json_of(response)
        field_of(found, "track_id")
        return found

    async def speech(self, track_id: str) -> AsyncGenerator[bytes, None]:
        """The reply of a Track as a WAV file, as it is made.

        Raises Later if it breaks off: what came then is not all of it.
        """
        path = f"tracks/{quote(track_id, safe='')}/speech"
        async with self._streamed(path, {}) as response:
            async for piece in response.aiter_bytes():
                yield piece

    async def played(self, track_id: str) -> JSON:
        """Mark a reply as played; {first: false} if it was already."""
        return await self._json("POST", f"replies/{quote(track_id, safe='')}/played")

    async def _json(self, method: str, path: str, **content: Any) -> JSON:
        return json_of(await self._send(method, path, **content))

    async def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            response = await self._client.request(method, path, **content)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        require_success(response)
        return response

    @asynccontextmanager
    async def _streamed(
        self, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        try:
            async with self._client.stream(
                "GET", path, headers=headers, timeout=STREAM_TIMEOUT
            ) as response:
                if not response.is_success:
                    await response.aread()
                require_success(response)
                yield response
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx2.HTTPError) -> Later:
        what = str(error) or type(error).__name__
        return Later(ServerUnreachable(f"{self.url} cannot be reached ({what})."))


def _files(audio: Path, images: Sequence[Path]) -> list[tuple[str, Any]]:
    """The parts of an upload. Raises UnreadableFile."""
    try:
        parts: list[tuple[str, Any]] = [("audio", (audio.name, audio.read_bytes(), "audio/wav"))]
        for path in images:
            data = path.read_bytes()
            parts.append(("images", (path.name, data, picture_type(data) or "image/jpeg")))
    except OSError as error:
        raise UnreadableFile(f"{error.filename} cannot be read: {error.strerror}.") from error
    return parts


def check_url(url: str) -> str:
    """`url` without a slash at its end. Raises InvalidRequest unless it is http(s)://host..."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise InvalidRequest(
            "--api must be the address of a server, such as http://127.0.0.1:8000."
        )
    return url.split("#")[0].split("?")[0].rstrip("/")


def check_token(token: str) -> str:
    """`token` if a header can hold it. Raises InvalidToken, which does not repeat it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidToken(
            "Give a token by --token or TURNLAB_TOKEN; `turnlab tokens create` makes one."
        )
    return token


def on_this_machine(url: str) -> bool:
    """Whether `url` is that of a server on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
