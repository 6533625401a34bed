"""What carries frames: a WebSocket at either end, or memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from turnlab.errors import ProtocolViolation

MOST_REASON = 123
"""Bytes of the reason in a WebSocket's close frame (RFC 6455, 5.5)."""

NORMAL, GOING_AWAY, VIOLATION, OVERLOADED = 1000, 1001, 1008, 1013
"""Codes of the close frame (RFC 6455, 7.4.1)."""

_Event = MutableMapping[str, Any]


class Disconnected(Exception):
    """The other end is gone, or this one has closed; its text says what was told."""


class Transport(Protocol):
    """Carries whole frames, in order, both ways."""

    async def send(self, data: bytes) -> None:
        """Send one frame. Raises Disconnected."""
        ...

    async def receive(self) -> bytes:
        """The next frame. Raises Disconnected, or ProtocolViolation for what is no frame."""
        ...

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection; nothing if it is closed."""
        ...


class AsgiTransport:
    """The server's end of a WebSocket, over ASGI; `accept` comes first."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[_Event]],
        send: Callable[[_Event], Awaitable[None]],
    ) -> None:
        self._receive, self._send = receive, send
        self._closed = False

    async def accept(self) -> None:
        """Take the connection. Raises Disconnected if it went away before."""
        event = await self._receive()
        if event["type"] != "websocket.connect":
            raise Disconnected("it went away before it was accepted")
        await self._send({"type": "websocket.accept"})

    async def send(self, data: bytes) -> None:
        """Send one frame."""
        if self._closed:
            raise Disconnected("it is closed")
        try:
            await self._send({"type": "websocket.send", "bytes": data})
        except (OSError, RuntimeError) as error:  # servers say either of a socket that is gone
            self._closed = True
            raise Disconnected(str(error)) from error

    async def receive(self) -> bytes:
        """The next frame; text is none."""
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self._closed = True
            raise Disconnected(f"code {event.get('code')} {event.get('reason') or ''}".strip())
        data = event.get("bytes")
        if data is None:
            raise ProtocolViolation("Text was sent; frames are binary.")
        return bytes(data)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": cut(reason)})
            except (OSError, RuntimeError):
                return


class MemoryTransport:
    """One end of a connection within a process; `pair` makes both."""

    def __init__(self, most: int) -> None:
        self.peer: MemoryTransport = self
        self.closed = ""
        """Why it was closed."""
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(most)

    async def send(self, data: bytes) -> None:
        """Send one frame; waits while the other end has many that it has not taken."""
        if self.closed or self.peer.closed:
            raise Disconnected(self.closed or self.peer.closed)
        await self.peer._frames.put(bytes(data))

    async def receive(self) -> bytes:
        """The next frame."""
        data = None if self.closed and self._frames.empty() else await self._frames.get()
        if data is None:
            raise Disconnected(self.closed)
        return data

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close both ends; what was sent before is still received."""
        for end in (self, self.peer):
            if not end.closed:
                end.closed = f"code {code} {reason}"
                end._end()

    def _end(self) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(None)


def pair(most: int = 64) -> tuple[MemoryTransport, MemoryTransport]:
    """Both ends of a connection within this process that holds `most` frames each way."""
    here, there = MemoryTransport(most), MemoryTransport(most)
    here.peer, there.peer = there, here
    return here, there


def cut(reason: str) -> str:
    """`reason` as long as a close frame takes."""
    return reason.encode()[:MOST_REASON].decode(errors="ignore")
