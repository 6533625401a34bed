"""How far a judging model agrees with people: alpha, rank correlation, matches, bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from turnlab.bench.measuring.metrics import Estimate
from turnlab.bench.measuring.statistics import Floats, Ints, interval

FEWEST = 10
"""Replies that both have scored; below, nothing is said."""

RESAMPLES = 500

Level = Literal["ordinal", "interval"]


@dataclass(frozen=True, kw_only=True)
class Rated:
    """A reply that the model and people have scored."""

    turn_id: str
    """Replies to one turn are not independent of each other."""
    model: float
    people: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of a model with people, by one criterion."""

    criterion: str
    replies: int
    people: int
    figures: Mapping[str, Estimate] = field(default_factory=dict)
    """`alpha` (model and people), `alpha_of_people` (among themselves), `spearman`, `exact` and
    `within_one` (share of replies whose people the model meets), `bias` (model less people)."""

    def as_json(self) -> dict[str, Any]:
        """The agreement as JSON."""
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        return {
            "criterion": self.criterion,
            "replies": self.replies,
            "people": self.people,
            "figures": figures,
        }


def agreement(criterion: str, rated: Sequence[Rated], *, seed: int = 0) -> Agreement:
    """How far the model agrees with people; figures without a value below FEWEST replies.

    Intervals come from resampling turns, with all replies to each.
    """
    names = sorted({name for each in rated for name in each.people})
    scores = np.full((1 + len(names), len(rated)), np.nan)
    for column, each in enumerate(rated):
        scores[0, column] = each.model
        for row, name in enumerate(names, 1):
            scores[row, column] = each.people.get(name, np.nan)
    groups = np.unique([each.turn_id for each in rated], return_inverse=True)[1]
    return Agreement(
        criterion=criterion,
        replies=len(rated),
        people=len(names),
        figures=_figures(scores, groups, seed) if names else {},
    )


def krippendorff_alpha(ratings: Floats, level: Level = "ordinal") -> float:
    """Krippendorff's alpha of `ratings`, a row a rater and a column a thing, NaN for none.

    1: full agreement; 0: no more than by chance. NaN where there is nothing to pair or all gave
    the same. By the matrix of coincidences of K. Krippendorff, "Computing Krippendorff's
    Alpha-Reliability", 2011.
    """
    values = np.unique(ratings[~np.isnan(ratings)])
    counts = (ratings[:, :, None] == values).sum(axis=0).astype(np.float64)
    often = counts.sum(axis=1)
    counts, often = counts[often >= 2], often[often >= 2]
    shares = counts / (often - 1)[:, None]
    coincidences = shares.T @ counts - np.diag(shares.sum(axis=0))
    totals = counts.sum(axis=0)
    places = np.cumsum(totals) - totals / 2 if level == "ordinal" else values
    distances = np.subtract.outer(places, places) ** 2
    expected = totals @ distances @ totals
    if expected == 0:
        return float("nan")
    return float(1 - (totals.sum() - 1) * (coincidences * distances).sum() / expected)


def spearman(a: Floats, b: Floats) -> float:
    """The correlation of ranks, ties at the mean of theirs; NaN where one of them is constant."""
    x, y = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _statistics(scores: Floats) -> Floats:
    """All figures of `scores`, whose first row is the model's, in the order of _NAMES."""
    model, people = scores[0], scores[1:]
    means = np.nanmean(people, axis=0)
    apart = np.abs(people - model)
    near = [_mean_share(apart, most) for most in (0.0, 1.0)]
    alphas = [krippendorff_alpha(scores), krippendorff_alpha(people)]
    return np.array([*alphas, spearman(model, means), *near, float((model - means).mean())])


_NAMES = ("alpha", "alpha_of_people", "spearman", "exact", "within_one", "bias")


def _mean_share(apart: Floats, most: float) -> float:
    """Of each reply the share of its people that the model is so near to; the mean of them."""
    there = ~np.isnan(apart)
    return float((((apart <= most) & there).sum(axis=0) / there.sum(axis=0)).mean())


def _figures(scores: Floats, groups: Ints, seed: int) -> dict[str, Estimate]:
    scored = (~np.isnan(scores[1:])).sum(axis=0)
    counts = {name: scores.shape[1] for name in _NAMES}
    if len(scores) > 2:  # people among themselves are two at least
        counts["alpha_of_people"] = int((scored >= 2).sum())
    else:
        del counts["alpha_of_people"]
    enough = scores.shape[1] >= FEWEST
    values = _statistics(scores)
    draws = _draws(scores, groups, seed) if enough else np.empty((0, len(_NAMES)))
    turns = len(np.unique(groups))
    return {
        name: _figure(float(values[place]), draws[:, place], counts[name], turns)
        for place, name in enumerate(_NAMES)
        if name in counts
    }


def _figure(value: float, draws: Floats, count: int, turns: int) -> Estimate:
    if count < FEWEST:
        why = f"too few to tell: {count} replies can be compared, {FEWEST} are needed"
        return Estimate(None, n=count, groups=turns, why_absent=why)
    if np.isnan(value):
        why = "cannot be told: the scores do not vary"
        return Estimate(None, n=count, groups=turns, why_absent=why)
    bounds = interval(draws, turns)
    return Estimate(value, bounds.low, bounds.high, n=count, groups=turns, note=bounds.note)


def _draws(scores: Floats, groups: Ints, seed: int) -> Floats:
    """The figures of RESAMPLES resamples of whole groups."""
    random = np.random.default_rng(seed)
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(groups))[:-1])
    drawn = random.integers(0, len(members), (RESAMPLES, len(members)))
    chosen = (np.concatenate([members[each] for each in row]) for row in drawn)
    return np.array([_statistics(scores[:, columns]) for columns in chosen])
