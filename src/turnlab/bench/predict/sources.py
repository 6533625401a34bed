"""Where measurements come from: the turns of one Cluster under equal conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from turnlab.bench.predict.records import Group, Part, TracedTurn
from turnlab.bench.predict.sharing import Measured, Trait, measured
from turnlab.bench.predict.steps import Script

SAME, ELSEWHERE, NEAREST = 0, 1, 2
"""How near: the same Component on the same input; the same on that of others; one with other
parameters, or with other versions of its engine or model."""

Conditions = tuple[str, str]
"""Mode and pace."""

Where = tuple[int, int]
"""The group of a Pool, and the turn's place in it."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All turns of one Cluster under the same conditions, of one Run or several."""

    raw: tuple[Group, ...]
    """As recorded, the oldest first."""

    @property
    def first(self) -> Group:
        """What all of its groups share; the newest."""
        return self.raw[-1]

    @cached_property
    def groups(self) -> tuple[Measured, ...]:
        """The same as scripts of work alone; made when it is needed."""
        return tuple(map(measured, self.raw))

    @cached_property
    def turns(self) -> dict[str, list[Where]]:
        """By turn of the dataset (Group.question): where each of its repetitions is."""
        found: dict[str, list[Where]] = defaultdict(list)
        for number, group in enumerate(self.raw):
            for place, turn in enumerate(group.turns):
                found[group.question(turn)].append((number, place))
        return dict(found)

    def of(self, part: str) -> dict[str, list[Where]]:
        """The same of those in which the Component had a Task."""
        found = {
            question: [where for where in places if part in self.turn(where).tasks]
            for question, places in self.turns.items()
        }
        return {question: places for question, places in found.items() if places}

    def turn(self, where: Where) -> TracedTurn:
        """One of its turns."""
        return self.raw[where[0]].turns[where[1]]

    def question(self, where: Where) -> str:
        """Of which turn of the dataset that is a repetition."""
        return self.raw[where[0]].question(self.turn(where))

    def script(self, where: Where, part: str) -> Script:
        """What a Component did in it."""
        return self.groups[where[0]].scripts[where[1]][part]

    def count(self, part: str) -> int:
        """In how many different turns of the dataset it was measured. Repetitions tell how much
        one turn varies, nothing of others."""
        return len(self.of(part))

    def tasks(self, part: str) -> int:
        """How many of it there are, repetitions counted."""
        return sum(len(places) for places in self.of(part).values())

    def scripts(self, part: str) -> Iterable[Script]:
        """All of its Tasks."""
        return (s[part] for each in self.groups for s in each.scripts if part in s)

    def trait(self, part: str) -> Trait:
        """Of the group with the most turns."""
        most = max(self.groups, key=lambda each: len(each.group.turns))
        return most.traits[part]

    @property
    def conditions(self) -> Conditions:
        """Under which it was measured."""
        return self.first.mode, self.first.pace

    @property
    def name(self) -> str:
        """For messages."""
        runs = ", ".join(dict.fromkeys(group.run_id for group in self.raw))
        return f"{self.first.cluster} of {runs}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What stands for one Component."""

    part: Part
    """As the Cluster has it."""
    pool: Pool
    name: str
    """The Component's name where it was measured."""
    level: int
    same_conditions: bool
    chosen: bool = False
    """Whether the user said so."""
    twin: tuple[Pool, str] | None = None
    """A Component of the same task that was measured on the same input: it tells after how much of
    it each Chunk came, and the Component itself how long that takes."""

    @property
    def note(self) -> str:
        """What is to be known of it, empty if it was measured as it will be run."""
        told = []
        if self.chosen:
            told.append(f"measurements of {self.name}, as asked for")
        elif self.level == NEAREST:
            told.append(self._nearest)
        elif self.level == ELSEWHERE:
            told.append("measured on the output of other Components")
        if self.twin is not None:
            told.append(f"cut as {self.twin[1]} of {self.twin[0].first.cluster}")
        if not self.same_conditions:
            told.append("measured {}, {}".format(*self.pool.conditions))
        if self.pool.first.concurrency > 1:
            told.append(f"measured at concurrency {self.pool.first.concurrency}")
        return "; ".join(told)

    @property
    def _nearest(self) -> str:
        other = self.pool.first.parts[self.name]
        told = unlike_versions(self.part.made_with, other.made_with)
        if not told:
            return "other parameters, the nearest that were measured"
        also = "other parameters and " if dict(self.part.params) != dict(other.params) else ""
        return f"the nearest that were measured, with {also}{', '.join(told)}"


def unlike_versions(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """In words: each engine and model of which there was another one."""
    names = sorted({*now, *then})
    return [
        f"{name} {_short(then.get(name))}, not {_short(now.get(name))}"
        for name in names
        if now.get(name) != then.get(name)
    ]


def _short(version: str | None) -> str:
    if version is None:
        return "of an unknown version"
    return version if len(version) < 60 else version[:12]
