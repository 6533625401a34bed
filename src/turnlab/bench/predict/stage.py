"""Plays turns in simulated time: simpy processes for the Components, as turnlab.turn runs them."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnlab.bench.predict.cores import Cores, Desk, Places
from turnlab.bench.predict.scenes import Piece, Role, Scene
from turnlab.bench.predict.sessions import Session
from turnlab.bench.predict.sharing import IDLE
from turnlab.errors import MissingPackage
from turnlab.listener import SHORT_OF_SOUND_S
from turnlab.tracks import Mode

Process = Generator[Any, Any, None]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how turns are played."""

    mode: Mode = Mode.STREAMED
    cores: float = 2.0
    workers: Mapping[str, int] = field(default_factory=dict)
    """How many instances there are of a Component's Module, where more than one."""
    network_s: float = 0.0
    """There and back between the API process and a worker."""


@dataclass(slots=True)
class Done:
    """A piece of work that has ended."""

    piece: Piece
    cause: tuple[int, int] | None
    """The milestone that it waited for; None: its own piece before."""
    ready_s: float
    began_s: float
    ended_s: float


class Stage:
    """A machine with everything that is loaded on it. Raises MissingPackage without simpy."""

    def __init__(self, setting: Setting) -> None:
        self.env: Any = _environment()
        self.setting = setting
        self.cores = Cores(self.env, setting.cores)
        self.desk = Desk(self.env)
        self._rooms: dict[str, tuple[Places, Places | None]] = {}

    def room(self, role: Role) -> tuple[Places, Places | None]:
        """The places of its instances, and what only so many of them can have at once."""
        part = role.part
        room = self._rooms.get(part.instance)
        if room is None:
            count = self.setting.workers.get(part.name, 1)
            lanes = Places(self.env, count * part.lanes) if part.lanes < part.places else None
            room = self._rooms[part.instance] = (Places(self.env, count * part.places), lanes)
        return room


def _environment() -> Any:
    try:
        import simpy
    except ImportError:
        raise MissingPackage("simpy is not installed: pip install 'turnlab[bench]'.") from None
    return simpy.Environment()


class Playing:
    """One turn while it is played."""

    def __init__(self, stage: Stage, scene: Scene) -> None:
        self.stage, self.scene = stage, scene
        self.env = stage.env
        self.start_s: float = self.env.now
        count = len(scene.roles)
        self.reached: list[list[float]] = [[] for _ in range(count)]
        self.made_by: list[list[int]] = [[] for _ in range(count)]
        self.done: list[list[Done]] = [[] for _ in range(count)]
        self.claimed_s = [0.0] * count
        self.created_s = [0.0] * count
        self.begun_by: list[tuple[int, int] | None] = [None] * count
        self.heard_s = math.nan
        self.read_s = math.nan
        self.heard_piece = -1
        self.plays_until_s = -math.inf
        self._waiting: list[list[tuple[int, Any]]] = [[] for _ in range(count)]
        self._sessions: list[Session] = []
        self._unheard: list[tuple[int, Piece]] = []

    def run(self) -> Process:
        """All Components at once, to the end of the last."""
        roles = enumerate(self.scene.roles)
        yield self.env.all_of([self.env.process(self._component(p, role)) for p, role in roles])

    @property
    def short_of_sound(self) -> bool:
        """See turnlab.listener."""
        return bool(self.env.now > self.plays_until_s - SHORT_OF_SOUND_S)

    @property
    def voice_to_voice_s(self) -> float:
        """NaN if nothing was heard."""
        return self.heard_s - self.start_s - self.scene.zero_s

    def _component(self, place: int, role: Role) -> Process:
        yield from self._moment(place, role)
        places, lanes = self.stage.room(role)
        self.created_s[place] = self.env.now
        yield from places.take()
        self.claimed_s[place] = self.env.now
        session = Session(self.stage, role, lanes, lambda: self.short_of_sound)
        self._sessions.append(session)
        try:
            for piece in role.pieces:
                yield from self._piece(place, role, piece, session)
        finally:
            session.end()
            self._sessions.remove(session)
            places.give()

    def _moment(self, place: int, role: Role) -> Process:
        for other in role.after:
            yield from self._reached(other, self.scene.ends[other])
        chained = self.stage.setting.mode is Mode.CHAINED
        if chained:
            for other in role.reads:
                yield from self._reached(other, self.scene.ends[other])
            if role.reads_user:
                yield from self._until(self.start_s + self._user_ends_s())
            if role.reads:
                last = max(role.reads, key=lambda p: self.reached[p][-1])
                self.begun_by[place] = (last, self.scene.ends[last])
        elif not role.reads_user and role.starts:
            if not any(len(self.reached[p]) >= m for p, m in role.starts):
                yield self.env.any_of([self._event(p, m) for p, m in role.starts])
            self.begun_by[place] = next((p, m) for p, m in role.starts if len(self.reached[p]) >= m)

    def _user_ends_s(self) -> float:
        return self.scene.zero_s

    def _piece(self, place: int, role: Role, piece: Piece, session: Session) -> Process:
        before_s = self.done[place][-1].ended_s if self.done[place] else self.claimed_s[place]
        cause, ready_s = None, before_s
        given_s = self.start_s + piece.user_s + self._hop_s(None)
        if piece.user_s >= 0 and given_s > ready_s:
            ready_s, cause = given_s, (-1, 0)
        for other, milestone in piece.needs:
            if len(self.reached[other]) < milestone:
                session.leave()
                yield self._event(other, milestone)
            left_s = self.reached[other][milestone - 1] + self._hop_s(other)
            if left_s > ready_s:
                ready_s, cause = left_s, (other, milestone)
        if ready_s + piece.lag_s > self.env.now:
            session.leave()
            yield from self._until(ready_s + piece.lag_s)
        began_s = self.env.now
        if role.trait.cores < IDLE:
            if piece.work_s:
                yield self.env.timeout(piece.work_s)
        else:
            yield from session.work(piece)
        self.done[place].append(Done(piece, cause, ready_s, began_s, self.env.now))
        if piece.milestone:
            self._emit(place, piece)

    def _hop_s(self, producer: int | None) -> float:
        """What the network adds between a producer (None: the user) and a Component."""
        network_s = self.stage.setting.network_s
        return network_s / 2 if producer is None else network_s

    def _emit(self, place: int, piece: Piece) -> None:
        now_s = self.env.now
        self.reached[place].append(now_s)
        self.made_by[place].append(len(self.done[place]) - 1)
        count = len(self.reached[place])
        waiting = self._waiting[place]
        if waiting:
            self._waiting[place] = [each for each in waiting if each[0] > count]
            for milestone, event in waiting:
                if milestone <= count:
                    event.succeed()
        if place == self.scene.speaker:
            self._speech(piece, len(self.done[place]) - 1, count == self.scene.ends[place])

    def _speech(self, piece: Piece, number: int, ended: bool) -> None:
        """A Speech has left: the listener hears it now, or (chained) once the last is there."""
        if piece.sound_s >= 0:
            self._unheard.append((number, piece))
        chained = self.stage.setting.mode is Mode.CHAINED
        if chained and not ended:
            return
        read_s = self.env.now + self.scene.listens_s + self.stage.setting.network_s / 2
        for at, heard in self._unheard:
            starts_s = max(self.plays_until_s, read_s)
            self.plays_until_s = starts_s + heard.sound_s
            if math.isnan(self.heard_s) and heard.quiet_s >= 0:
                self.heard_s, self.read_s = starts_s + heard.quiet_s, read_s
                self.heard_piece = number if chained else at
        self._unheard.clear()
        for session in self._sessions:
            session.ask()

    def _event(self, place: int, milestone: int) -> Any:
        event = self.env.event()
        self._waiting[place].append((milestone, event))
        return event

    def _reached(self, place: int, milestone: int) -> Process:
        if len(self.reached[place]) < milestone:
            yield self._event(place, milestone)

    def _until(self, moment_s: float) -> Process:
        if moment_s > self.env.now:
            yield self.env.timeout(moment_s - self.env.now)
