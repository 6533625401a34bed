"""The cheapest single change that would meet the budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from turnlab.bench.predict.casting import Company
from turnlab.bench.predict.library import FEWEST, Library
from turnlab.bench.predict.path import CROWDING, QUEUE
from turnlab.bench.predict.prediction import Prediction, Question, changed, scaled, simulate
from turnlab.bench.predict.records import Part
from turnlab.bench.predict.rulings import kept, told
from turnlab.bench.predict.sources import Pool
from turnlab.bench.predict.workload import Played
from turnlab.errors import TurnlabError
from turnlab.tracks import Mode

TURNS = 600
"""Of each change that is tried."""

WAITS = 0.05
"""The share of the critical path from which more workers or cores are worth trying."""

_STEPS = 8
_LEAST_FACTOR = 0.05

FREE, PRICED, MACHINE, WORK = range(4)
"""In order of cost: a switch; another Component, by its price a turn; more of the machine, whose
price is not known; work on a Component, whose price nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One change, and what it would come to."""

    kind: str
    """`mode`, `component`, `worker`, `core` or `faster`."""
    what: str
    component: str = ""
    p50_s: float
    p95_s: float
    kept: bool | None
    """Whether all limits would be kept; None where that is not known."""
    cost_usd: float | None = 0.0
    """A turn, of the whole Cluster; None where a price is not known."""
    rank: int = FREE

    @property
    def sentence(self) -> str:
        """What it would give."""
        cost = "" if not self.cost_usd else f", {self.cost_usd:.4f} USD a turn"
        return f"{self.what}: p50 {self.p50_s:.3f} s, p95 {self.p95_s:.3f} s{cost}"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The changes that were tried, those that meet the budget first, the cheapest of them first."""

    options: tuple[Option, ...]
    sentence: str

    @property
    def best(self) -> Option | None:
        """The cheapest single change that would meet the budget; None if none does."""
        return next((option for option in self.options if option.kept), None)


def advise(prediction: Prediction, library: Library, parts: dict[str, Part]) -> Advice:
    """What single change would meet the budget, where it is not met."""
    question = replace(
        prediction.question,
        turns=min(TURNS, prediction.question.turns),
        limits=told(prediction.question.limits, prediction.played),
    )
    tried = [
        *_modes(question, library, parts),
        *_components(question, library, parts),
        *_machine(prediction, question),
    ]
    if not any(option.kept for option in tried):
        tried += _faster(question)
    else:
        tried += [each for each in _faster(question) if each.kept]
    options = tuple(sorted(tried, key=_order))
    return Advice(options=options, sentence=_sentence(options, question))


def _order(option: Option) -> tuple[bool, int, float, float]:
    unknown = float("inf") if option.cost_usd is None else option.cost_usd
    return not option.kept, option.rank, unknown, option.p95_s


def _sentence(options: tuple[Option, ...], question: Question) -> str:
    budget = " and ".join(f"`{limit}`" for limit in question.limits)
    best = next((option for option in options if option.kept), None)
    if best is None:
        return f"No single change that was tried would keep {budget}."
    return f"The cheapest single change that would keep {budget}: {best.sentence}."


def _option(question: Question, played: Played, **about: object) -> Option:
    half, most = np.quantile(played.voice_to_voice_s, (0.5, 0.95))
    cost = float(np.mean(played.costs_usd))
    return Option(
        p50_s=float(half),
        p95_s=float(most),
        kept=kept(question.limits, played),
        cost_usd=None if np.isnan(cost) else cost,
        **about,  # type: ignore[arg-type]
    )


def _modes(question: Question, library: Library, parts: dict[str, Part]) -> Iterator[Option]:
    mode = Mode.CHAINED if question.setting.mode is Mode.STREAMED else Mode.STREAMED
    old = question.company
    try:
        sources = library.sources(parts, mode, old.pace)
    except TurnlabError:
        return
    company = replace(old, sources=sources, mode=mode)
    other = replace(question, company=company, setting=replace(question.setting, mode=mode))
    yield _option(question, simulate(other), kind="mode", what=f"--mode {mode}")


def _components(question: Question, library: Library, parts: dict[str, Part]) -> Iterator[Option]:
    for name, part in parts.items():
        for pool, other in _others(question.company, library, part):
            chosen = {name: (pool, other)}
            there = pool.first.parts[other]
            try:
                sources = library.sources(
                    parts, question.company.mode, question.company.pace, chosen
                )
            except TurnlabError:
                continue
            company = replace(question.company, sources=sources)
            played = simulate(replace(question, company=company))
            run_id = pool.first.run_id
            what = f"--use {name}={run_id}:{pool.first.cluster}:{other} ({_told(part, there)})"
            yield _option(
                question, played, kind="component", component=name, what=what, rank=PRICED
            )


def _others(company: Company, library: Library, part: Part) -> list[tuple[Pool, str]]:
    """Components that make the same from no more than there is, one of each sort."""
    found: dict[str, tuple[Pool, str]] = {}
    wanted = (str(company.mode), company.pace)
    used = company.sources[part.name].pool.first.parts[company.sources[part.name].name].key
    for pool in library.pools:
        for name, other in pool.first.parts.items():
            fits = other.produces == part.produces and set(other.reads) <= set(part.reads)
            unlike = other.key not in (part.key, used)
            if fits and unlike and pool.conditions == wanted and pool.count(name) >= FEWEST:
                found.setdefault(other.key, (pool, name))
    return list(found.values())


def _told(part: Part, other: Part) -> str:
    if part.task_name != other.task_name:
        return other.task_name
    names = [
        n for n in {**part.params, **other.params} if part.params.get(n) != other.params.get(n)
    ]
    return ", ".join(f"{name}={other.params.get(name)}" for name in sorted(names)[:3]) or "the same"


def _machine(prediction: Prediction, question: Question) -> Iterator[Option]:
    """One more worker where a Component waits for its turn, one more core where they are short."""
    means = prediction.played.paths.mean(axis=0)
    total = means.sum() or 1.0
    setting = question.setting
    for name, row in zip(prediction.played.components, means, strict=True):
        if row[QUEUE] + row[CROWDING] >= WAITS * total:
            count = setting.workers.get(name, 1) + 1
            workers = {**setting.workers, name: count}
            other = replace(question, setting=replace(setting, workers=workers))
            yield _option(
                question,
                simulate(other),
                kind="worker",
                component=name,
                what=f"--workers {name}={count}",
                rank=MACHINE,
            )
    if means[:, QUEUE].sum() + means[:, CROWDING].sum() >= WAITS * total:
        other = replace(question, setting=replace(setting, cores=setting.cores + 1))
        what = f"--cores {setting.cores + 1:g}"
        yield _option(question, simulate(other), kind="core", what=what, rank=MACHINE)


def _faster(question: Question) -> Iterator[Option]:
    """By how much each Component alone would have to be faster."""
    for name in question.company.sources:
        factor = _factor(question, name)
        other = changed(question, scaled(name, factor or _LEAST_FACTOR))
        what = f"--set {name}.model=x{factor or _LEAST_FACTOR:.2f}"
        yield _option(
            question, simulate(other), kind="faster", component=name, what=what, rank=WORK
        )


def _factor(question: Question, name: str) -> float | None:
    """The largest factor on its work that keeps the budget, by bisection; None if none does."""
    if not kept(question.limits, simulate(changed(question, scaled(name, _LEAST_FACTOR)))):
        return None
    low, high = _LEAST_FACTOR, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if kept(question.limits, simulate(changed(question, scaled(name, middle)))):
            low = middle
        else:
            high = middle
    return round(low - 0.005, 2) if low > _LEAST_FACTOR + 0.01 else low
