"""The memory cap of a Track: the oldest media beyond it move to a temporary file."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import IO

import numpy as np

from turnlab.chunks import Chunk, Image, Sound
from turnlab.errors import SpillFailed

CAP_BYTES = 64 * 1024 * 1024
"""Media that one Track keeps in memory."""

Media = Sound | Image


class Spilled:
    """A Sound or Image whose content lies in the file; `load()` brings it back, from any thread.

    The file has no name and vanishes with the last Spilled that refers to it.
    """

    def __init__(self, chunk: Media, file: IO[bytes], offset: int, size: int) -> None:
        self._shell = _with(chunk, b"")
        self._file = file
        self._offset, self._size = offset, size
        self._loaded = weakref.ref(chunk)
        self._one_at_a_time = threading.Lock()

    def load(self) -> Media:
        """The Chunk as it was, origin included; the very same while anybody holds it."""
        with self._one_at_a_time:
            chunk = self._loaded()
            if chunk is None:
                data = os.pread(self._file.fileno(), self._size, self._offset)
                chunk = _with(self._shell, data)
                self._loaded = weakref.ref(chunk)
            return chunk


class Spill:
    """Counts the media of one Track and moves the oldest out when they pass `cap_bytes`."""

    def __init__(self, cap_bytes: int = CAP_BYTES) -> None:
        self._cap_bytes = cap_bytes
        self._held_bytes = 0
        self._oldest: deque[tuple[Media, Callable[[Spilled], None]]] = deque()
        self._file: IO[bytes] | None = None

    @property
    def held_bytes(self) -> int:
        """Media bytes in memory now."""
        return self._held_bytes

    def hold(self, chunk: Chunk, replace_by: Callable[[Spilled], None]) -> None:
        """Count `chunk`; later `replace_by` may be called. Raises SpillFailed on a full disk."""
        if not isinstance(chunk, Media):
            return
        self._held_bytes += chunk.nbytes
        self._oldest.append((chunk, replace_by))
        while self._held_bytes > self._cap_bytes and len(self._oldest) > 1:
            oldest, swap = self._oldest[0]
            swap(self._write(oldest))
            self._oldest.popleft()
            self._held_bytes -= oldest.nbytes

    def _write(self, chunk: Media) -> Spilled:
        content = _content(chunk)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="turnlab-")  # noqa: SIM115
            offset = self._file.seek(0, 2)
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise SpillFailed(f"Media could not be moved out of memory: {error}") from error
        return Spilled(chunk, self._file, offset, len(content))


def _content(chunk: Media) -> bytes:
    if isinstance(chunk, Image):
        return chunk.data
    return np.ascontiguousarray(chunk.samples, dtype=np.float32).tobytes()


def _with(chunk: Media, content: bytes) -> Media:
    """A copy of `chunk` with another content."""
    if isinstance(chunk, Image):
        return replace(chunk, data=content)
    return replace(chunk, samples=np.frombuffer(content, dtype=np.float32))
