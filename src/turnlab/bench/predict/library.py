"""Which measurements stand for which Component of a Cluster, and how near they are to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from turnlab.bench.predict.records import Group, Part, signature
from turnlab.bench.predict.sources import (
    ELSEWHERE,
    NEAREST,
    SAME,
    Conditions,
    Pool,
    Source,
    unlike_versions,
)
from turnlab.errors import NothingMeasured, TooFewMeasurements
from turnlab.profiles import USER
from turnlab.tracks import Mode

FEWEST = 20
"""Turns of the dataset that each Component must be measured in; with fewer nothing is predicted."""

MOST_TOLD = 5
"""Runs of which it is told what was lost, the newest ones."""

_ORDER: Mapping[Conditions, tuple[Conditions, ...]] = {
    ("streamed", "fast"): (
        ("streamed", "fast"),
        ("chained", "fast"),
        ("chained", "realtime"),
        ("streamed", "realtime"),
    ),
    ("chained", "fast"): (
        ("chained", "fast"),
        ("chained", "realtime"),
        ("streamed", "fast"),
        ("streamed", "realtime"),
    ),
    ("streamed", "realtime"): (
        ("streamed", "realtime"),
        ("streamed", "fast"),
        ("chained", "realtime"),
        ("chained", "fast"),
    ),
    ("chained", "realtime"): (
        ("chained", "realtime"),
        ("chained", "fast"),
        ("streamed", "fast"),
        ("streamed", "realtime"),
    ),
}
"""Which conditions of measuring are nearest to those that are predicted."""


@dataclass
class Library:
    """All that was measured, by Cluster and conditions."""

    groups: Sequence[Group]

    @cached_property
    def pools(self) -> list[Pool]:
        """Those of the least concurrency: the less is beside it, the better work is known."""
        found: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
        usable = [group for group in self.groups if group.turns]
        for group in sorted(usable, key=lambda each: each.began):
            cluster = tuple(signature(group.parts, name) for name in group.parts)
            found[group.cluster, cluster, group.mode, group.pace, group.concurrency].append(group)
        least: dict[tuple[object, ...], int] = {}
        for (*same, at_once), groups in found.items():
            if len({question for each in groups for question in each.questions}) >= FEWEST:
                least[tuple(same)] = min(least.get(tuple(same), at_once), at_once)
        return [
            Pool(raw=tuple(groups))
            for (*same, at_once), groups in found.items()
            if at_once == least.get(tuple(same), at_once)
        ]

    def sources(
        self,
        parts: Mapping[str, Part],
        mode: Mode,
        pace: str,
        chosen: Mapping[str, tuple[Pool, str]] | None = None,
    ) -> dict[str, Source]:
        """What stands for each Component.

        Raises NothingMeasured, and TooFewMeasurements that says how many more are needed.
        """
        wanted = (str(mode), pace)
        votes = {id(pool): self._fits(pool, parts) for pool in self.pools}
        found = {}
        for name, part in parts.items():
            if chosen and name in chosen:
                pool, measured_as = chosen[name]
                found[name] = self._chosen(part, pool, measured_as, wanted)
            else:
                found[name] = self._source(parts, name, wanted, votes)
        return {name: self._with_twin(parts, each) for name, each in found.items()}

    def lost(self, clusters: Collection[str] | None = None) -> list[str]:
        """What no prediction is made from, in words: Tracks without a reply that was heard."""
        return [
            f"In {group.run_id} {group.lost} of {group.lost + len(group.turns)} turns of "
            f"{group.cluster} ({group.mode}) failed or gave no sound; that is no part of this "
            "prediction."
            for group in sorted(self.groups, key=lambda each: each.began, reverse=True)
            if group.lost and (clusters is None or group.cluster in clusters)
        ][:MOST_TOLD]

    def _fits(self, pool: Pool, parts: Mapping[str, Part]) -> int:
        known = {signature(pool.first.parts, name) for name in pool.first.parts}
        return sum(signature(parts, name) in known for name in parts)

    def _source(
        self,
        parts: Mapping[str, Part],
        name: str,
        wanted: Conditions,
        votes: Mapping[int, int],
    ) -> Source:
        part = parts[name]
        there = [
            (pool, other)
            for pool in self.pools
            for other in pool.first.parts
            if pool.first.parts[other].task_name == part.task_name
        ]
        if not there:
            raise NothingMeasured(
                f"No Run has measured {part.task_name} on this machine; run `turnlab bench` with a "
                f"Cluster that has it, such as --clusters NAME --dataset DIR."
                + "".join(f" {each}" for each in self.lost()),
                component=name,
            )
        enough = [each for each in there if each[0].count(each[1]) >= FEWEST]
        if not enough:
            most = max(pool.count(other) for pool, other in there)
            raise TooFewMeasurements(
                f"{part.task_name} was measured in {most} turns of a dataset, repetitions not "
                f"counted; predicting takes {FEWEST} at least: run {FEWEST - most} more with "
                "`turnlab bench`.",
                component=name,
            )

        def far(each: tuple[Pool, str]) -> tuple[int, ...]:
            pool, other = each
            there = pool.first.parts
            level = _level(parts, part, there, other)
            unlike = _unlike(part, there[other]) if level == NEAREST else 0
            conditions = _ORDER[wanted].index(pool.conditions)
            return level, unlike, conditions, -votes[id(pool)], -pool.count(other)

        pool, other = min(enough, key=far)
        level = _level(parts, part, pool.first.parts, other)
        return Source(
            part=_as_measured(part, pool.first.parts[other], level),
            pool=pool,
            name=other,
            level=level,
            same_conditions=pool.conditions == wanted,
        )

    def _chosen(self, part: Part, pool: Pool, name: str, wanted: Conditions) -> Source:
        other = pool.first.parts[name]
        if pool.count(name) < FEWEST:
            raise TooFewMeasurements(
                f"{name} was measured in {pool.count(name)} turns of the dataset in {pool.name}; "
                f"predicting takes {FEWEST} at least.",
                component=part.name,
            )
        return Source(
            part=replace(
                part,
                places=other.places,
                lanes=other.lanes,
                batches=other.batches,
                can_pause=other.can_pause,
                instance=other.instance,
            ),
            pool=pool,
            name=name,
            level=NEAREST,
            same_conditions=pool.conditions == wanted,
            chosen=True,
        )

    def _with_twin(self, parts: Mapping[str, Part], source: Source) -> Source:
        """A Component of the same task that was measured on the very input that it will have."""
        part, pool = source.part, source.pool
        theirs = pool.first.parts
        if _upstream(theirs, theirs[source.name]) == _upstream(parts, part):
            return source
        if all(producer == USER for producer in part.reads.values()):
            return source
        wanted = _upstream(parts, part)
        task_name = theirs[source.name].task_name
        for other in self.pools:
            if other.conditions != pool.conditions:
                continue
            for name, each in other.first.parts.items():
                if each.task_name == task_name and _upstream(other.first.parts, each) == wanted:
                    return replace(source, twin=(other, name))
        return source


def _upstream(parts: Mapping[str, Part], part: Part) -> tuple[tuple[str, str], ...]:
    """What it reads, and of whom."""
    return tuple(sorted((kind, signature(parts, made)) for kind, made in part.reads.items()))


def _level(parts: Mapping[str, Part], part: Part, there: Mapping[str, Part], other: str) -> int:
    if signature(parts, part.name) == signature(there, other):
        return SAME
    return ELSEWHERE if part.key == there[other].key else NEAREST


def _unlike(part: Part, other: Part) -> int:
    """In how many parameters and versions they differ."""
    names = {*part.params, *other.params}
    params: int = sum(part.params.get(name) != other.params.get(name) for name in names)
    return params + len(unlike_versions(part.made_with, other.made_with))


def _as_measured(part: Part, other: Part, level: int) -> Part:
    """Whether it can pause is known of the Module as it was."""
    return part if level != NEAREST else replace(part, can_pause=other.can_pause)
