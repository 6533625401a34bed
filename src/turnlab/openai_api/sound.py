"""Sound as it arrives from a server: 16-bit samples, raw or in a WAV file."""

from __future__ import annotations

import struct

import numpy as np

from turnlab.chunks import Samples
from turnlab.errors import ProviderFailed
from turnlab.openai_api.clients import Provider

HEAD_BYTES = 65_536
"""Longest head of a WAV file that is read."""

_TEXTS = ("text/", "application/json", "application/xml", "application/problem+json")
_PACKED = {b"ID3": "MP3", b"OggS": "Ogg", b"fLaC": "FLAC"}
_MP3 = (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
"""What MP3 may begin with, and raw samples too: it counts only where the server says so."""

_PCM, _EXTENSIBLE = 1, 0xFFFE
_ENDLESS = (0, 0xFFFFFFFF)
"""The length that a WAV file gives which was begun before its end was known."""


class Sounds:
    """Makes samples of the bytes of one answer; its rate is known with the first of them."""

    def __init__(self, provider: Provider, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._name = provider.server.name
        self._content_type = ""
        self._rest = b""
        self._left: int | None = None
        """Bytes of samples that are still to come, where that is known."""
        self._begun = self._sounded = False

    def expect(self, content_type: str) -> None:
        """Refuse an answer that says that it is text. Raises ProviderFailed."""
        self._content_type = content_type.lower()
        if self._content_type.startswith(_TEXTS):
            raise self._no_sound(f"sent {content_type[:64]} instead of sound")

    def add(self, data: bytes) -> Samples:
        """The samples (mono float32 in -1..1) that `data` completes. Raises ProviderFailed."""
        self._rest += data
        if not self._begun and not self._begin():
            return np.empty(0, dtype=np.float32)
        whole = len(self._rest) // 2 * 2
        pcm, self._rest = self._rest[:whole], self._rest[whole:]
        if self._left is not None:
            pcm = pcm[: self._left]
            self._left -= len(pcm)
        self._sounded = self._sounded or bool(pcm)
        return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)

    def end(self) -> None:
        """Refuse an answer that held no sound. Raises ProviderFailed."""
        if not self._sounded:
            raise self._no_sound("sent no sound")

    def _begin(self) -> bool:
        """Whether samples come next: now that enough is there to tell, or a WAV head is over."""
        if len(self._rest) < 4:
            return False
        if packed := self._packed():
            raise self._no_sound(f"sent {packed}; set response_format to what it can send")
        if not self._rest.startswith(b"RIFF"):
            self._begun = True
        elif len(self._rest) >= 12:
            self._begun = self._skip_head()
        return self._begun

    def _packed(self) -> str | None:
        """The name of the compressed form that the answer has."""
        if self._rest.startswith(_MP3) and "mp" in self._content_type:
            return "MP3"
        return next((name for magic, name in _PACKED.items() if self._rest.startswith(magic)), None)

    def _skip_head(self) -> bool:
        """Whether the samples of the WAV file have begun; takes its head away then."""
        at = 12
        while len(self._rest) >= at + 8:
            name, size = struct.unpack_from("<4sI", self._rest, at)
            if name == b"data":
                self._rest = self._rest[at + 8 :]
                self._left = None if size in _ENDLESS else size // 2 * 2
                return True
            if name == b"fmt " and len(self._rest) >= at + 24:
                self._read_form(*struct.unpack_from("<HHIIHH", self._rest, at + 8))
            at += 8 + size + size % 2
        if at > HEAD_BYTES:
            raise self._no_sound("sent a WAV file whose samples do not begin")
        return False

    def _read_form(self, form: int, channels: int, rate: int, *sizes: int) -> None:
        if form not in (_PCM, _EXTENSIBLE) or channels != 1 or sizes[-1] != 16 or not rate:
            raise self._no_sound("sent a WAV file that is not 16-bit mono")
        self.sample_rate = rate

    def _no_sound(self, what: str) -> ProviderFailed:
        return ProviderFailed(f"{self._name} {what}; check base_url, model and voice.")
