"""What a judge found in a Run: means by Cluster, agreement with people, what was not judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from turnlab.bench.judging.agreement import FEWEST, Agreement, Rated, agreement
from turnlab.bench.judging.rubric import Rubric
from turnlab.bench.judging.scores import Judged, JudgeScores, RecordedReply
from turnlab.bench.measuring.metrics import Estimate
from turnlab.bench.measuring.statistics import Resampling, interval
from turnlab.prices import Usage

People = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Scores of people by criterion, Track and person."""


@dataclass(frozen=True, kw_only=True)
class CriterionFigure:
    """What one Cluster in one mode was given by one criterion."""

    cluster: str
    mode: str
    criterion: str
    mean: Estimate
    scores: Mapping[int, int]
    """How often each score was given."""

    def as_json(self) -> dict[str, Any]:
        """The figure as JSON."""
        return {
            "cluster": self.cluster,
            "mode": self.mode,
            "criterion": self.criterion,
            "mean": asdict(self.mean),
            "scores": {str(score): count for score, count in self.scores.items()},
        }


@dataclass(kw_only=True)
class Counts:
    """What became of the replies of a Run, and what it took."""

    judged: int = 0
    judged_before: int = 0
    not_judged: list[Judged] = field(default_factory=list)
    refused: int = 0
    """Not sent, since the user wants nothing to leave."""
    without_text: int = 0
    """Whose text is no longer kept, or never was."""
    left: int = 0
    """Not reached, because of the limit."""
    usage: Usage = field(default_factory=Usage)

    def add(self, judged: Judged) -> None:
        """Count a turn that has just been judged, or not."""
        self.usage += judged.usage
        if judged.scores:
            self.judged += 1
        else:
            self.not_judged.append(judged)

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON."""
        reasons = [{"track_id": each.track_id, "reason": each.reason} for each in self.not_judged]
        return {
            "judged": self.judged,
            "judged_before": self.judged_before,
            "not_judged": reasons,
            "refused": self.refused,
            "without_text": self.without_text,
            "left": self.left,
            "usage": self.usage.as_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Result:
    """What is known of a Run's replies after they were judged."""

    run_id: str
    rubric: Rubric
    model: str
    counts: Counts
    cost_usd: float | None
    """None where the price is unknown."""
    figures: list[CriterionFigure]
    agreements: list[Agreement]
    of_other_replies: int
    """Scores of the manifest that belong to replies that no Cluster gave."""

    def as_json(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "rubric": self.rubric.name,
            "rubric_hash": self.rubric.hash,
            "model": self.model,
            **self.counts.as_json(),
            "cost_usd": self.cost_usd,
            "figures": [each.as_json() for each in self.figures],
            "agreement": [each.as_json() for each in self.agreements],
            "scores_of_other_replies": self.of_other_replies,
        }


def figures(
    rubric: Rubric, scores: JudgeScores, replies: Sequence[RecordedReply]
) -> list[CriterionFigure]:
    """The mean of each criterion by Cluster and mode, in the rubric's order.

    Intervals come from resampling turns, with all repetitions of each.
    """
    subjects: defaultdict[tuple[str, str], list[RecordedReply]] = defaultdict(list)
    for reply in replies:
        subjects[reply.cluster, reply.mode].append(reply)
    found = []
    for (cluster, mode), own in subjects.items():
        for criterion in rubric.criteria:
            by_track = scores.by_criterion.get(criterion.name, {})
            scored = [
                (each.turn_id, by_track[each.track_id]) for each in own if each.track_id in by_track
            ]
            if scored:
                found.append(
                    CriterionFigure(
                        cluster=cluster,
                        mode=mode,
                        criterion=criterion.name,
                        mean=_mean(scored),
                        scores=_histogram(scored),
                    )
                )
    return found


def agreements(
    rubric: Rubric, scores: JudgeScores, people: People, replies: Sequence[RecordedReply]
) -> list[Agreement]:
    """The model's agreement with people, of each criterion by which both have scored a reply.

    Scores of people that lie off the rubric's scale were given by another rubric and left out.
    """
    found = []
    for criterion in rubric.criteria:
        given = scores.by_criterion.get(criterion.name, {})
        by_track = people.get(criterion.name, {})
        rated = []
        for each in replies:
            own = by_track.get(each.track_id, {})
            on_scale = {who: score for who, score in own.items() if rubric.scale.holds(score)}
            if on_scale and each.track_id in given:
                model = given[each.track_id]
                rated.append(Rated(turn_id=each.turn_id, model=model, people=on_scale))
        if rated:
            found.append(agreement(criterion.name, rated))
    return found


def _mean(scored: Sequence[tuple[str, float]]) -> Estimate:
    values = np.array([score for _, score in scored])
    groups = np.unique([turn_id for turn_id, _ in scored], return_inverse=True)[1]
    resampling = Resampling(groups)
    turns, mean = resampling.groups_of(values), float(values.mean())
    if turns < FEWEST:
        return Estimate(mean, n=len(values), groups=turns, note="too few turns to tell")
    bounds = interval(resampling.means(values), turns)
    return Estimate(mean, bounds.low, bounds.high, n=len(values), groups=turns, note=bounds.note)


def _histogram(scored: Sequence[tuple[str, float]]) -> dict[int, int]:
    values, counts = np.unique([round(score) for _, score in scored], return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
