"""The recordings of a dataset, opened and measured before anything is timed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from turnlab.audio import Pace, RecordedTurn, Recording, open_image, open_recording
from turnlab.bench.datasets.dataset import DatasetTurn
from turnlab.chunks import Image
from turnlab.clock import Clock
from turnlab.errors import InvalidDataset, TurnlabError
from turnlab.turns.voice_activity import VoiceActivity

KEPT_S = 3600.0
"""Seconds of decoded sound that are kept, 230 MB; others are decoded again between turns."""

KEPT_BYTES = 256 * 2**20
"""Bytes of pictures that are kept; others are read again between turns."""

_SHOWN = 10


class Recordings:
    """What the source of every turn is made from: where its voice ends, its samples, pictures."""

    def __init__(self) -> None:
        self._measured: dict[Path, Recording] = {}
        self._dropped: set[Path] = set()
        self._kept_s = 0.0
        self._images: dict[Path, Image | None] = {}
        self._kept_bytes = 0
        self._detector = VoiceActivity()

    def measure(self, turns: Sequence[DatasetTurn], told: Callable[[int], None]) -> None:
        """Open and measure all of them (Silero); `told` hears how many are done.

        Raises InvalidDataset that names those without a voice and what cannot be opened.
        """
        problems: list[str] = []
        for number, turn in enumerate(turns):
            try:
                self._open(turn)
            except TurnlabError as error:
                problems.append(f"{turn.id}: {error.message}")
            told(number + 1)
        if problems:
            more = len(problems) - _SHOWN
            shown = " ".join(problems[:_SHOWN]) + (f" And {more} more." if more > 0 else "")
            raise InvalidDataset(f"Of {len(turns)} turns {len(problems)} cannot be run. {shown}")

    async def source(
        self, turn: DatasetTurn, clock: Clock, pace: Pace, *, looks: bool
    ) -> RecordedTurn:
        """The turn, ready to be run; with its pictures if the Cluster `looks` at any."""
        recording = self._measured[turn.audio]
        if turn.audio in self._dropped:
            recording = await asyncio.to_thread(self._again, recording)
        images = [await self._image(path) for path in turn.images] if looks else []
        return RecordedTurn(recording=recording, clock=clock, pace=pace, images=tuple(images))

    async def _image(self, path: Path) -> Image:
        kept = self._images[path]
        return await asyncio.to_thread(open_image, path) if kept is None else kept

    def _open(self, turn: DatasetTurn) -> None:
        for path in turn.images:
            if path not in self._images:
                image = open_image(path)
                self._kept_bytes += image.nbytes
                self._images[path] = image if self._kept_bytes <= KEPT_BYTES else None
        if turn.audio in self._measured:
            return
        recording = open_recording(turn.audio, self._detector)
        self._kept_s += recording.duration_s
        if self._kept_s > KEPT_S:
            recording = replace(recording, _decoded=())
            self._dropped.add(turn.audio)
        self._measured[turn.audio] = recording

    def _again(self, measured: Recording) -> Recording:
        """The recording with its samples; of where it ends it keeps what was measured."""
        recording = open_recording(measured.path, VoiceActivity(), measure=False)
        return replace(
            recording, duration_s=measured.duration_s, last_voiced_s=measured.last_voiced_s
        )
