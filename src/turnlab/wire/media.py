"""Bodies too large for a frame: kept in a folder of the API process for as long as a Task runs."""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import BinaryIO, Protocol

from turnlab.errors import InvalidRequest, TooLarge
from turnlab.wire.frames import INLINE

MOST_MEDIUM = 64 * 2**20
"""Bytes of one medium."""

MOST_MEDIA = 2**30
"""Bytes of all media of a process together."""

MOST_REFS = MOST_MEDIA // INLINE
"""Media that one sender may have kept: what a frame can hold goes by none."""

KEEP_S = 900.0
"""How long a medium is kept that nobody deletes: longer than it takes to fetch one."""

_LATE = "The medium took too long to come; send it again."

_NODE = r"[A-Za-z0-9_-]{1,64}"
_REF = re.compile(rf"({_NODE})\.([A-Za-z0-9_-]{{43}})")


class Media(Protocol):
    """Keeps bodies for the other end of a connection."""

    async def put(self, data: bytes) -> str:
        """Keep `data`; the reference under which the other end gets it."""
        ...

    async def get(self, ref: str) -> bytes:
        """What the other end has put."""
        ...

    async def delete(self, ref: str) -> None:
        """Forget it; nothing if it is not there."""
        ...


def new_ref(node: str) -> str:
    """A reference that nobody can guess; it begins with the API process that keeps the medium."""
    return f"{node}.{secrets.token_urlsafe(32)}"


def node_of(ref: str) -> str:
    """The API process that keeps the medium. Raises InvalidRequest if `ref` is no reference."""
    match = _REF.fullmatch(ref)
    if match is None:
        raise InvalidRequest(f"{ref[:100]!r} is no reference of a medium.")
    return match[1]


class MediaExchange:
    """The media of one API process, in a temporary folder that ends with it.

    Workers fetch and put them by HTTP, at `/api/v1/worker/media/{ref}`: `read` and `receive` are
    what answers these requests.
    """

    def __init__(self, node: str, *, most_bytes: int = MOST_MEDIA) -> None:
        if not re.fullmatch(_NODE, node):
            raise InvalidRequest(f"{node!r} cannot be the id of an API process.")
        self._node = node
        self._most = most_bytes
        self._folder = tempfile.TemporaryDirectory(prefix="turnlab-media-")
        self._sizes: dict[str, int] = {}
        self._total = 0
        """The sum of the sizes."""
        self._senders: dict[str, str] = {}
        """Of the media that others have sent, by whom."""
        self._sent: Counter[str] = Counter()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def put(self, data: bytes) -> str:
        """Keep `data`. Raises TooLarge."""
        ref = new_ref(self._node)
        await self.receive(ref, _one(data))
        return ref

    async def get(self, ref: str) -> bytes:
        """The whole medium. Raises InvalidRequest if there is none."""
        return await asyncio.to_thread(self.path(ref).read_bytes)

    async def delete(self, ref: str) -> None:
        """Forget a medium; nothing if it is not there."""
        if self._forget(ref):
            await asyncio.to_thread(self._file(ref).unlink, True)

    async def receive(self, ref: str, pieces: AsyncIterable[bytes], sender: str = "") -> None:
        """Keep what comes in `pieces` under a reference that the sender made.

        Raises InvalidRequest if the reference is none or is taken, or the medium took longer than
        `KEEP_S` to come; TooLarge beyond `MOST_MEDIUM`, where no more fits, and where a `sender`
        has `MOST_REFS` kept already. "" is this process itself.
        """
        if node_of(ref) != self._node or ref in self._sizes:
            raise InvalidRequest(
                "This reference is another process's, or is taken; make a new one."
            )
        if self._sent[sender] >= MOST_REFS:
            raise TooLarge(f"{MOST_REFS} media are kept for this sender already; try again later.")
        self._remember(ref, sender)
        try:
            async with asyncio.timeout(KEEP_S):
                with await asyncio.to_thread(self._file(ref).open, "xb") as file:
                    await self._write(ref, pieces, file)
        except BaseException as error:
            await asyncio.shield(self.delete(ref))
            if isinstance(error, TimeoutError):
                raise InvalidRequest(_LATE) from error
            raise

    def path(self, ref: str) -> Path:
        """The file that holds a medium. Raises InvalidRequest if there is none."""
        if node_of(ref) != self._node or ref not in self._sizes:
            raise InvalidRequest("There is no such medium; its Task has ended.")
        return self._file(ref)

    def close(self) -> None:
        """Delete all of it."""
        for timer in self._timers.values():
            timer.cancel()
        self._sizes.clear()
        self._total = 0
        self._senders.clear()
        self._sent.clear()
        self._timers.clear()
        self._folder.cleanup()

    def _remember(self, ref: str, sender: str) -> None:
        self._sizes[ref] = 0
        self._timers[ref] = asyncio.get_running_loop().call_later(KEEP_S, self._expire, ref)
        if sender:
            self._senders[ref] = sender
            self._sent[sender] += 1

    def _forget(self, ref: str) -> bool:
        """Whether it was there."""
        size = self._sizes.pop(ref, None)
        if size is None:
            return False
        self._total -= size
        self._timers.pop(ref).cancel()
        if sender := self._senders.pop(ref, ""):
            self._sent[sender] -= 1
            if not self._sent[sender]:
                del self._sent[sender]
        return True

    def _file(self, ref: str) -> Path:
        return Path(self._folder.name, ref)

    async def _write(self, ref: str, pieces: AsyncIterable[bytes], file: BinaryIO) -> None:
        async for piece in pieces:
            if ref not in self._sizes:
                raise InvalidRequest(_LATE)
            size = self._sizes[ref] + len(piece)
            if size > MOST_MEDIUM:
                raise TooLarge(f"A medium may hold at most {MOST_MEDIUM // 2**20} MiB.")
            if self._total + len(piece) > self._most:
                raise TooLarge("The media of Tasks under way take too much room; try again later.")
            self._sizes[ref] = size
            self._total += len(piece)
            await asyncio.to_thread(file.write, piece)

    def _expire(self, ref: str) -> None:
        self._forget(ref)
        self._file(ref).unlink(missing_ok=True)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
