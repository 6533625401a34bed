"""What a voice sounds like, measured while it speaks: pitch, level, brightness, regularity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnlab.audio import RATE
from turnlab.chunks import Samples

WINDOW = 640
"""Samples of a frame: 40 ms, three periods of the lowest pitch."""

HOP = 320
"""Samples from frame to frame: 20 ms."""

FRAMES_PER_S = RATE / HOP

_FFT = 1024
_PITCH_HZ = (75.0, 500.0)
_LAGS = (int(RATE / _PITCH_HZ[1]), int(RATE / _PITCH_HZ[0]) + 1)
_OCTAVE_COST = 0.01
"""How much of a correlation a pitch an octave higher is preferred by (Boersma 1993)."""

_MOST_S = 300
"""Seconds of speech that are remembered; of a longer turn the last ones count."""

_BLOCK = 512
"""Frames measured at once, so that an hour handed over whole needs no more memory than that."""

_FLOOR = 1e-10

Frames = NDArray[np.float32]
"""One row a frame: level (dBFS), pitch (Hz), periodicity (0..1), low and high band (dB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acoustics:
    """What was measured of one utterance, over its voiced frames unless said otherwise."""

    voiced_s: float
    pitch_hz: float
    """Median of the fundamental frequency."""
    pitch_range_st: float
    """From its 10th to its 90th percentile, in semitones."""
    alpha_db: float
    """Energy in 50-1000 Hz over that in 1-5 kHz (GeMAPS' alpha ratio), mean: the less, the
    brighter the voice and the more its effort."""
    level_range_db: float
    """From the 10th to the 90th percentile of the level."""
    rate_hz: float
    """Peaks of loudness in voiced sound a second, from the first voiced frame to the last: an
    estimate of syllables a second."""
    harmonicity_db: float
    """Harmonics-to-noise ratio (Boersma 1993), mean."""


class Meter:
    """Measures a voice as its samples come; equal sound gives equal figures however it is cut."""

    def __init__(self) -> None:
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._frames: Frames = np.empty((0, 5), dtype=np.float32)

    def hear(self, samples: Samples) -> None:
        """Take more of the recording (mono, 16 kHz); time grows with the number of samples."""
        sound = np.concatenate([self._rest, samples])
        count = max(0, (len(sound) - WINDOW) // HOP + 1)
        self._rest = sound[count * HOP :]
        most = round(_MOST_S * FRAMES_PER_S)
        for first in range(0, count, _BLOCK):
            last = min(first + _BLOCK, count)
            block = sound[first * HOP : (last - 1) * HOP + WINDOW]
            self._frames = np.concatenate([self._frames, _measured(block)])[-most:]

    def acoustics(self) -> Acoustics | None:
        """What was heard so far; None if no frame of it is voiced."""
        level, pitch, periodicity, low, high = self._frames.T
        if not len(level):
            return None
        voiced = (pitch > 0) & (level > max(-60.0, float(np.max(level)) - 30.0))
        if not voiced.any():
            return None
        tones = 12 * np.log2(pitch[voiced] / 100)
        regular = np.clip(periodicity[voiced], 0.01, 0.99)
        return Acoustics(
            voiced_s=float(np.count_nonzero(voiced) / FRAMES_PER_S),
            pitch_hz=float(np.median(pitch[voiced])),
            pitch_range_st=_spread(tones),
            alpha_db=float(np.mean(low[voiced] - high[voiced])),
            level_range_db=_spread(level[voiced]),
            rate_hz=_rate(level, voiced),
            harmonicity_db=float(np.mean(10 * np.log10(regular / (1 - regular)))),
        )


def _measured(sound: Samples) -> Frames:
    """The frames that fit into `sound`."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    centred = frames - frames.mean(axis=1, keepdims=True)
    power = np.mean(centred**2, axis=1) + _FLOOR
    spectrum = np.abs(np.fft.rfft(centred * _HANN, _FFT)) ** 2
    pitch, periodicity = _pitched(np.fft.irfft(spectrum))
    low, high = spectrum @ _LOW, spectrum @ _HIGH
    rows = (
        10 * np.log10(power),
        pitch,
        periodicity,
        10 * np.log10(low + _FLOOR),
        10 * np.log10(high + _FLOOR),
    )
    return np.stack(rows, axis=1).astype(np.float32)


def _pitched(correlation: NDArray[np.floating]) -> tuple[NDArray[np.floating], ...]:
    """Pitch in Hz (0 where unvoiced) and periodicity of each frame, after Boersma (1993)."""
    first, last = _LAGS
    whole = np.maximum(correlation[:, :1], _FLOOR)
    lagged = correlation[:, first - 1 : last + 1] / whole / _WINDOW_CORRELATION
    inner = lagged[:, 1:-1]
    peaks = (inner > lagged[:, :-2]) & (inner >= lagged[:, 2:])
    strength = np.where(peaks, inner - _OCTAVE_COST * np.log2(_LAG_S * _PITCH_HZ[0]), 0.0)
    best = np.argmax(strength, axis=1)
    rows = np.arange(len(best))
    before, peak, after = (lagged[rows, best + offset] for offset in (0, 1, 2))
    bend = before - 2 * peak + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
    periodicity = np.clip(peak, 0.0, 1.0)
    voiced = (strength[rows, best] > 0) & (peak > _VOICED)
    return np.where(voiced, RATE / (best + first + shift), 0.0), periodicity


_VOICED = 0.5
"""Periodicity from which a frame counts as voiced."""

_HANN = np.hanning(WINDOW).astype(np.float32)
_BINS_HZ = np.fft.rfftfreq(_FFT, 1 / RATE)
_LOW = ((_BINS_HZ >= 50) & (_BINS_HZ < 1000)).astype(np.float32)
_HIGH = ((_BINS_HZ >= 1000) & (_BINS_HZ < 5000)).astype(np.float32)
_LAG_S = np.arange(_LAGS[0], _LAGS[1]) / RATE
_OWN = np.fft.irfft(np.abs(np.fft.rfft(_HANN, _FFT)) ** 2)
_WINDOW_CORRELATION = (_OWN / _OWN[0])[_LAGS[0] - 1 : _LAGS[1] + 1]


def _spread(values: NDArray[np.floating]) -> float:
    low, high = np.percentile(values, (10, 90))
    return float(high - low)


def _rate(level: NDArray[np.floating], voiced: NDArray[np.bool_]) -> float:
    """Voiced peaks of the level, 2 dB above the lowest within 0.1 s, a second.

    After de Jong and Wempe (2009), who find syllables by peaks of intensity with a dip between.
    """
    smooth = np.convolve(np.maximum(level, -60.0), np.full(3, 1 / 3), mode="same")
    padded = np.pad(smooth, _NEAR, mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEAR + 1)
    peaks = (smooth == near.max(axis=1)) & (smooth - near.min(axis=1) >= _DIP_DB) & voiced
    spoken = np.flatnonzero(voiced)
    return float(np.count_nonzero(peaks) / (spoken[-1] - spoken[0] + 1) * FRAMES_PER_S)


_NEAR = 5
"""Frames on each side among which a syllable is the loudest."""

_DIP_DB = 2.0
