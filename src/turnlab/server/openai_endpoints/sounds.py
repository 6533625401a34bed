"""Speech in the forms that OpenAI's API names."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
import soxr

from turnlab.chunks import Samples

PCM_HZ = 24_000
"""Of `pcm`, as OpenAI defines it; also what mp3 and opus are made of."""

MEDIA_TYPES = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}

STREAMED = ("wav", "pcm")
"""The forms that are sent as they are made."""

_FORMS = {
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}
"""Of the others, what libsndfile calls the file and what is in it."""

_ENDLESS = 0xFFFFFFFF
"""The length in the head of a WAV file that is begun before its end is known."""


def writable() -> list[str]:
    """The forms that can be written here: some depend on what libsndfile was built with."""
    kinds = soundfile.available_formats()
    able = [form for form, (kind, sort) in _FORMS.items() if kind in kinds and _has(kind, sort)]
    return [*STREAMED, *able]


def _has(kind: str, sort: str) -> bool:
    return sort in soundfile.available_subtypes(kind)


def wav_head(sample_rate: int) -> bytes:
    """The head of a WAV file of 16-bit mono samples, of unknown length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", _ENDLESS, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", _ENDLESS)


def pcm(samples: Samples) -> bytes:
    """Little-endian 16-bit samples."""
    scaled = np.rint(np.clip(samples, -1, 1) * np.float32(32767))
    data: bytes = scaled.astype("<i2").tobytes()
    return data


class Wav:
    """A WAV file at the rate of its samples, piece by piece."""

    def __init__(self, sample_rate: int) -> None:
        self._head = wav_head(sample_rate)

    def add(self, samples: Samples) -> bytes:
        """What `samples` adds."""
        head, self._head = self._head, b""
        return head + pcm(samples)

    def end(self) -> bytes:
        """Nothing is left."""
        return b""


class Pcm:
    """Bare samples at `PCM_HZ`, piece by piece."""

    def __init__(self, sample_rate: int) -> None:
        self._stream: Any = None
        if sample_rate != PCM_HZ:
            self._stream = soxr.ResampleStream(sample_rate, PCM_HZ, 1, dtype="float32")

    def add(self, samples: Samples) -> bytes:
        """What `samples` completes."""
        return pcm(self._stream.resample_chunk(samples) if self._stream else samples)

    def end(self) -> bytes:
        """The rest."""
        if self._stream is None:
            return b""
        return pcm(self._stream.resample_chunk(np.empty(0, dtype=np.float32), last=True))


WRITERS: Mapping[str, type[Wav] | type[Pcm]] = {"wav": Wav, "pcm": Pcm}
"""What writes the forms that are sent as they are made."""


def encoded(samples: Samples, sample_rate: int, form: str) -> bytes:
    """The samples as a whole file of `form`."""
    container, subtype = _FORMS[form]
    if form != "flac":
        samples = np.asarray(soxr.resample(samples, sample_rate, PCM_HZ), dtype=np.float32)
        sample_rate = PCM_HZ
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", samplerate=sample_rate, channels=1, format=container, subtype=subtype
    ) as writer:
        # Second by second: some encoders keep all of what they are given at once on the stack.
        for at in range(0, len(samples), sample_rate):
            writer.write(np.clip(samples[at : at + sample_rate], -1, 1))
    return file.getvalue()
