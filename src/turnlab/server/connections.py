"""Connections of clients: uvicorn waits for ever for the head of a request; this does not."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_S = 20.0
"""How long the head of a request may take from the first byte, or the connection."""

MOST = 1_000
"""Connections and requests at once, those of workers and of followers among them; whoever asks
beyond it is answered with 503. Most systems let a process have 1,024 open files."""


class TimelyProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP, which closes a connection that does not ask for anything in time.

    uvicorn's own `timeout_keep_alive` counts between a response and the next byte alone.
    """

    head_s = HEAD_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take some of a request; if it is no whole head yet, wait for the rest of it."""
        super().data_received(data)
        if self._is_waited_for():
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _is_waited_for(self) -> bool:
        """Whether no request is under way; a WebSocket has another protocol."""
        idle = self.cycle is None or self.cycle.response_complete
        return bool(idle and self.transport.get_protocol() is self)

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_s, self._too_late)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._is_waited_for():
            self.transport.close()
