"""Where sound comes from: a microphone, a recording, or raw samples on standard input."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soxr

from turnlab.audio import RATE, Pace, Recording, open_recording
from turnlab.chunks import Samples
from turnlab.client.saying import Say
from turnlab.clock import Clock, MonotonicClock
from turnlab.errors import InvalidParams, NoAudioDevice
from turnlab.turns.voice_activity import FRAME

BLOCK_S = FRAME / RATE
"""What a microphone hands over at once: 32 ms."""

MOST_BLOCKS = 2_000
"""Blocks that wait for a busy machine: a minute of sound. What comes beyond is lost, and told."""

TOLD_S = 0.1
"""Of sound that was lost, from which on it is told."""

READ_BYTES = 65_536

INSTALL = (
    "Install PortAudio (on Debian: apt-get install -y libportaudio2) and "
    "pip install 'turnlab[client]', or do without a device: "
)

WITHOUT = "`turnlab listen --from FILE`, `turnlab respond --to FOLDER`."


class Source(Protocol):
    """A stream of sound."""

    live: bool
    """Whether it goes on whether or not anybody listens, so that waiting for room loses sound."""

    def blocks(self) -> AsyncGenerator[Samples, None]:
        """Mono float32 samples at 16 kHz, as they come."""
        ...


class Microphone:
    """The sound of a device: its name, its number, or None for the default one."""

    live = True

    def __init__(self, device: str | None, say: Say) -> None:
        self._sounddevice = load_sounddevice()
        self._device = device_of(device)
        self._say = say
        self._rate = _input_rate(self._sounddevice, self._device)

    async def blocks(self) -> AsyncGenerator[Samples, None]:
        """What it hears, until the device is gone. Raises NoAudioDevice then."""
        queue = Blocks()
        resampler = soxr.ResampleStream(self._rate, RATE, 1, dtype="float32")
        with self._opened(queue):
            async for block in queue.read():
                if queue.lost * BLOCK_S >= TOLD_S:
                    lost_s, queue.lost = queue.lost * BLOCK_S, 0
                    self._say.warn("lost", f"{lost_s:.1f} s of sound were lost", lost_s=lost_s)
                yield block if self._rate == RATE else resampler.resample_chunk(block)
        raise NoAudioDevice("The microphone is gone; plug it in and start `turnlab listen` again.")

    @contextmanager
    def _opened(self, queue: Blocks) -> Iterator[None]:
        def heard(data: Any, frames: int, time: Any, status: Any) -> None:
            queue.put(np.frombuffer(data, dtype=np.float32).copy())
            queue.lost += bool(status.input_overflow)

        with device_errors(self._sounddevice):
            stream = self._sounddevice.RawInputStream(
                samplerate=self._rate,
                blocksize=round(BLOCK_S * self._rate),
                device=self._device,
                channels=1,
                dtype="float32",
                callback=heard,
                finished_callback=queue.end,
            )
            stream.start()
        try:
            yield
        finally:
            stream.close()


class Recorded:
    """A recording, handed over as fast as it is taken, or at the pace of speech."""

    live = False

    def __init__(self, path: Path, pace: Pace = Pace.FAST, clock: Clock | None = None) -> None:
        """Raises what `open_recording` raises."""
        self._recording: Recording = open_recording(path)
        self._pace = pace
        self._clock = clock or MonotonicClock()

    async def blocks(self) -> AsyncGenerator[Samples, None]:
        """The recording. Raises InvalidAudio."""
        start_s, at = self._clock.now(), 0
        blocks = self._recording.blocks()
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            for start in range(0, len(block), RATE if self._pace is Pace.FAST else FRAME):
                piece = block[start : start + (RATE if self._pace is Pace.FAST else FRAME)]
                at += len(piece)
                if self._pace is Pace.REALTIME:
                    await self._clock.sleep_until(start_s + at / RATE)
                yield piece


class RawInput:
    """Mono samples of 16 bits, little-endian, from a file descriptor, until it ends."""

    live = False

    def __init__(self, rate: int = RATE, descriptor: int = 0) -> None:
        if not 4_000 <= rate <= 384_000:
            raise InvalidParams("--rate must lie between 4000 and 384000 Hz.")
        self._rate = rate
        self._descriptor = descriptor

    async def blocks(self) -> AsyncGenerator[Samples, None]:
        """What comes, as it comes; half a sample at the end is dropped."""
        queue = Blocks(wait=True)
        # A thread of its own, as no other way of reading can be given up on every kind of file.
        threading.Thread(target=self._read, args=(queue,), daemon=True).start()
        resampler = soxr.ResampleStream(self._rate, RATE, 1, dtype="float32")
        async for block in queue.read():
            yield block if self._rate == RATE else resampler.resample_chunk(block)
        if self._rate != RATE:
            yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)

    def _read(self, queue: Blocks) -> None:
        rest = b""
        while data := os.read(self._descriptor, READ_BYTES):
            data = rest + data
            whole = len(data) - len(data) % 2
            rest = data[whole:]
            samples = np.frombuffer(data[:whole], dtype="<i2").astype(np.float32)
            queue.put(samples / np.float32(32768))
        queue.end()


class Blocks:
    """Blocks of sound on their way from a thread to the event loop that made this."""

    def __init__(self, wait: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Samples | None] = asyncio.Queue()
        self._room = threading.Semaphore(MOST_BLOCKS)
        self._wait = wait
        self.lost = 0
        """Blocks for which there was no room."""

    def put(self, block: Samples) -> None:
        """Hand a block over. Called from the thread; waits for room only where that was asked."""
        if self._room.acquire(blocking=self._wait):
            self._call(block)
        else:
            self.lost += 1

    def end(self) -> None:
        """There is no more. Called from the thread."""
        self._call(None)

    async def read(self) -> AsyncIterator[Samples]:
        """The blocks, as they come."""
        while (block := await self._queue.get()) is not None:
            self._room.release()
            yield block

    def _call(self, block: Samples | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, block)


def load_sounddevice() -> Any:
    """The library sounddevice. Raises NoAudioDevice where it, or PortAudio, is not installed."""
    try:
        import sounddevice  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:
        raise NoAudioDevice(
            f"Sound devices cannot be used ({error}). {INSTALL}{WITHOUT}"
        ) from error
    return sounddevice


@contextmanager
def device_errors(sounddevice: Any) -> Iterator[None]:
    """Raise NoAudioDevice for what PortAudio complains of."""
    try:
        yield
    except (sounddevice.PortAudioError, ValueError) as error:
        found: Callable[[], Any] = sounddevice.query_devices
        raise NoAudioDevice(
            f"The sound device cannot be used ({error}). Name another by --device; there are: "
            f"{' / '.join(str(found()).splitlines()) or 'none'}. Without one: {WITHOUT}"
        ) from error


def device_of(name: str | None) -> str | int | None:
    """A device as sounddevice takes it: by number where it is one."""
    return int(name) if name and name.isdigit() else name


def _input_rate(sounddevice: Any, device: str | int | None) -> int:
    """16 kHz where the device takes it, else its own rate, which is then resampled."""
    with device_errors(sounddevice):
        own = sounddevice.query_devices(device, "input")
        try:
            sounddevice.check_input_settings(device, 1, "float32", None, RATE)
        except sounddevice.PortAudioError:
            return int(own["default_samplerate"])
        return RATE
