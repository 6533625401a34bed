"""Cuts what a microphone hears into turns: where somebody speaks, and where they have ended."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from turnlab.chunks import Samples
from turnlab.errors import InvalidParams
from turnlab.turns.voice_activity import FRAME, RATE, THRESHOLD

FRAME_S = FRAME / RATE

RELEASE = THRESHOLD - 0.15
"""Probability below which a frame of a turn counts as quiet (as Silero's own speech timestamps)."""

LONGEST_S = 600.0
"""What a server takes at most, unless it was told otherwise (TURNLAB_MAX_SPEECH_S)."""


class Detector(Protocol):
    """Tells how likely a frame holds a voice; `turns.voice_activity.VoiceActivity` is one."""

    def hear(self, frame: Samples) -> float:
        """The probability for the next frame of 512 samples at 16 kHz."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What counts as a turn, in seconds. Raises InvalidParams where that cannot be."""

    pre_roll_s: float = 0.3
    """What is kept from before the first voiced frame, so that no first sound is cut."""
    end_of_turn_s: float = 0.6
    """The quiet that ends a turn."""
    min_speech_s: float = 0.2
    """With less voice than this it was a cough, a click or a door."""
    max_turn_s: float = 60.0
    """Where somebody who goes on speaking is cut; the next turn begins with the next sample."""

    def __post_init__(self) -> None:
        if not FRAME_S <= self.end_of_turn_s <= 10:
            raise InvalidParams("--end-of-turn-s must lie between 0.032 and 10 seconds.")
        if not self.end_of_turn_s < self.max_turn_s <= LONGEST_S:
            raise InvalidParams(
                f"--max-turn-s must be longer than --end-of-turn-s, and at most {LONGEST_S:g}."
            )
        if not (0 <= self.pre_roll_s <= 5 and 0 <= self.min_speech_s < self.max_turn_s):
            raise InvalidParams("Pre-roll and least speech must fit into a turn.")


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A turn: mono float32 at 16 kHz, and where in the stream it lies."""

    samples: Samples
    start_s: float
    last_voiced_s: float
    """The end of its last voiced frame, in seconds of the stream."""
    cut: bool = False
    """Whether the speaker went on beyond the longest turn."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE

    @property
    def end_s(self) -> float:
        """Where it ends, in seconds of the stream."""
        return self.start_s + self.duration_s


class Segmenter:
    """Finds the turns of one stream of samples (mono, 16 kHz)."""

    def __init__(self, detector: Detector, limits: Limits | None = None) -> None:
        self._detector = detector
        self._limits = limits or Limits()
        self._rest: Samples = np.zeros(0, dtype=np.float32)
        self._before: deque[Samples] = deque(maxlen=round(self._limits.pre_roll_s / FRAME_S))
        self._frames: list[Samples] = []
        self._at = 0  # frames heard so far
        self._voiced = 0  # of the turn, in frames
        self._last_voiced = 0  # the frame after it, counted from the beginning of the stream

    @property
    def speaking(self) -> bool:
        """Whether a turn is under way."""
        return bool(self._frames)

    @property
    def heard_s(self) -> float:
        """How much was fed, in whole frames."""
        return self._at * FRAME_S

    def feed(self, samples: Samples) -> list[Heard]:
        """Hear `samples`; the turns that ended with them, mostly none."""
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // FRAME
        self._rest = samples[count * FRAME :].copy()
        frames = samples[: count * FRAME].reshape(count, FRAME)
        return [turn for frame in frames if (turn := self._hear(frame))]

    def flush(self) -> Heard | None:
        """The turn under way, if it is one; the stream is over."""
        rest = np.pad(self._rest, (0, -len(self._rest) % FRAME))
        self._rest = rest[:0]
        ended = self._hear(rest) if len(rest) else None
        return ended or (self._end() if self._frames else None)

    def _hear(self, frame: Samples) -> Heard | None:
        probability = self._detector.hear(frame)
        self._at += 1
        if not self._frames:
            if probability < THRESHOLD:
                self._before.append(frame.copy())
                return None
            self._frames = list(self._before)
            self._voiced, self._last_voiced = 0, self._at
        self._frames.append(frame.copy())
        going_on = self._last_voiced == self._at - 1 and probability >= RELEASE
        if going_on or probability >= THRESHOLD:
            self._voiced += 1
            self._last_voiced = self._at
        return self._end_if_over()

    def _end_if_over(self) -> Heard | None:
        if (self._at - self._last_voiced) * FRAME_S >= self._limits.end_of_turn_s:
            return self._end()
        if (len(self._frames) + 1) * FRAME_S > self._limits.max_turn_s:
            return self._end(cut=True)
        return None

    def _end(self, cut: bool = False) -> Heard | None:
        frames, self._frames = self._frames, []
        quiet = self._at - self._last_voiced
        # What a turn ends with may be what the next one begins with, unless that speaks already.
        self._before.clear()
        self._before.extend(frames[len(frames) - quiet :] if quiet else ())
        if self._voiced * FRAME_S < self._limits.min_speech_s:
            return None
        return Heard(
            samples=np.concatenate(frames),
            start_s=(self._at - len(frames)) * FRAME_S,
            last_voiced_s=self._last_voiced * FRAME_S,
            cut=cut,
        )
