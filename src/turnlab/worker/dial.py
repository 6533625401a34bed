"""The worker's end of the WebSocket, and of HTTP for what is too large for it."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from turnlab.errors import (
    Forbidden,
    InvalidToken,
    MissingPackage,
    ProtocolViolation,
    ServerUnreachable,
    TooLarge,
    TurnlabError,
)
from turnlab.wire.failures import error_of, shortened
from turnlab.wire.fields import MOST_NAME
from turnlab.wire.frames import MOST_BYTES
from turnlab.wire.media import MOST_MEDIUM, new_ref
from turnlab.wire.transports import NORMAL, Disconnected, cut

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.http11 import Response

PATH = "/api/v1/worker"
OPEN_S = 10.0
CLOSE_S = 1.0
MEDIUM_S = 60.0

_NEEDED = "A worker needs websockets and httpx2: pip install 'turnlab[worker]'"

# The library's own logger would write the token down where somebody logs everything.
_LOGGER = logging.getLogger("turnlab.worker.websocket")
_LOGGER.setLevel(logging.WARNING)


class SocketTransport:
    """A WebSocket that this process has dialled."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, data: bytes) -> None:
        """Send one frame."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(data)
        except ConnectionClosed as error:
            raise Disconnected(_why(error)) from error

    async def receive(self) -> bytes:
        """The next frame; text is none."""
        from websockets.exceptions import ConnectionClosed

        try:
            data = await self._socket.recv()
        except ConnectionClosed as error:
            raise Disconnected(_why(error)) from error
        if isinstance(data, str):
            raise ProtocolViolation("Text was sent; frames are binary.")
        return data

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection."""
        await self._socket.close(code, cut(reason))


async def dial(api_url: str, authorization: str) -> SocketTransport:
    """Connect to the server at `api_url`; `authorization` is the header of that name.

    Raises ServerUnreachable, InvalidToken, Forbidden, ProtocolViolation, MissingPackage.
    """
    try:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException
    except ImportError:
        raise MissingPackage(_NEEDED) from None

    class Direct(connect):
        """The token goes to the server that was named, and to none that this one names."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    try:
        socket = await Direct(
            socket_url(api_url),
            additional_headers={"Authorization": authorization},
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            ping_interval=None,  # the protocol has its own
            max_size=MOST_BYTES,
            compression=None,
            proxy=None if is_here(api_url) else True,
            logger=_LOGGER,
        )
    except InvalidStatus as error:
        raise _refused(api_url, error.response) from error
    except (OSError, TimeoutError, WebSocketException) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ServerUnreachable(
            f"The server at {api_url} cannot be reached ({said:.200}); check --api and the network."
        ) from error
    return SocketTransport(socket)


def socket_url(api_url: str) -> str:
    """Where the workers' WebSocket is. Raises ServerUnreachable if `api_url` is no address."""
    parts = urlsplit(api_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerUnreachable(f"{api_url!r} is no address; give one such as http://host:8000.")
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{PATH}"


def is_here(api_url: str) -> bool:
    """Whether the server is on this machine."""
    host = urlsplit(api_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HttpMedia:
    """Puts media into an API process and gets them from there."""

    def __init__(self, api_url: str, authorization: Callable[[], str], node: str) -> None:
        self._url, self._node = api_url.rstrip("/"), node
        self._authorization = authorization

    async def put(self, data: bytes) -> str:
        """Keep `data` there. Raises ServerUnreachable, TooLarge."""
        if len(data) > MOST_MEDIUM:
            raise TooLarge(f"A Chunk of {len(data)} bytes is larger than {MOST_MEDIUM}.")
        ref = new_ref(self._node)
        await self._request("PUT", ref, data)
        return ref

    async def get(self, ref: str) -> bytes:
        """What is kept there. Raises ServerUnreachable, TooLarge."""
        return await self._request("GET", ref, None)

    async def delete(self, ref: str) -> None:
        """Nothing: the server deletes media when their Task ends."""

    async def _request(self, method: str, ref: str, data: bytes | None) -> bytes:
        try:
            import httpx2
        except ImportError:
            raise MissingPackage(_NEEDED) from None
        url = f"{self._url}{PATH}/media/{ref}"
        headers = {"Authorization": self._authorization()}
        fields: dict[str, Any] = {
            "timeout": MEDIUM_S,
            "trust_env": not is_here(self._url),  # a proxy would be told the token
            "verify": self._url.startswith("https:"),  # else certificates are read for nothing
        }
        try:
            async with (
                httpx2.AsyncClient(**fields) as client,
                client.stream(method, url, headers=headers, content=data) as answer,
            ):
                if answer.status_code // 100 != 2:
                    raise ServerUnreachable(
                        f"The server at {self._url} did not take or give a medium: "
                        f"HTTP {answer.status_code}."
                    )
                return await _limited(answer)
        except httpx2.HTTPError as error:
            raise ServerUnreachable(
                f"A medium did not come through ({error!r:.200}); check the network."
            ) from error


async def _limited(answer: Any) -> bytes:
    """The body, unless it is larger than a medium may be."""
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > MOST_MEDIUM:
            raise TooLarge(f"The server sent a medium larger than {MOST_MEDIUM} bytes.")
    return bytes(body)


def _refused(api_url: str, response: Response) -> TurnlabError:
    """What a refused handshake means; the server names the error, proxies only a status."""
    status, code = response.status_code, response.headers.get("x-turnlab-error", "")
    if code:
        said = bytes(response.body or b"").decode(errors="replace")
        return error_of(code[:MOST_NAME], shortened(said), "")
    if status == 401:
        return InvalidToken()
    if status == 403:
        return Forbidden(
            "The server refuses the token: it is wrong, or may not connect workers. On the server, "
            "`turnlab tokens create --role worker` makes one that may."
        )
    return ServerUnreachable(
        f"{api_url} answered HTTP {status}; it may be no Turnlab server, or an older one."
    )


def _why(error: Any) -> str:
    told = error.rcvd
    return (told.reason or f"code {told.code}") if told else "the connection broke"
