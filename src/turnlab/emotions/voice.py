"""What a voice tells of an emotion: measured acoustics against published relations.

No speech emotion model under a free licence comes in a package, so this is no trained model. Six
cues are measured (`acoustics.py`), set in relation to ordinary speech, and compared with how anger,
happiness and sadness are known to sound: Scherer (2003), doi 10.1016/S0167-6393(02)00084-5; Juslin
and Laukka (2003), doi 10.1037/0033-2909.129.5.770; the cues are among those of GeMAPS, Eyben et al.
(2016), doi 10.1109/TAFFC.2015.2457417. It tells excited from calm better than good from bad; see
docs/explanation/emotion.md for how well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from turnlab.emotions.acoustics import Acoustics
from turnlab.emotions.judgement import ANGRY, HAPPY, NEUTRAL, SAD, Judgement, judged

LEAST_VOICED_S = 0.1
"""Below so much voiced sound there is nothing to judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One cue: what it is in ordinary speech, by how much that varies, what emotions do to it.

    The signs are those of Juslin and Laukka's summary (their table 11), where 1 is a pronounced
    and 0.5 a moderate or contested change; 0 says nothing.
    """

    mean: float
    deviation: float
    angry: float
    happy: float
    sad: float


CUES = {
    # Counts half: of somebody whose usual pitch is not known it says little.
    "pitch": Cue(mean=0.0, deviation=4.0, angry=0.25, happy=0.5, sad=-0.25),
    "pitch_range": Cue(mean=11.0, deviation=4.5, angry=0.5, happy=1.0, sad=-1.0),
    "brightness": Cue(mean=-14.0, deviation=4.5, angry=1.0, happy=0.5, sad=-1.0),
    "level_range": Cue(mean=14.5, deviation=4.0, angry=1.0, happy=0.5, sad=-0.5),
    "rate": Cue(mean=3.0, deviation=1.2, angry=0.5, happy=0.5, sad=-1.0),
    "regularity": Cue(mean=8.5, deviation=2.5, angry=-1.0, happy=0.5, sad=0.0),
}
"""Means and deviations: rounded from a few minutes of ordinary speech (readings and questions) and
from how much the acted speech varies that the method was tried out on."""

_USUAL_HZ = (100.0, 230.0)
"""From a low voice of a man to a high one of a woman, in ordinary speech."""

_NEUTRAL = 1.0
"""What speaks for neutral: as much as cues one deviation from ordinary speech say against it."""

_FARTHEST = 2.5
"""Deviations beyond which a cue counts no more: a mismeasured one must not decide."""


def cues(acoustics: Acoustics) -> dict[str, float]:
    """The cues, in deviations from ordinary speech."""
    measured = {
        "pitch": _beyond_usual(acoustics.pitch_hz),
        "pitch_range": acoustics.pitch_range_st,
        "brightness": -acoustics.alpha_db,
        "level_range": acoustics.level_range_db,
        "rate": acoustics.rate_hz,
        "regularity": acoustics.harmonicity_db,
    }
    return {
        name: max(-_FARTHEST, min(_FARTHEST, (measured[name] - cue.mean) / cue.deviation))
        for name, cue in CUES.items()
    }


def _beyond_usual(pitch_hz: float) -> float:
    """Semitones above or below the span of usual voices, 0 within it.

    So that a woman's voice does not seem happier than a man's.
    """
    low, high = _USUAL_HZ
    return 12 * math.log2(pitch_hz / max(low, min(high, pitch_hz)))


def judge_voice(acoustics: Acoustics) -> Judgement:
    """Angry, happy, sad or neutral."""
    found = cues(acoustics)
    scores = {NEUTRAL: _NEUTRAL}
    for label in (ANGRY, HAPPY, SAD):
        weights = {name: getattr(cue, label) for name, cue in CUES.items()}
        total = sum(weights[name] * found[name] for name in CUES)
        scores[label] = total / math.sqrt(sum(weight**2 for weight in weights.values()))
    shares = {label: math.exp(score) for label, score in scores.items()}
    # There are two labels for what is bad and one for what is good: without this, a voice that
    # tells nothing would seem to be in a bad mood.
    return judged({**shares, ANGRY: shares[ANGRY] / 2, SAD: shares[SAD] / 2})
