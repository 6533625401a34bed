"""The prediction: a distribution, verdicts, whose time it is, what 10 % faster would give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from turnlab.bench.measuring.evidence import Evidence
from turnlab.bench.measuring.statistics import Resampling, quantile, quantile_interval
from turnlab.bench.predict.casting import Company
from turnlab.bench.predict.path import KINDS
from turnlab.bench.predict.rulings import Ruling, groups_of, rule
from turnlab.bench.predict.stage import Setting
from turnlab.bench.predict.what_if import Change
from turnlab.bench.predict.workload import Load, Played, play
from turnlab.clusters.budget import Limit
from turnlab.reports.run_report import Figure

LEVELS = (0.5, 0.9, 0.95, 0.99)
RISK = 0.05

FASTER = 0.9
SENSITIVITY_TURNS = 2_000


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be predicted."""

    cluster: str
    company: Company
    setting: Setting
    load: Load = field(default_factory=Load)
    limits: tuple[Limit, ...] = ()
    """Those that can be predicted."""
    not_predicted: tuple[Limit, ...] = ()
    """The Cluster's other ones, which nothing is said of."""
    lost: tuple[str, ...] = ()
    """What was measured of it that is no part of this, in words."""
    turns: int = 2_000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one Component has of the critical path, in means over turns."""

    component: str
    seconds: Mapping[str, float]
    """By kind of `path.KINDS`."""
    share: float
    """Of all Components together."""
    faster_p50_s: float = 0.0
    faster_p95_s: float = 0.0
    """By how much voice to voice would fall if its work took 10 % less."""
    note: str = ""
    """What its measurements are, where they are not exactly its own."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was predicted."""

    question: Question
    played: Played
    figures: Mapping[str, Figure]
    """By `voice_to_voice.p50` and so on."""
    mean_s: float
    shares: tuple[Share, ...]
    rulings: tuple[Ruling, ...]
    measured_turns: int
    """Different turns of the dataset that it is made of, repetitions not counted."""
    per_minute: float
    """Turns a minute, all that are at once together."""

    @property
    def critical(self) -> Share:
        """The Component that has most of the critical path."""
        return max(self.shares, key=lambda each: each.share)


def needed(level: float) -> int:
    """How many different turns must be measured for this quantile: that the largest of n lies above
    it has the chance 1 - level**n, which must be 95 %."""
    return math.ceil(math.log(RISK) / math.log(level)) if level > 0.5 else 5


def predict(question: Question, *, sensitivity: bool = True) -> Prediction:
    """Play it. Raises MissingPackage, and what the Library raises."""
    played = simulate(question)
    measured = question.company.measured_turns
    return Prediction(
        question=question,
        played=played,
        figures=figures(played, measured),
        mean_s=float(np.mean(played.voice_to_voice_s)),
        shares=_shares(question, played, sensitivity),
        rulings=tuple(rule(limit, played, measured) for limit in question.limits),
        measured_turns=measured,
        per_minute=60 * len(played.turn_ids) / played.seconds if played.seconds else 0.0,
    )


def simulate(question: Question) -> Played:
    """The turns alone."""
    scenes = question.company.scenes(question.turns, question.seed)
    return play(scenes, question.setting, question.load, question.turns, question.seed)


def figures(played: Played, measured_turns: int) -> dict[str, Figure]:
    """Quantiles with intervals from drawing the measured turns anew."""
    values = played.voice_to_voice_s
    groups = groups_of(played)
    draws = Resampling(groups).quantiles(values, LEVELS)
    evidence = Evidence(values, groups)
    found = {}
    for level, drawn in zip(LEVELS, draws, strict=True):
        name = f"voice_to_voice.p{level * 100:g}"
        lacking = needed(level) - measured_turns
        if lacking > 0:
            why = f"measured in {measured_turns} different turns; it takes {lacking} more"
            found[name] = Figure(value=None, n=measured_turns, why=why)
            continue
        ends = quantile_interval(drawn, evidence, level)
        found[name] = Figure(
            value=quantile(values, level),
            low=ends.low,
            high=ends.high,
            n=len(values),
            note=ends.note,
        )
    return found


def changed(question: Question, *changes: Change) -> Question:
    """The same with more changes to the Components' times."""
    old = question.company
    drawn = old.drawn or any(change.drawn for change in changes)
    company = replace(old, changes=(*old.changes, *changes), drawn=drawn)
    return replace(question, company=company)


def scaled(component: str, factor: float) -> Change:
    """The Component's work, taking so much of its time."""
    return Change(component=component, measure="model", text=f"x{factor:g}", factor=factor)


def _shares(question: Question, played: Played, sensitivity: bool) -> tuple[Share, ...]:
    means = played.paths.mean(axis=0)
    total = means.sum() or 1.0
    gains = _gains(question) if sensitivity else {}
    return tuple(
        Share(
            component=name,
            seconds=dict(zip(KINDS, (float(v) for v in row), strict=True)),
            share=float(row.sum() / total),
            faster_p50_s=gains.get(name, (0.0, 0.0))[0],
            faster_p95_s=gains.get(name, (0.0, 0.0))[1],
            note=question.company.sources[name].note,
        )
        for name, row in zip(played.components, means, strict=True)
    )


def _gains(question: Question) -> dict[str, tuple[float, float]]:
    """What each Component's being faster gives, all else drawn alike."""
    short = replace(question, turns=min(question.turns, SENSITIVITY_TURNS))
    base = np.quantile(simulate(short).voice_to_voice_s, (0.5, 0.95))
    found = {}
    for name in question.company.sources:
        values = simulate(changed(short, scaled(name, FASTER))).voice_to_voice_s
        gain = base - np.quantile(values, (0.5, 0.95))
        found[name] = (float(gain[0]), float(gain[1]))
    return found
