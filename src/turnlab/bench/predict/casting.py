"""Puts turns together from what stands for each Component."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from turnlab.bench.predict.laws import Law, law_of
from turnlab.bench.predict.records import Part
from turnlab.bench.predict.retiming import heard, renamed, retimed, unread
from turnlab.bench.predict.scenes import Cast, Scene, scene_of
from turnlab.bench.predict.sources import Source, Where
from turnlab.bench.predict.steps import Script
from turnlab.chunks import Speech
from turnlab.errors import ClusterNotRunnable
from turnlab.profiles import USER
from turnlab.tracks import Mode

FEWEST_SHARED = 5
"""Turns of the dataset that all sources must share for turns to be put together by them."""

MOST_SCENES = 2_000
"""How many different turns are put together; a longer simulation plays them again."""

GAP_S = 0.003
"""Between two turns of `turnlab bench`: records become durable, the next recording is opened."""

Change = Callable[[str, Script, random.Random], Script]
"""What-if: the script of a Component as it would be."""


@dataclass(kw_only=True)
class Company:
    """The Components of a Cluster, each with its measurements: what turns are made of."""

    sources: Mapping[str, Source]
    mode: Mode
    pace: str
    changes: Sequence[Change] = ()
    drawn: bool = False
    """Whether `changes` draw, so that no two turns are alike."""
    _laws: dict[str, Law | None] = field(default_factory=dict)

    @property
    def shared(self) -> list[str]:
        """The turns of the dataset that were measured for every Component."""
        together = set.intersection(*(set(s.pool.of(s.name)) for s in self.sources.values()))
        return sorted(together) if len(together) >= FEWEST_SHARED else []

    @property
    def measured_turns(self) -> int:
        """Different turns of the dataset, repetitions not counted: those that all Components
        share, else those of the Component with the fewest."""
        alone = min(each.pool.count(each.name) for each in self.sources.values())
        return len(self.shared) or alone

    def scenes(self, count: int, seed: int = 0) -> list[Scene]:
        """At most `count` turns, every measured one as often as every other, in random order."""
        chance = random.Random(seed)
        random_parts = self.drawn or any(s.twin for s in self.sources.values())
        keys = self._keys(chance, min(count, MOST_SCENES), random_parts)
        chance.shuffle(keys)
        return [self._scene(key, chance) for key in keys[:count]]

    def _keys(
        self, chance: random.Random, count: int, random_parts: bool
    ) -> list[dict[str, Where]]:
        """For each turn: of each Component the group and the place of the Task that is taken."""
        pools = {name: each.pool.of(each.name) for name, each in self.sources.items()}
        keys = []
        if shared := self.shared:
            for asked in shared:
                often = max(len(pool[asked]) for pool in pools.values())
                for number in range(often):
                    keys.append({n: p[asked][number % len(p[asked])] for n, p in pools.items()})
        else:
            for _ in range(count):
                turn = {id(s.pool): chance.random() for s in self.sources.values()}
                flat = {n: [w for each in p.values() for w in each] for n, p in pools.items()}
                keys.append(
                    {
                        n: flat[n][int(turn[id(s.pool)] * len(flat[n]))]
                        for n, s in self.sources.items()
                    }
                )
        if random_parts:
            keys = [keys[number % len(keys)] for number in range(max(count, len(keys)))]
        return keys

    def _scene(self, key: Mapping[str, Where], chance: random.Random) -> Scene:
        turns = {n: self.sources[n].pool.turn(where) for n, where in key.items()}
        first = next((n for n, s in self.sources.items() if USER in s.part.reads.values()), None)
        if first is None:
            raise ClusterNotRunnable("No Component of the Cluster reads what the user gives.")
        user, asked = turns[first], self.sources[first].pool.question(key[first])
        zero_s = user.last_voiced_s if self.pace == "realtime" else 0.0
        speaker = [n for n, s in self.sources.items() if s.part.produces == Speech.kind][-1]
        casts = [self._cast(n, key[n], asked, zero_s, n == speaker, chance) for n in self.sources]
        return scene_of(
            casts,
            zero_s=zero_s,
            speech_s=user.speech_s,
            listens_s=heard(turns[speaker], self.sources[speaker]).listens_s,
            gap_s=GAP_S,
            turn_id=asked,
        )

    def _cast(
        self,
        name: str,
        where: Where,
        asked: str,
        zero_s: float,
        speaks: bool,
        chance: random.Random,
    ) -> Cast:
        source = self.sources[name]
        pool, turn = source.pool, source.pool.turn(where)
        script, theirs = pool.script(where, source.name), pool.first.parts[source.name]
        trait = pool.trait(source.name)
        if script.leaves_s:
            trait = replace(trait, leaves_s=script.leaves_s[0])
        if (twin := self._twin(source, asked, where)) is not None:
            law, other, theirs = twin
            script = law.applied(other, script, chance)
        script = renamed(script, theirs, source.part)
        script = retimed(script, turn, pool.conditions, (str(self.mode), self.pace), zero_s)
        for change in self.changes:
            script = change(name, script, chance)
        return Cast(
            part=source.part,
            trait=trait,
            script=script,
            unread=unread(theirs, source.part),
            quiet=heard(turn, source).quiet if speaks else (),
        )

    def _twin(self, source: Source, asked: str, where: Where) -> tuple[Law, Script, Part] | None:
        """How the Component does it, and a Task on the input that it will have in this turn."""
        if source.twin is None:
            return None
        pool, name = source.twin
        if source.part.name not in self._laws:
            law = law_of(source.pool.scripts(source.name))
            self._laws[source.part.name] = law if law.fits(pool.scripts(name)) else None
        known = self._laws[source.part.name]
        places = pool.of(name).get(asked)
        if known is None or not places:
            return None
        script = pool.script(places[where[1] % len(places)], name)
        return known, script, pool.first.parts[name]
