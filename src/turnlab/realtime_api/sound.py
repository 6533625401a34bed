"""Sound as the protocol carries it: 16 bits, mono, 24 kHz, little-endian, base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import numpy as np
import soxr

from turnlab.chunks import Samples

RATE = 24_000
"""The sample rate in both directions, in Hz."""

FORMAT = {"type": "audio/pcm", "rate": RATE}
"""The same in the words of the protocol."""

PIECE = RATE // 2
"""Most samples of one event: half a second, so that a long recording is no single message."""


class Upsampler:
    """Makes base64 of 24 kHz from samples at `rate_hz` as they come."""

    def __init__(self, rate_hz: int) -> None:
        self._resampler = soxr.ResampleStream(rate_hz, RATE, 1, dtype="float32")

    def encode(self, samples: Samples, *, last: bool = False) -> Iterator[str]:
        """The pieces that are ready, in order; with `last`, all that are left."""
        resampled = self._resampler.resample_chunk(samples, last=last)
        pcm = (np.clip(resampled, -1.0, 1.0) * 32767).astype("<i2")
        for start in range(0, len(pcm), PIECE):
            yield base64.b64encode(pcm[start : start + PIECE].tobytes()).decode("ascii")


class Decoder:
    """Makes samples in -1..1 from base64; a sample may be cut in two."""

    def __init__(self) -> None:
        self._half = b""

    def decode(self, text: object) -> Samples:
        """The samples that are whole now. Raises ValueError if `text` is no base64."""
        if not isinstance(text, str):
            raise ValueError("no text")
        try:
            data = self._half + base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError("no base64") from error
        whole = len(data) - len(data) % 2
        self._half = data[whole:]
        samples: Samples = np.frombuffer(data[:whole], dtype="<i2").astype(np.float32)
        return samples / np.float32(32768)
