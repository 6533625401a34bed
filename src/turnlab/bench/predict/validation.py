"""Predictions held against a Run that was hidden from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from turnlab.bench.measuring.statistics import Resampling, interval, quantile
from turnlab.bench.predict.casting import Company
from turnlab.bench.predict.library import FEWEST, Library
from turnlab.bench.predict.prediction import needed
from turnlab.bench.predict.records import Group
from turnlab.bench.predict.stage import Setting
from turnlab.bench.predict.workload import Floats, Load, play
from turnlab.errors import NothingMeasured, TooFewMeasurements
from turnlab.reports.run_report import Figure
from turnlab.tracks import Mode

LEVELS = (0.5, 0.95)

TOLERANCES: Mapping[str, tuple[float, float]] = {
    "measured": (0.05, 0.10),
    "new": (0.10, 0.15),
    "crowded": (0.15, 0.15),
}
"""Which error of p50 and p95 is still right: of a Cluster that other Runs have measured, of one
that is put together from Components of others, and of several turns at once."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One Cluster in one mode of the hidden Run, as measured and as predicted."""

    group: Group
    sort: str
    """A key of TOLERANCES."""
    measured: Floats
    predicted: Floats
    errors: Mapping[float, Figure]
    """By level: predicted over measured, less 1."""
    trained_on: str
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as `CLUSTER (streamed)` or `CLUSTER (streamed, 4 at once)`."""
        at_once = f", {self.group.concurrency} at once" if self.group.concurrency > 1 else ""
        return f"{self.group.cluster} ({self.group.mode}{at_once})"

    def tolerated(self, level: float) -> float:
        """How large an error is still right."""
        return TOLERANCES[self.sort][LEVELS.index(level)]

    def right(self, level: float) -> bool | None:
        """Whether the error is within what is tolerated: True if its whole interval is, False if
        none of it is, None where so few turns do not tell."""
        error, allowed = self.errors[level], self.tolerated(level)
        if error.low is None or error.high is None:
            return None
        if -allowed <= error.low and error.high <= allowed:
            return True
        return False if error.low > allowed or error.high < -allowed else None

    @property
    def sentence(self) -> str:
        """What was found."""
        told = []
        for level in LEVELS:
            error, name = self.errors[level], f"p{level * 100:g}"
            if error.value is None:
                told.append(f"{name} not told ({error.why})")
                continue
            ends = f" ({error.low:+.1%} to {error.high:+.1%})" if error.bounded else ""
            told.append(f"{name} off by {error.value:+.1%}{ends}")
        return f"{self.name}: {', '.join(told)}; from {self.trained_on}."


@dataclass(frozen=True, kw_only=True)
class Validation:
    """All that a Run holds."""

    run_id: str
    checks: tuple[Check, ...]

    @property
    def right(self) -> bool | None:
        """True if every error is within what is tolerated, False if one is not, None where too few
        turns do not tell."""
        found = {check.right(level) for check in self.checks for level in LEVELS}
        return False if False in found else None if None in found else True


def validate(
    run_id: str, groups: Sequence[Group], *, turns: int = 2_000, seed: int = 0
) -> Validation:
    """Hide a Run and predict it from the others.

    Where no other has its Components, half of its own turns are hidden instead, by turn of the
    dataset. Raises NothingMeasured, TooFewMeasurements.
    """
    hidden = [group for group in groups if group.run_id == run_id and group.turns]
    if not hidden:
        raise NothingMeasured(f"{run_id} holds no turn that can be used: no reply was heard.")
    others = [group for group in groups if group.run_id != run_id]
    return Validation(
        run_id=run_id,
        checks=tuple(check(group, others, turns=turns, seed=seed) for group in hidden),
    )


def check(group: Group, others: Sequence[Group], *, turns: int = 2_000, seed: int = 0) -> Check:
    """Predict one Group from others. Raises as `validate`."""
    if (count := len(group.questions)) < FEWEST:
        raise TooFewMeasurements(
            f"{group} holds {count} turns of the dataset, repetitions not counted; to compare "
            f"takes {FEWEST} at least."
        )
    held, trained_on = group, "other Runs"
    try:
        company = _company(group, others)
    except (NothingMeasured, TooFewMeasurements):
        held, seen = _halves(group)
        company = _company(group, [seen])
        trained_on = "the other half of its own turns, since no other Run has its Components"
    sources = company.sources.values()
    elsewhere = any(source.level for source in sources)
    sort = "crowded" if group.concurrency > 1 else "new" if elsewhere else "measured"
    wanted = set(held.questions)
    scenes = company.scenes(turns, seed)
    same = [scene for scene in scenes if scene.turn_id in wanted]
    setting = Setting(mode=Mode(group.mode), cores=group.cores)
    block = len(group.questions) if group.concurrency > 1 else None
    load = Load(at_once=group.concurrency, block=block)
    predicted = play(same or scenes, setting, load, turns, seed)
    return Check(
        group=held,
        sort=sort,
        measured=np.sort([turn.voice_to_voice_s for turn in held.turns]),
        predicted=np.sort(predicted.voice_to_voice_s),
        errors=_errors(held, predicted.voice_to_voice_s, predicted.turn_ids, company),
        trained_on=trained_on,
        notes=(*(f"{s.part.name}: {s.note}" for s in sources if s.note), *Library([group]).lost()),
    )


def _company(group: Group, others: Sequence[Group]) -> Company:
    library = Library([each for each in others if each.hardware == group.hardware])
    sources = library.sources(group.parts, Mode(group.mode), group.pace)
    return Company(sources=sources, mode=Mode(group.mode), pace=group.pace)


def _halves(group: Group) -> tuple[Group, Group]:
    """Every other turn of the dataset, and the rest."""
    hidden = {question.partition("/")[2] for question in group.questions[::2]}
    return (
        replace(group, turns=tuple(t for t in group.turns if t.turn_id in hidden)),
        replace(group, turns=tuple(t for t in group.turns if t.turn_id not in hidden)),
    )


def _errors(
    group: Group, predicted: Floats, predicted_ids: Sequence[str], company: Company
) -> dict[float, Figure]:
    """Relative errors; their intervals from drawing the turns of the dataset anew, the same for
    what was measured and what was predicted where both have them.

    Repetitions count for whether an error is told: it is about these very turns. How far it goes
    for others is in the interval, for which they do not count.
    """
    trained = min(source.pool.tasks(source.name) for source in company.sources.values())
    measured = np.array([turn.voice_to_voice_s for turn in group.turns])
    ids = [group.question(turn) for turn in group.turns]
    together = np.unique([*ids, *predicted_ids], return_inverse=True)[1].astype(np.int64)
    nothing = np.full(len(predicted), np.nan), np.full(len(measured), np.nan)
    columns = np.concatenate([measured, nothing[0]]), np.concatenate([nothing[1], predicted])
    resampling = Resampling(together)
    draws = [resampling.quantiles(column, LEVELS) for column in columns]
    count = len(np.unique(together))
    found = {}
    for number, level in enumerate(LEVELS):
        lacking = needed(level) - min(trained, len(measured))
        if lacking > 0:
            why = f"{min(trained, len(measured))} turns; it takes {lacking} more"
            found[level] = Figure(value=None, why=why)
            continue
        value = quantile(predicted, level) / quantile(measured, level) - 1
        ends = interval(draws[1][number] / draws[0][number] - 1, count)
        found[level] = Figure(value=value, low=ends.low, high=ends.high, n=len(measured))
    return found
