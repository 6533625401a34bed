"""One WebSocket to a Realtime server: events as dicts, failures as TurnlabErrors."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from turnlab.errors import (
    ProviderFailed,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
    TurnlabError,
    WrongKey,
)
from turnlab.openai_api.failures import clean_reason, refused
from turnlab.openai_api.params import Server
from turnlab.realtime_api.sound import FORMAT

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed, InvalidStatus

EVENT_LIMIT_BYTES = 16 * 2**20
"""What one event of the server may hold: about 4 minutes of sound."""

CLOSE_S = 0.5
"""How long to wait for the server's part of a farewell."""

_WRONG_KEY = {"invalid_api_key", "authentication_error", "permission_error"}
_RATE_LIMITED = {"rate_limit_exceeded", "insufficient_quota", "rate_limit_error"}
_OF_THE_SERVER = {"server_error", "internal_error", "session_expired", "inference_failed"}

# The library's own logger would write the key down where somebody logs everything.
_LOGGER = logging.getLogger("turnlab.websocket")
_LOGGER.setLevel(logging.WARNING)


class RealtimeConnection:
    """An open connection to a Realtime server."""

    def __init__(self, server: Server, socket: ClientConnection) -> None:
        self.server = server
        self._socket = socket

    @classmethod
    async def open(cls, server: Server, model: str, timeout_s: float) -> RealtimeConnection:
        """Connect and shake hands.

        Raises WrongKey, RateLimited, ProviderRefused, ProviderFailed, ProviderTimeout or
        ProviderUnreachable.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException

        class Direct(connect):
            """The key goes to the server that was named, and to none that this one names."""

            def process_redirect(self, exc: Exception) -> Exception | str:
                return exc

        headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
        try:
            socket = await Direct(
                _address(server, model),
                additional_headers=headers,
                open_timeout=timeout_s,
                close_timeout=CLOSE_S,
                ping_interval=None,  # a model at work may be too busy for them
                max_size=EVENT_LIMIT_BYTES,
                compression=None,
                proxy=None if server.is_here else True,  # it would be told the key
                logger=_LOGGER,
            )
        except InvalidStatus as error:
            raise _refused(server, error) from error
        except TimeoutError as error:
            raise ProviderTimeout(
                f"{server.name} did not accept the connection within {timeout_s:g} s."
            ) from error
        except OSError as error:
            raise ProviderUnreachable(
                f"{server.name} cannot be reached ({error.strerror or error}); check base_url "
                "and the network."
            ) from error
        except WebSocketException as error:
            raise ProviderFailed(
                f"{server.name} does not answer as a WebSocket server: {error}; check base_url."
            ) from error
        return cls(server, socket)

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one event. Once the server has closed, `receive` says why, not this."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(json.dumps({"type": kind, **fields}))
        except ConnectionClosed:
            return

    async def add_text(self, role: str, text: str) -> None:
        """Add to what the model knows of the conversation; nothing if `text` is empty."""
        if text.strip():
            kind = "output_text" if role == "assistant" else "input_text"
            item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
            await self.send("conversation.item.create", item=item)

    async def receive(self) -> dict[str, Any]:
        """The server's next event, if it is no error. Raises what the server says or does."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._socket.recv()
        except ConnectionClosed as error:
            raise self._closed(error) from error
        try:
            event = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise ProviderFailed(f"{self.server.name} sent what is no JSON.") from error
        if not isinstance(event, dict):
            raise ProviderFailed(f"{self.server.name} sent what is no event.")
        if event.get("type") == "error":
            raise told_error(self.server, event.get("error"))
        return event

    async def close(self) -> None:
        """Say farewell; after `CLOSE_S` without an answer, just leave."""
        await self._socket.close()

    def _closed(self, error: ConnectionClosed) -> TurnlabError:
        if error.sent is not None and error.sent.code == 1009:
            limit = f"{EVENT_LIMIT_BYTES // 2**20} MiB"
            return ProviderFailed(f"{self.server.name} sent an event larger than {limit}.")
        told = error.rcvd
        how = f"code {told.code} {told.reason}" if told else "without a word"
        return ProviderFailed(
            f"{self.server.name} closed the connection before it was done: "
            f"{clean_reason(how, self.server)} Try again."
        )


def session_settings(*, instructions: str, voice: str | None, transcription: str) -> dict[str, Any]:
    """A session that answers speech with speech once it is told that the turn is over.

    The server detects no voice itself; it writes down what it hears if `transcription` names a
    model for that.
    """
    heard: dict[str, Any] = {"format": FORMAT, "turn_detection": None}
    if transcription:
        heard["transcription"] = {"model": transcription}
    spoken = {"format": FORMAT} if voice is None else {"format": FORMAT, "voice": voice}
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": instructions,
        "audio": {"input": heard, "output": spoken},
    }


def told_error(server: Server, said: object) -> TurnlabError:
    """What the server calls an error (`type`, `code`, `message`), as one of ours."""
    told = said if isinstance(said, Mapping) else {"message": said}
    kinds = {str(told.get("code")), str(told.get("type"))}
    reason = clean_reason(told.get("message") or told.get("code") or "", server)
    if kinds & _WRONG_KEY:
        return WrongKey(f"{server.name} does not accept the key: {reason}")
    if kinds & _RATE_LIMITED:
        return RateLimited(f"{server.name} takes no more requests for now: {reason}")
    if kinds & _OF_THE_SERVER:
        return ProviderFailed(f"{server.name} failed: {reason} Try again later.")
    return ProviderRefused(f"{server.name} refused: {reason}")


def _address(server: Server, model: str) -> str:
    """Where the WebSocket is."""
    scheme = "wss" if urlsplit(server.base_url).scheme == "https" else "ws"
    rest = server.base_url.partition("://")[2]
    return f"{scheme}://{rest}/realtime?model={quote(model, safe='')}"


def _refused(server: Server, error: InvalidStatus) -> TurnlabError:
    """The handshake's HTTP status as an error."""
    reason, code = _told(bytes(error.response.body or b""))
    return refused(server, error.response.status_code, clean_reason(reason, server), (code,))


def _told(body: bytes) -> tuple[str, str]:
    """What the body of a refused handshake says: the API's own error object, or text."""
    text = body.decode(errors="replace")
    try:
        told = json.loads(text)["error"]
        return str(told["message"]), str(told.get("code"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return text, ""
