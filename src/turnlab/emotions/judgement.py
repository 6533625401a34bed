"""What one modality says of the user's emotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ANGRY, HAPPY, SAD, NEUTRAL, UNHAPPY = "angry", "happy", "sad", "neutral", "unhappy"

VALENCE: Mapping[str, int] = {
    HAPPY: 1,
    NEUTRAL: 0,
    "surprised": 0,
    ANGRY: -1,
    SAD: -1,
    UNHAPPY: -1,
    "afraid": -1,
    "disgusted": -1,
}
"""How good each label is to feel; surprise may be either, `unhappy` is what is bad without more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The confidence in each label: 0..1, their sum 1."""

    confidences: dict[str, float]

    @property
    def value(self) -> float:
        """The confidence in what is good to feel less that in what is bad: -1..1."""
        value = sum(VALENCE[label] * share for label, share in self.confidences.items())
        return max(-1.0, min(1.0, value))

    @property
    def label(self) -> str:
        """The likeliest label of the likeliest of good, bad and neither; of equal ones the first.

        Bad has more labels than good: each may be unlikely where all of them together are not.
        """
        groups = {valence: 0.0 for valence in (0, 1, -1)}
        for label, share in self.confidences.items():
            groups[VALENCE[label]] += share
        likeliest = max(groups, key=groups.__getitem__)
        labels = {label: s for label, s in self.confidences.items() if VALENCE[label] == likeliest}
        return max(labels, key=labels.__getitem__)


def judged(shares: Mapping[str, float]) -> Judgement:
    """The judgement in which labels are as likely as these shares are large; some must be."""
    total = sum(shares.values())
    return Judgement(confidences={label: share / total for label, share in shares.items()})
