"""The contract, applied to voice2voice against a Realtime server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from turnlab.chunks import Audio, Caption
from turnlab.modules.base import Exchange
from turnlab.modules.voice2voice import Voice2Voice
from turnlab.testing.contract import HEAVY, ModuleContract
from turnlab.testing.realtime_server import Answer, RealtimeServer

SAID = (np.sin(np.arange(16_000) * 0.2) * 0.3).astype(np.float32)


class TestVoice2Voice(ModuleContract):
    module = Voice2Voice
    inputs: ClassVar = (
        Audio(samples=SAID[:7000], sample_rate=16_000),
        Audio(samples=SAID[7000:], sample_rate=16_000),
        Caption(text="A red umbrella."),
    )
    history: ClassVar = (Exchange(text="Hello.", reply="Hello to you."),)
    params: ClassVar[dict[str, Any]] = {}
    heavy: ClassVar = (*HEAVY, "websockets")

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls) -> Iterator[RealtimeServer]:
        """Answers every test of the class; long enough to be cancelled midway."""
        tone = (np.sin(np.arange(24_000 * 60) * 0.1) * 8192).astype("<i2").tobytes()
        with RealtimeServer(Answer(pcm=tone, deltas=300)) as server:
            cls.params["base_url"] = server.url
            yield server
        assert server.complaints == []
