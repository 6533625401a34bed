"""The memory cap of a Track: the oldest media beyond it move to a temporary file."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import IO

import numpy as np

from turnlab.chunks import Chunk, Sound
from turnlab.errors import SpillFailed

CAP_BYTES = 64 * 1024 * 1024
"""Media that one Track keeps in memory."""


class Spilled:
    """A Sound whose samples lie in the file; `load()` brings it back, from any thread.

    The file has no name and vanishes with the last Spilled that refers to it.
    """

    def __init__(self, sound: Sound, file: IO[bytes], offset: int) -> None:
        self._count = len(sound.samples)
        self._shell = replace(sound, samples=np.empty(0, dtype=np.float32))
        self._file = file
        self._offset = offset

    def load(self) -> Sound:
        """The Sound as it was, origin included."""
        data = os.pread(self._file.fileno(), self._count * 4, self._offset)
        samples = np.frombuffer(data, dtype=np.float32)
        return replace(self._shell, samples=samples)


class Spill:
    """Counts the media of one Track and moves the oldest sound out when they pass `cap_bytes`."""

    def __init__(self, cap_bytes: int = CAP_BYTES) -> None:
        self._cap_bytes = cap_bytes
        self._held_bytes = 0
        self._oldest: deque[tuple[Sound, Callable[[Spilled], None]]] = deque()
        self._file: IO[bytes] | None = None

    @property
    def held_bytes(self) -> int:
        """Media bytes in memory now."""
        return self._held_bytes

    def hold(self, chunk: Chunk, replace_by: Callable[[Spilled], None]) -> None:
        """Count `chunk`; later `replace_by` may be called. Raises SpillFailed on a full disk."""
        self._held_bytes += chunk.nbytes
        if isinstance(chunk, Sound):
            self._oldest.append((chunk, replace_by))
        while self._held_bytes > self._cap_bytes and len(self._oldest) > 1:
            sound, swap = self._oldest[0]
            swap(self._write(sound))
            self._oldest.popleft()
            self._held_bytes -= sound.nbytes

    def _write(self, sound: Sound) -> Spilled:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="turnlab-")  # noqa: SIM115
            offset = self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(sound.samples, dtype=np.float32).tobytes())
            self._file.flush()
        except OSError as error:
            raise SpillFailed(f"Media could not be moved out of memory: {error}") from error
        return Spilled(sound, self._file, offset)
