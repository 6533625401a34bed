"""Recordings: opened, checked and measured once, then fed into a Track as a microphone would."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from turnlab.chunks import Audio, Chunk, Image, Samples
from turnlab.clock import Clock
from turnlab.errors import (
    EmptyAudio,
    InvalidAudio,
    InvalidImage,
    NoSpeech,
    TooLarge,
    UnreadableFile,
)
from turnlab.pictures import LIMIT_BYTES, picture_type
from turnlab.streams import Stream
from turnlab.turns.voice_activity import VoiceActivity

RATE = 16_000
"""The sample rate of all Audio inside Turnlab, in Hz; recordings of any rate are resampled."""

BLOCK_S = 10.0
"""Seconds decoded at once, so that an hour needs no more memory than a minute."""

ARRIVAL_S = 0.05
"""Seconds of audio that arrive at once at the pace of speech."""

RATES_HZ = (4_000, 384_000)
MOST_CHANNELS = 32
"""What a file may claim; others are damaged or made to do damage."""

MOST_SAMPLES_PER_S = 48_000 * 8
"""Samples of all channels together in a second of what a client sends: a small file can claim more
than a server should spend time on."""

CACHED_S = 60.0
"""Recordings up to this length are decoded once, before the Track begins."""


class Pace(StrEnum):
    """How a recording arrives: handed over whole, or at the speed of speech."""

    FAST = "fast"
    REALTIME = "realtime"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording that can be decoded and in which a voice was found."""

    path: Path
    duration_s: float
    last_voiced_s: float
    """The end of the last voiced frame (Silero, 32 ms frames)."""
    _decoded: tuple[Samples, ...] = field(default=(), repr=False)

    def blocks(self) -> Iterator[Samples]:
        """Mono float32 samples at 16 kHz, block by block. Raises InvalidAudio."""
        return iter(self._decoded) if self._decoded else _decode(self.path)


def open_recording(
    path: Path,
    detector: VoiceActivity | None = None,
    *,
    longest_s: float | None = None,
    measure: bool = True,
) -> Recording:
    """Open, check and measure a recording of any rate, width and number of channels.

    Without `measure`, which takes time, only whether there is a voice is found out; it counts as
    voiced to its end.

    Raises UnreadableFile, InvalidAudio, EmptyAudio, NoSpeech if no voice is in it. With
    `longest_s`, which is for what clients send, also TooLarge if it is longer, whatever it claims,
    or has more samples a second than `MOST_SAMPLES_PER_S`.
    """
    with _opened(path) as file:
        if file.frames == 0:
            raise EmptyAudio(f"{path} holds no samples; record it again.")
        duration_s = file.frames / file.samplerate
        rate, channels = file.samplerate, file.channels
    if longest_s is not None:
        check_density(rate, channels)
        if duration_s > longest_s:
            raise _too_long(longest_s)
    # A file that claims a minute may hold hours.
    most_s = min(longest_s or 2 * CACHED_S, 2 * CACHED_S)
    decoded = tuple(_at_most(_decode(path), most_s)) if duration_s <= CACHED_S else ()
    detector = detector or VoiceActivity()
    if not measure:
        blocks = decoded or _at_most(_decode(path), duration_s)
        if not any(detector.is_voiced(block) for block in blocks):
            raise _no_voice(path)
        return Recording(
            path=path, duration_s=duration_s, last_voiced_s=duration_s, _decoded=decoded
        )
    if decoded:
        samples = np.concatenate(decoded)
        last = detector.last_voiced(len(samples), lambda start, end: samples[start:end])
        duration_s = len(samples) / RATE
    else:
        count = math.ceil(duration_s * RATE)
        last = detector.last_voiced(count, lambda start, end: _excerpt(path, start, end))
    if last is None:
        raise _no_voice(path)
    last_s = min(last / RATE, duration_s)
    return Recording(path=path, duration_s=duration_s, last_voiced_s=last_s, _decoded=decoded)


def check_density(rate: int, channels: int) -> None:
    """Raise TooLarge if a recording has more than `MOST_SAMPLES_PER_S`."""
    if rate * channels > MOST_SAMPLES_PER_S:
        raise TooLarge(f"The recording has {channels} channels at {rate} Hz; send one channel.")


def _no_voice(path: Path) -> NoSpeech:
    return NoSpeech(f"No voice was found in {path}; check the microphone or its level.")


def _at_most(blocks: Iterator[Samples], longest_s: float) -> Iterator[Samples]:
    left = longest_s * RATE
    for block in blocks:
        left -= len(block)
        if left < -RATE:
            raise _too_long(longest_s)
        yield block


def _too_long(longest_s: float) -> TooLarge:
    return TooLarge(f"The recording is longer than {longest_s:g} s; send a shorter one.")


def open_image(path: Path) -> Image:
    """A picture by its content, not its name. Raises UnreadableFile or InvalidImage."""
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > LIMIT_BYTES:
        raise InvalidImage(f"{path} is larger than {LIMIT_BYTES // 2**20} MiB; shrink it.")
    media_type = picture_type(data)
    if media_type is not None:
        return Image(data=data, media_type=media_type)
    raise InvalidImage(f"{path} is neither PNG, JPEG, WebP nor GIF.")


@dataclass(frozen=True, kw_only=True)
class RecordedTurn:
    """A turn from files: a recording and any pictures that go with it."""

    recording: Recording
    clock: Clock
    pace: Pace = Pace.FAST
    images: tuple[Image, ...] = ()

    @property
    def kinds(self) -> tuple[type[Chunk], ...]:
        """Audio, and Image if there are pictures."""
        return (Audio, Image) if self.images else (Audio,)

    @property
    def speech_s(self) -> float:
        """Length of the recording in seconds."""
        return self.recording.duration_s

    @property
    def last_voiced_s(self) -> float:
        """Where its last voiced sample lies, in seconds from its beginning."""
        return self.recording.last_voiced_s

    def turn_over_s(self, start_s: float) -> float:
        """The last voiced sample at the pace of speech, the handing over otherwise."""
        return start_s + (self.last_voiced_s if self.pace is Pace.REALTIME else 0.0)

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put pictures and recording into their streams and end them. Raises InvalidAudio."""
        for image in self.images:
            await streams[Image].put(image)
        if Image in streams:
            streams[Image].end()
        await _feed(self.recording, streams[Audio], self.pace, self.clock, start_s)
        streams[Audio].end()


async def _feed(
    recording: Recording, stream: Stream[Audio], pace: Pace, clock: Clock, start_s: float
) -> None:
    """Put the recording into `stream`.

    At the pace of speech a piece arrives when its last sample has been spoken. Where a
    recording ends is known, so the turn is over at its last voiced sample: the quiet that
    follows is handed over at that moment, and no end-of-turn wait is part of the figures.
    """
    at = 0
    last_voiced = round(recording.last_voiced_s * RATE)
    for block in recording.blocks():
        for piece in _pieces(block, at, last_voiced) if pace is Pace.REALTIME else [block]:
            at += len(piece)
            if pace is Pace.REALTIME:
                await clock.sleep_until(start_s + min(at, last_voiced) / RATE)
            await stream.put(Audio(samples=piece, sample_rate=RATE))


def _pieces(block: Samples, at: int, last_voiced: int) -> Iterator[Samples]:
    """Cut at each arrival and at the last voiced sample; what follows that stays whole."""
    step = int(ARRIVAL_S * RATE)
    voiced = min(max(last_voiced - at, 0), len(block))
    for start in range(0, voiced, step):
        yield block[start : min(start + step, voiced)]
    if voiced < len(block):
        yield block[voiced:]


def _opened(path: Path) -> Any:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from error
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        if path.stat().st_size == 0:
            raise EmptyAudio(f"{path} is empty; record it again.") from error
        raise InvalidAudio(
            f"{path} is not audio that can be decoded ({error.error_string}); "
            "give WAV, FLAC, OGG or MP3."
        ) from error
    if not (RATES_HZ[0] <= file.samplerate <= RATES_HZ[1] and file.channels <= MOST_CHANNELS):
        file.close()
        raise InvalidAudio(
            f"{path} claims {file.samplerate} Hz and {file.channels} channels; export it again."
        )
    return file


def _decode(path: Path) -> Iterator[Samples]:
    with _opened(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32")
        block = int(BLOCK_S * file.samplerate)
        while True:
            samples = _mono(path, file, block)
            last = len(samples) < block
            resampled = resampler.resample_chunk(samples, last=last)
            if len(resampled):
                yield resampled
            if last:
                return


def _excerpt(path: Path, start: int, end: int) -> Samples:
    """Samples start..end at 16 kHz without decoding what lies before them."""
    with _opened(path) as file:
        first = min(start * file.samplerate // RATE, file.frames)
        samples = _mono(path, file, math.ceil((end - start) * file.samplerate / RATE), first)
        return np.asarray(soxr.resample(samples, file.samplerate, RATE), dtype=np.float32)


def _mono(path: Path, file: Any, frames: int, first: int | None = None) -> Samples:
    """The next `frames` of the file, or those from `first` on, mixed down."""
    try:
        if first is not None:
            file.seek(first)
        samples = file.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"{path} breaks off: {error.error_string}.") from error
    mono: Samples = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise InvalidAudio(f"{path} holds samples that are not numbers; export it again.")
    return np.clip(mono, -1.0, 1.0)
