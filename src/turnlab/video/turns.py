"""The files of the turns that a film is cut into."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile

from turnlab.audio import RATE
from turnlab.chunks import Samples
from turnlab.errors import InvalidVideo, OutputFailed
from turnlab.video.moments import told

LONGEST_SIDE = 1280
"""Pixels; larger frames are scaled down."""

_QUALITY = 4
"""Of JPEG as FFmpeg counts: 2 is the best, 31 the worst."""

_SILENCE = 60 * RATE
"""Samples of silence that are written at once."""


@dataclass(frozen=True, kw_only=True)
class CutTurn:
    """A turn of a film; its moments are seconds of the film."""

    number: int
    audio: Path
    images: tuple[Path, ...]
    start_s: float
    end_s: float

    def as_json(self, folder: Path) -> dict[str, Any]:
        """The turn as a line of the manifest, its files relative to `folder`."""
        return {
            "turn": self.number,
            "audio": str(self.audio.relative_to(folder)),
            "images": [str(path.relative_to(folder)) for path in self.images],
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
        }


class TurnFiles:
    """Takes the sound and the frames of a film in order, and puts each where it belongs.

    `turn-001/audio.wav` and `turn-001/0001.jpg` are of the first turn. A context manager.
    """

    def __init__(self, folder: Path, moments: Sequence[float], frames_per_second: float) -> None:
        self.moments = list(moments)
        self._starts = [round(moment * RATE) for moment in moments]
        self._folder = folder
        self._every_s = 1 / frames_per_second
        self._images: list[list[Path]] = [[] for _ in moments]
        self._due_s = list(moments)
        self._heard = 0  # samples of the film so far
        self._seen_s = 0.0
        self._open: tuple[int, Any] | None = None
        self._written: set[int] = set()

    def __enter__(self) -> TurnFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def duration_s(self) -> float:
        """How much of the film there was so far."""
        return max(self._heard / RATE, self._seen_s)

    def hear(self, samples: Samples) -> None:
        """The next samples of the film, mono float32 at 16 kHz. Raises OutputFailed."""
        at = 0
        while at < len(samples):
            turn = bisect.bisect_right(self._starts, self._heard) - 1
            following = self._starts[turn + 1] if turn + 1 < len(self._starts) else None
            count = len(samples) - at
            if following is not None:
                count = min(count, following - self._heard)
            if turn >= 0:
                self._write(turn, samples[at : at + count])
            at += count
            self._heard += count

    def hear_nothing(self, until: int) -> None:
        """Silence up to sample `until` of the film."""
        while self._heard < until:
            self.hear(np.zeros(min(until - self._heard, _SILENCE), dtype=np.float32))

    def show(self, frame: Any, at_s: float) -> None:
        """The frame of a moment of the film; it is kept if one is due. Raises OutputFailed."""
        self._seen_s = max(self._seen_s, at_s)
        turn = bisect.bisect_right(self.moments, at_s) - 1
        if turn < 0 or at_s < self._due_s[turn]:
            return
        passed = int((at_s - self._due_s[turn]) / self._every_s)
        self._due_s[turn] += (passed + 1) * self._every_s
        folder = self._folder_of(turn)
        path = folder / f"{len(self._images[turn]) + 1:04d}.jpg"
        try:
            path.write_bytes(jpeg(frame))
        except OSError as error:
            raise OutputFailed(f"{path} cannot be written: {error.strerror}.") from error
        self._images[turn].append(path)

    def close(self) -> None:
        """Write what is still open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def turns(self) -> list[CutTurn]:
        """The turns. Raises InvalidVideo for one of which there is no sound."""
        ends = [*self.moments[1:], self.duration_s]
        for index, moment in enumerate(self.moments):
            if index not in self._written:
                raise InvalidVideo(f"The film has no sound from {told(moment)} on.")
        return [
            CutTurn(
                number=index + 1,
                audio=self._folder_of(index) / "audio.wav",
                images=tuple(self._images[index]),
                start_s=moment,
                end_s=end,
            )
            for index, (moment, end) in enumerate(zip(self.moments, ends, strict=True))
        ]

    def _write(self, turn: int, samples: Samples) -> None:
        try:
            if self._open is None or self._open[0] != turn:
                self.close()
                path = self._folder_of(turn) / "audio.wav"
                self._open = turn, soundfile.SoundFile(path, "w", RATE, 1, "PCM_16")
                self._written.add(turn)
            self._open[1].write(np.clip(samples, -1, 1))
        except soundfile.LibsndfileError as error:
            raise OutputFailed(f"{self._folder} cannot be written ({error}).") from error

    def _folder_of(self, turn: int) -> Path:
        folder = self._folder / f"turn-{turn + 1:03d}"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputFailed(f"{folder} cannot be made: {error.strerror}.") from error
        return folder


def jpeg(frame: Any) -> bytes:
    """A frame of PyAV as JPEG, upright, its longer side at most 1280 pixels."""
    import av

    frame = _upright(frame)
    scale = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    width, height = (max(2, round(side * scale / 2) * 2) for side in (frame.width, frame.height))
    small = frame.reformat(width=width, height=height, format="yuvj420p")
    small.pts = 0
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuvj420p"
    codec.time_base = Fraction(1, 1)
    codec.qmin = codec.qmax = _QUALITY
    return b"".join(bytes(packet) for each in (small, None) for packet in codec.encode(each))


def _upright(frame: Any) -> Any:
    """The frame turned as its player would: telephones film lying and say so."""
    quarters = round(getattr(frame, "rotation", 0) / 90) % 4
    if not quarters:
        return frame
    import av

    turned = np.rot90(frame.to_ndarray(format="rgb24"), quarters)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(turned), format="rgb24")
