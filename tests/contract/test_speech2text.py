"""The contract, applied to speech2text with its default engine."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from turnlab.chunks import Audio, Chunk
from turnlab.modules.speech2text import Speech2Text
from turnlab.testing.contract import ModuleContract

QUESTION = Path(__file__).parents[3] / "shared" / "data" / "whats_the_weather_like.wav"


def _pieces() -> tuple[Chunk, ...]:
    if not QUESTION.exists():
        return (Audio(samples=np.zeros(16_000, dtype=np.float32), sample_rate=16_000),)
    samples, rate = soundfile.read(QUESTION, dtype="float32")
    cuts = range(0, len(samples), rate // 4)
    return tuple(Audio(samples=samples[at : at + rate // 4], sample_rate=rate) for at in cuts)


@pytest.mark.slow
@pytest.mark.skipif(not QUESTION.exists(), reason="the recording is not in ../shared/data")
class TestSpeech2Text(ModuleContract):
    module = Speech2Text
    inputs: ClassVar = _pieces()
