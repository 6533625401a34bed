"""Where replies are heard: a loudspeaker, WAV files in a folder, or raw samples on a pipe."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr

from turnlab.chunks import Samples
from turnlab.client.microphone import device_errors, device_of, load_sounddevice
from turnlab.errors import InvalidParams, OutputFailed
from turnlab.home import make_folder

PIECE_S = 0.1
"""What a loudspeaker is given at once, and so how soon it can be stopped."""


class Player(Protocol):
    """Plays one reply after another: `begin`, `play` for each piece, then `end` or `abandon`."""

    async def begin(self, track_id: str, rate: int) -> None:
        """A reply begins, of samples at `rate` Hz."""
        ...

    async def play(self, samples: Samples) -> None:
        """Play mono float32 samples; returns when the next are wanted."""
        ...

    async def end(self) -> None:
        """Return when all of the reply was heard."""
        ...

    async def abandon(self) -> None:
        """The reply broke off; nothing more of it comes."""
        ...


class Loudspeaker:
    """A sound device: its name, its number, or None for the default one."""

    def __init__(self, device: str | None) -> None:
        self._sounddevice = load_sounddevice()
        self._device = device_of(device)
        with device_errors(self._sounddevice):
            own = self._sounddevice.query_devices(self._device, "output")
        self._rate = int(own["default_samplerate"])
        self._stream: Any = None
        self._resampler: Any = None

    async def begin(self, track_id: str, rate: int) -> None:
        """Open the device. Raises NoAudioDevice."""
        self._resampler = soxr.ResampleStream(rate, self._rate, 1, dtype="float32")
        with device_errors(self._sounddevice):
            self._stream = self._sounddevice.RawOutputStream(
                samplerate=self._rate, device=self._device, channels=1, dtype="float32"
            )
            self._stream.start()

    async def play(self, samples: Samples) -> None:
        """Hand the samples to the device as it takes them. Raises NoAudioDevice."""
        await self._write(self._resampler.resample_chunk(samples))

    async def end(self) -> None:
        """Wait for the last sample."""
        rest = self._resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        await self._write(rest)
        with device_errors(self._sounddevice):
            await asyncio.to_thread(self._stream.stop)
        self._close()

    async def abandon(self) -> None:
        """Be silent at once."""
        if self._stream is not None:
            self._stream.abort()
            self._close()

    async def _write(self, samples: Samples) -> None:
        step = round(PIECE_S * self._rate)
        with device_errors(self._sounddevice):
            for start in range(0, len(samples), step):
                piece = np.ascontiguousarray(samples[start : start + step])
                await asyncio.to_thread(self._stream.write, piece.tobytes())

    def _close(self) -> None:
        self._stream.close()
        self._stream = None


class WavFolder:
    """A file `{track_id}.wav` for each reply; it is there once it is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Any = None
        self._path = folder
        try:
            make_folder(folder)
        except OSError as error:
            raise OutputFailed(f"{folder} cannot be made: {error.strerror}.") from error

    async def begin(self, track_id: str, rate: int) -> None:
        """Begin a file. Raises OutputFailed."""
        self._path = self._folder / f"{track_id}.wav"
        part = self._path.with_suffix(".part")
        try:
            self._file = soundfile.SoundFile(part, "w", rate, 1, "PCM_16", format="WAV")
        except (OSError, soundfile.LibsndfileError) as error:
            raise OutputFailed(f"{part} cannot be written ({error}).") from error

    async def play(self, samples: Samples) -> None:
        """Add to the file. Raises OutputFailed."""
        try:
            self._file.write(samples)
        except (OSError, soundfile.LibsndfileError) as error:
            raise OutputFailed(f"{self._path} cannot be written ({error}).") from error

    async def end(self) -> None:
        """Put the file in its place."""
        self._file.close()
        self._path.with_suffix(".part").replace(self._path)

    async def abandon(self) -> None:
        """Leave no half a file."""
        if self._file is not None:
            self._file.close()
            self._path.with_suffix(".part").unlink(missing_ok=True)


class RawOutput:
    """Mono samples of 16 bits, little-endian, on a file descriptor; all replies at one rate."""

    def __init__(self, rate: int, descriptor: int = 1) -> None:
        if not 4_000 <= rate <= 384_000:
            raise InvalidParams("--rate must lie between 4000 and 384000 Hz.")
        self._rate = rate
        self._descriptor = descriptor
        self._resampler: Any = None

    async def begin(self, track_id: str, rate: int) -> None:
        """The next samples have `rate`."""
        self._resampler = soxr.ResampleStream(rate, self._rate, 1, dtype="float32")

    async def play(self, samples: Samples) -> None:
        """Write them. Raises OutputFailed when nobody reads any more."""
        await self._write(self._resampler.resample_chunk(samples))

    async def end(self) -> None:
        """Write what the resampler still holds."""
        rest = self._resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        await self._write(rest)

    async def abandon(self) -> None:
        """What was written cannot be taken back."""

    async def _write(self, samples: Samples) -> None:
        data = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        try:
            while data:
                data = data[await asyncio.to_thread(os.write, self._descriptor, data) :]
        except OSError as error:
            raise OutputFailed(f"Nobody reads the replies any more: {error.strerror}.") from error
