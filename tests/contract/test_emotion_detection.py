"""The contract, applied to emotion_detection: a glide of the voice, words and a face."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from turnlab.audio import RATE
from turnlab.chunks import Audio, Image, Transcript
from turnlab.modules.emotion_detection import EmotionDetection
from turnlab.testing.contract import HEAVY, ModuleContract

FACE = Path(__file__).parents[1] / "data" / "emotion" / "smiling-1.jpg"


def glide(seconds: float = 2.0) -> np.ndarray:
    """A buzz whose pitch glides from 120 to 240 Hz, four syllables a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = np.cumsum(2 * np.pi * np.linspace(120, 240, len(time)) / RATE)
    buzz = sum(np.sin(number * phase) / number for number in range(1, 12))
    return (0.1 * buzz * (0.55 + 0.45 * np.sin(8 * np.pi * time))).astype(np.float32)


def pieces(samples: np.ndarray, size: int = 800) -> tuple[Audio, ...]:
    """The samples as they arrive, 50 ms at once."""
    cuts = range(0, len(samples), size)
    return tuple(Audio(samples=samples[at : at + size], sample_rate=RATE) for at in cuts)


class TestEmotionDetection(ModuleContract):
    module = EmotionDetection
    heavy = (*HEAVY, "cv2", "ai_edge_litert", "fer", "vaderSentiment")
    inputs: ClassVar = (
        Image(data=FACE.read_bytes(), media_type="image/jpeg"),
        *pieces(glide()),
        Transcript(text="I am so"),
        Transcript(text="I am so happy.", final=True),
    )
