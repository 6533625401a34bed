"""What was seen while a turn was heard: a frame a second, of a camera or from a folder."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from turnlab.audio import open_image
from turnlab.chunks import Image
from turnlab.errors import MissingPackage, NoCamera, UnreadableFile

EVERY_S = 1.0
KEPT = 90
"""Frames that are remembered: those of the longest turn, and some before it."""

MOST_IMAGES = 8
"""Frames that go with one turn; of more, as many evenly over the turn, the last among them."""

LONGEST_SIDE = 1280
"""Pixels; a larger frame is scaled down."""

_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif"}


class Camera(Protocol):
    """Something that shows a picture a second."""

    def between(self, start_s: float, end_s: float) -> Sequence[Image]:
        """The pictures of a turn, by the seconds of the stream of sound; at most MOST_IMAGES."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


class FolderCamera:
    """The pictures of a folder in the order of their names, one a second, over and over."""

    def __init__(self, folder: Path) -> None:
        """Raises UnreadableFile if there is no picture, and InvalidImage."""
        if not folder.is_dir():
            raise UnreadableFile(f"{folder} is no folder.")
        self._paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
        if not self._paths:
            raise UnreadableFile(f"{folder} holds no picture (PNG, JPEG, WebP, GIF).")
        for path in self._paths:
            open_image(path)

    def between(self, start_s: float, end_s: float) -> Sequence[Image]:
        """A picture for each second that began within the turn, at least one."""
        seconds = range(int(start_s), max(int(end_s), int(start_s)) + 1)
        return [open_image(self._paths[n % len(self._paths)]) for n in thinned(seconds)]

    def close(self) -> None:
        """Nothing is open."""


class DeviceCamera:
    """A camera of this machine, by its number; it is read in a thread of its own."""

    def __init__(self, number: int = 0) -> None:
        """Raises MissingPackage, or NoCamera if there is no such camera."""
        try:
            import cv2
        except ImportError as error:
            raise MissingPackage(
                "--camera needs OpenCV: pip install 'opencv-python-headless>=4.10'."
            ) from error
        self._cv2: Any = cv2
        self._device = cv2.VideoCapture(number)
        if not self._device.isOpened():
            raise NoCamera(
                f"Camera {number} cannot be opened; name another, or give --camera-from FOLDER."
            )
        self._frames: deque[tuple[float, Image]] = deque(maxlen=KEPT)
        self._started_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def between(self, start_s: float, end_s: float) -> Sequence[Image]:
        """What it showed from a second before the turn on; the stream began when it was opened."""
        frames = list(self._frames)
        return thinned([image for at_s, image in frames if start_s - EVERY_S <= at_s <= end_s])

    def close(self) -> None:
        """Let go of the device."""
        self._stopped.set()
        self._thread.join(timeout=2 * EVERY_S)
        self._device.release()

    def _watch(self) -> None:
        due_s = 0.0
        # Each frame is taken from the device, or it would hand over old ones; few are decoded.
        while not self._stopped.is_set() and self._device.grab():
            at_s = time.monotonic() - self._started_s
            if at_s >= due_s and (image := self._encoded()):
                self._frames.append((at_s, image))
                due_s = at_s + EVERY_S

    def _encoded(self) -> Image | None:
        there, frame = self._device.retrieve()
        if not there:
            return None
        height, width = frame.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        if scale < 1:
            size = (round(width * scale), round(height * scale))
            frame = self._cv2.resize(frame, size, interpolation=self._cv2.INTER_AREA)
        done, data = self._cv2.imencode(".jpg", frame)
        return Image(data=data.tobytes(), media_type="image/jpeg") if done else None


def thinned(items: Iterable[Any], most: int = MOST_IMAGES) -> list[Any]:
    """At most `most` of the items, evenly spread, the last always among them."""
    items = list(items)
    if len(items) <= most:
        return items
    step = (len(items) - 1) / (most - 1)
    return [items[round(number * step)] for number in range(most)]
