"""Who comes when: a closed loop of turns, as `turnlab bench` runs them, or conversations."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.predict.path import KINDS, path_of
from turnlab.bench.predict.scenes import Scene
from turnlab.bench.predict.stage import Playing, Process, Setting, Stage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST_S = 1e9


@dataclass(frozen=True, kw_only=True)
class Load:
    """So many at once; each has its next turn when the last has ended."""

    at_once: int = 1
    conversation: bool = False
    """Whether they are conversations: a user speaks, hears the reply out, and pauses. Otherwise
    each turn's input begins as soon as the turn before it has ended."""
    pause_s: float = 1.0
    block: int | None = None
    """Begin anew after so many turns, all at the same moment: `turnlab bench` does so with each
    repetition of a dataset, of which the first and the last turns have less beside them."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """What the turns of a simulation came to, an entry a turn."""

    voice_to_voice_s: Floats
    """Infinity where nothing was heard."""
    ends_s: Floats
    """From the last voiced sample to the end of the last Component."""
    turn_ids: list[str]
    costs_usd: Floats
    """NaN where unknown."""
    paths: Floats
    """Seconds of the critical path: turns, Components, kinds of `path.KINDS`."""
    components: list[str]
    seconds: float
    """Simulated."""


def play(
    scenes: Sequence[Scene], setting: Setting, load: Load, turns: int, seed: int = 0
) -> Played:
    """Play `turns` turns: all scenes one after the other, and again in another order.

    Raises MissingPackage without simpy.
    """
    chance = random.Random(seed)
    company = _Company(_without_end(scenes, chance), load, chance)
    left = turns
    while left > 0:
        now = min(left, load.block or left)
        company.play(Stage(setting), now)
        left -= now
    return company.played(scenes[0])


def _without_end(scenes: Sequence[Scene], chance: random.Random) -> Iterator[Scene]:
    """Never twice in the same order, so that not the same turns meet again and again."""
    order = list(scenes)
    while order:
        yield from order
        chance.shuffle(order)


class _Company:
    _stage: Stage

    def __init__(self, scenes: Iterator[Scene], load: Load, chance: random.Random) -> None:
        self._load, self._chance = load, chance
        self._scenes = scenes
        self._left = 0
        self._seconds = 0.0
        self._values: list[float] = []
        self._ends: list[float] = []
        self._ids: list[str] = []
        self._costs: list[float] = []
        self._paths: list[list[list[float]]] = []

    def play(self, stage: Stage, turns: int) -> None:
        """So many turns, from a machine at rest to one at rest."""
        self._stage, self._left = stage, turns
        for _ in range(min(self._load.at_once, turns)):
            stage.env.process(self._lane())
        stage.env.run()
        self._seconds += float(stage.env.now)

    def _lane(self) -> Process:
        """One after the other, until none is left."""
        env = self._stage.env
        if self._load.conversation:  # nobody begins at the same moment
            yield env.timeout(self._chance.random() * 10.0)
        while self._left > 0:
            self._left -= 1
            scene = next(self._scenes)
            if self._load.conversation and not scene.zero_s:
                yield env.timeout(scene.speech_s)  # handed over whole, once it has been said
            playing = Playing(self._stage, scene)
            yield env.process(playing.run())
            self._note(playing)
            yield env.timeout(self._rest_s(playing))

    def _rest_s(self, playing: Playing) -> float:
        if not self._load.conversation:
            return playing.scene.gap_s
        unheard_s = playing.plays_until_s - float(self._stage.env.now)
        return max(0.0, unheard_s) + self._load.pause_s

    def _note(self, playing: Playing) -> None:
        took_s = playing.voice_to_voice_s
        self._values.append(took_s if took_s == took_s else float("inf"))
        self._ends.append(self._stage.env.now - playing.start_s - playing.scene.zero_s)
        self._ids.append(playing.scene.turn_id)
        cost = playing.scene.cost_usd
        self._costs.append(float("nan") if cost is None else cost)
        self._paths.append(path_of(playing))

    def played(self, scene: Scene) -> Played:
        """All that were played."""
        names = [role.part.name for role in scene.roles]
        paths = np.array(self._paths).reshape(len(self._paths), len(names), len(KINDS))
        return Played(
            voice_to_voice_s=np.array(self._values),
            ends_s=np.array(self._ends),
            turn_ids=self._ids,
            costs_usd=np.array(self._costs),
            paths=paths,
            components=names,
            seconds=self._seconds,
        )
