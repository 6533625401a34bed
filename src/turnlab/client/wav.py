"""A WAV file that comes piece by piece and does not know its length."""

from __future__ import annotations

import struct

import numpy as np

from turnlab.chunks import Samples
from turnlab.errors import ProtocolViolation

MOST_HEADER_BYTES = 64 * 1024
"""Before the first sample; real ones have 44."""

_PCM = 1
_EXTENSIBLE = 0xFFFE


class WavReader:
    """Reads mono PCM of 16 bits; `rate` is 0 until the header was there."""

    def __init__(self) -> None:
        self.rate = 0
        self._bytes = b""

    def feed(self, data: bytes) -> Samples:
        """The samples that are whole with `data`, mono float32. Raises ProtocolViolation."""
        self._bytes += data
        if not self.rate and not self._read_header():
            return np.zeros(0, dtype=np.float32)
        whole = len(self._bytes) - len(self._bytes) % 2
        samples = np.frombuffer(self._bytes[:whole], dtype="<i2").astype(np.float32)
        self._bytes = self._bytes[whole:]
        return samples / np.float32(32768)

    def _read_header(self) -> bool:
        """Read up to the first sample; False while that is not there yet."""
        data = self._bytes
        if len(data) >= 12 and (data[:4], data[8:12]) != (b"RIFF", b"WAVE"):
            raise ProtocolViolation("The reply is no WAV file; use the same version on both sides.")
        at, rate = 12, 0
        while len(data) >= at + 8:
            name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            if name == b"data":
                self.rate, self._bytes = _checked(rate), data[at + 8 :]
                return True
            if name == b"fmt " and len(data) >= at + 24:
                rate = _rate(data[at + 8 : at + 24])
            at += 8 + length + length % 2
            if at > MOST_HEADER_BYTES:
                raise ProtocolViolation("The reply's WAV header does not end.")
        return False


def _rate(format_: bytes) -> int:
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", format_)
    if kind not in (_PCM, _EXTENSIBLE) or channels != 1 or bits != 16:
        raise ProtocolViolation("The reply is not mono PCM of 16 bits.")
    return int(rate)


def _checked(rate: int) -> int:
    if not 4_000 <= rate <= 384_000:
        raise ProtocolViolation(f"The reply claims {rate} Hz.")
    return rate
