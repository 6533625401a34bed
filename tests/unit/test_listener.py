"""The listener: when the reply is first heard, and how much is left to play."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from turnlab.chunks import Speech
from turnlab.listener import Listener, first_audible
from turnlab.streams import Stream
from turnlab.testing import FakeClock


def speech(*parts: tuple[float, float]) -> Speech:
    """Speech of 1000 Hz whose parts are (seconds, amplitude)."""
    samples = [np.full(round(seconds * 1_000), level) for seconds, level in parts]
    return Speech(samples=np.concatenate(samples).astype(np.float32), sample_rate=1_000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(10.0)


@pytest.fixture
def stream(clock) -> Stream[Speech]:
    return Stream(Speech, clock=clock, producer="voice")


async def hear(clock: FakeClock, stream: Stream[Speech], *script) -> Listener:
    """A listener after a script of Speech and seconds in between."""
    listener = Listener(clock)
    listening = asyncio.create_task(listener.listen(stream))
    for action in script:
        if isinstance(action, Speech):
            await stream.put(action)
            await clock.advance(0)
        else:
            await clock.advance(action)
    stream.end()
    await listening
    return listener


def test_the_first_audible_sample_is_at_minus_40_dbfs():
    assert first_audible(speech((0.1, 0.0099), (0.1, 0.0101))) == 100
    assert first_audible(speech((0.1, 0.001))) is None
    assert first_audible(speech((0.1, -0.5))) == 0
    assert first_audible(speech((0, 0))) is None


async def test_quiet_at_the_beginning_counts_until_it_is_over(clock, stream):
    listener = await hear(clock, stream, 1.0, speech((0.25, 0), (1.0, 0.5)))
    assert listener.first_audible_s == pytest.approx(11.25)
    assert listener.heard.cause.producer == "voice"


async def test_a_silent_piece_is_played_before_the_first_audible_one(clock, stream):
    script = (speech((0.5, 0)), 0.1, speech((0.2, 0), (1.0, 0.5)))
    listener = await hear(clock, stream, *script)
    assert listener.first_audible_s == pytest.approx(10.7)
    assert listener.lead_s == pytest.approx(0.6)


async def test_after_a_gap_a_piece_plays_at_once(clock, stream):
    listener = await hear(clock, stream, speech((0.5, 0)), 2.0, speech((1.0, 0.5)))
    assert listener.first_audible_s == pytest.approx(12.0)
    assert listener.plays_until_s == pytest.approx(13.0)


async def test_silence_is_never_heard(clock, stream):
    listener = await hear(clock, stream, speech((0.5, 0)))
    assert listener.first_audible_s is None


async def test_it_is_short_of_sound_before_the_first_and_near_the_end(clock, stream):
    listener = Listener(clock)
    assert listener.short_of_sound
    listening = asyncio.create_task(listener.listen(stream))
    await stream.put(speech((1.0, 0.5)))
    await clock.advance(0.65)
    assert not listener.short_of_sound
    await clock.advance(0.1)
    assert listener.short_of_sound
    stream.end()
    await listening
