"""One judgement of what the modalities say, each by what it is worth and how decided it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from turnlab.emotions.judgement import Judgement, judged

_UNDECIDED = 0.25
"""Of its weight a modality keeps when its value is 0: that it found nothing says little."""


def fused(judgements: Mapping[str, Judgement], weights: Mapping[str, float]) -> Judgement | None:
    """The weighted mean of the confidences of those that are there; None if none is.

    A modality counts by its weight times how far from 0 its value is, `_UNDECIDED` at least: words
    without any polarity do not outvote a beaming face. What is missing is not filled in.
    """
    shares: defaultdict[str, float] = defaultdict(float)
    for modality, judgement in judgements.items():
        weight = weights[modality] * max(_UNDECIDED, abs(judgement.value))
        for label, confidence in judgement.confidences.items():
            shares[label] += weight * confidence
    return judged(shares) if shares else None
