"""Media in their storage: sounds as 16-bit PCM WAV files, mono; pictures as they were given."""

from __future__ import annotations

import hashlib
import re
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from turnlab.chunks import Audio, Image, Samples, Sound, Speech
from turnlab.errors import InvalidAudio, InvalidImage, UnreadableFile
from turnlab.records import Content, ContentKind

_BLOCK = 1 << 20  # samples converted at a time
IN_MEMORY = 8 << 20  # bytes of WAV held in memory; a longer one goes through a temporary file
_FULL_SCALE = 1 << 15
SUFFIXES = {
    "image/gif": "gif",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
}
_SAFE = re.compile(r"[0-9a-f-]{32,36}")


@dataclass(frozen=True, kw_only=True)
class KeptContent(Content):
    """A Content as it is kept: its media lie in `file` of the storage and nowhere else."""

    file: str = ""
    duration_s: float = 0.0
    """Length in seconds; 0 for what is no sound."""
    sample_rate: int = 0
    """In Hz; 0 for what is no sound."""
    media_type: str = ""
    """Of a picture, such as image/png."""


def save_media(content: Content) -> KeptContent:
    """Write the picture, or the sound piece by piece, of `content` to the media storage.

    Raises InvalidAudio if the pieces make no sound, InvalidImage if the picture is of no type
    that is kept, else what the storage raises (OSError).
    """
    bare = {f.name for f in fields(Content)} - {"sound", "picture"}
    kept = {name: getattr(content, name) for name in bare}
    if content.picture is not None:
        return _save_picture(content, content.picture, kept)
    with SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        frames, rate = spool_wav(spool, content.sound or ())
        if not frames:
            return KeptContent(**kept)
        spool.seek(0)
        file = default_storage.save(_path(content, "audio", "wav"), File(spool))
    return KeptContent(**kept, file=file, duration_s=frames / rate, sample_rate=rate)


def _save_picture(content: Content, picture: Image, kept: dict[str, Any]) -> KeptContent:
    suffix = SUFFIXES.get(picture.media_type)
    if suffix is None:
        raise InvalidImage(f"A picture of type {picture.media_type!r} is not kept; give PNG.")
    file = default_storage.save(_path(content, "images", suffix), ContentFile(picture.data))
    return KeptContent(**kept, file=file, media_type=picture.media_type)


def rereadable(content: Content) -> Content:
    """`content` with a sound that can be written again should the disk refuse it half-way."""
    if isinstance(content.sound, Iterator):
        return replace(content, sound=tuple(content.sound))
    return content


def load_sound(content: KeptContent) -> Sound:
    """Read back the sound of a kept Content, whole. Raises UnreadableFile."""
    try:
        with default_storage.open(content.file) as file, wave.open(file) as wav:
            pcm = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")
    except (OSError, EOFError, wave.Error, ValueError) as error:
        raise UnreadableFile(f"The sound {content.file!r} cannot be read: {error}") from error
    samples: Samples = pcm.astype(np.float32) / np.float32(_FULL_SCALE)
    if content.kind is ContentKind.DATA_AUDIO:
        return Audio(samples=samples, sample_rate=content.sample_rate)
    return Speech(samples=samples, sample_rate=content.sample_rate, text=content.text)


def _path(content: Content, area: str, suffix: str) -> str:
    """Spread over folders by the Track's digits; nothing of it can name another folder."""
    folder = _digits(content.track_id[-32:])[:2]
    return f"{area}/{folder}/{_digits(content.id)}.{suffix}"


def _digits(name: str) -> str:
    """The name itself if it is hex digits as Turnlab makes them, else digits that stand for it."""
    if _SAFE.fullmatch(name):
        return name
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]


def spool_wav(file: IO[bytes], pieces: Iterable[Sound]) -> tuple[int, int]:
    """Write the WAV and return its frames and rate, 0 and 0 if there are none."""
    try:
        return _write_wav(file, pieces)
    except (OSError, InvalidAudio):
        raise
    except Exception as error:  # a length or a rate that WAV cannot hold, samples that are none
        raise InvalidAudio(f"The sound cannot be kept as WAV: {error}") from error


# The standard library's writer: through soundfile, an error of the file below it (no space left)
# would be printed and swallowed instead of raised.
def _write_wav(file: IO[bytes], pieces: Iterable[Sound]) -> tuple[int, int]:
    frames = rate = 0
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(8_000)  # stands for no pieces; the first piece says otherwise
        for piece in (each for each in pieces if len(each.samples)):
            if not frames:
                rate = piece.sample_rate
                wav.setframerate(rate)
            if piece.sample_rate != rate:
                raise InvalidAudio("Pieces of one sound must share one sample rate.")
            _write_samples(wav, piece.samples)
            frames += len(piece.samples)
    return frames, rate


def _write_samples(wav: wave.Wave_write, samples: Samples) -> None:
    for start in range(0, len(samples), _BLOCK):
        wav.writeframesraw(_pcm(samples[start : start + _BLOCK]))


def _pcm(samples: Samples) -> bytes:
    """Little-endian 16-bit samples, exactly those of a recording that was read from 16 bits."""
    scaled = np.rint(np.nan_to_num(samples) * np.float32(_FULL_SCALE))
    pcm: bytes = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()
    return pcm
