"""A turn as the simulator plays it: few pieces of work, cut only where somebody waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from turnlab.bench.predict.records import Part
from turnlab.bench.predict.sharing import Trait
from turnlab.bench.predict.steps import Need, Script
from turnlab.profiles import USER

CUMULATIVE = frozenset({"Reply", "Speech", "Audio"})
"""Kinds of which each Chunk adds to those before it; of others each replaces them."""

USER_PLACE = -1


@dataclass(slots=True)
class Piece:
    """Work between two moments that somebody waits for."""

    needs: tuple[tuple[int, int], ...]
    """Which milestone of which Component must have been reached."""
    user_s: float
    """Not before so many seconds after the start of the turn; negative: whenever."""
    lag_s: float
    work_s: float
    first_s: float
    """The part of its work before the first Chunk."""
    chunks: int
    """How many more."""
    milestone: bool = False
    """Whether somebody waits for its end."""
    sound_s: float = -1.0
    """Of the Speech that leaves after it; negative: none."""
    quiet_s: float = -1.0
    """Before its first audible sample; negative: none in it is audible."""

    @property
    def grain_s(self) -> float:
        """From Chunk to Chunk after the first."""
        return (self.work_s - self.first_s) / self.chunks if self.chunks else 0.0


@dataclass(slots=True)
class Role:
    """One Component in one turn."""

    part: Part
    trait: Trait
    pieces: list[Piece]
    starts: tuple[tuple[int, int], ...]
    """Where Components overlap: any of these milestones begins it."""
    reads: tuple[int, ...]
    """Where they do not: the ends of these do."""
    after: tuple[int, ...]
    reads_user: bool
    depth: int


@dataclass(slots=True)
class Scene:
    """One turn, ready to be played."""

    roles: list[Role]
    ends: list[int]
    """The milestone of each Component that is its end."""
    speaker: int
    zero_s: float
    """The last voiced sample, in seconds after the start of the turn."""
    speech_s: float
    listens_s: float
    """From a Speech's leaving to its being heard."""
    gap_s: float
    """From the end of the turn to the next one's beginning."""
    turn_id: str
    """Group.question of what the user said."""
    cost_usd: float | None = 0.0


@dataclass(frozen=True, kw_only=True)
class Cast:
    """One Component's part in a turn: what it does, as recorded or as changed."""

    part: Part
    trait: Trait
    script: Script
    unread: tuple[str, ...] = ()
    """Producers that it will read and could not read where it was measured: it is taken to wait for
    their ends before its first Chunk."""
    quiet: Sequence[float] = field(default_factory=tuple)
    """Of a speaker: seconds of quiet that each Speech begins with, negative: all of it."""


def scene_of(casts: Sequence[Cast], **about: object) -> Scene:
    """The turn of these Components, in the Cluster's order; `about` are fields of Scene."""
    names = [cast.part.name for cast in casts]
    places = {name: place for place, name in enumerate(names)}
    speaker = max(p for p, cast in enumerate(casts) if cast.part.produces == "Speech")
    ranks = [_ranks(cast, casts, place == speaker) for place, cast in enumerate(casts)]
    roles = [
        _role(place, cast, places, ranks, casts, place == speaker)
        for place, cast in enumerate(casts)
    ]
    ends = [len(each) for each in ranks]
    costs = [cast.script.cost_usd for cast in casts]
    known = [cost for cost in costs if cost is not None]
    cost = sum(known) if len(known) == len(costs) else None
    return Scene(roles=roles, ends=ends, speaker=speaker, cost_usd=cost, **about)  # type: ignore[arg-type]


def rank_in(need: Need, script: Script, kind: str) -> int:
    """How many Chunks of another turn of that producer it stands for."""
    sizes = script.sizes
    count = len(sizes)
    if need.ended or not count:
        return count + 1
    if need.of == count:
        return need.rank
    if kind not in CUMULATIVE:
        return max(1, round(need.rank / need.of * count))
    total = 0.0
    for rank, size in enumerate(sizes, start=1):
        total += size
        if total >= need.size - 1e-9:
            return rank
    return count + 1


def _ranks(cast: Cast, casts: Sequence[Cast], speaks: bool) -> list[int]:
    """After which of its Chunks somebody waits; the last is its end."""
    name, script = cast.part.name, cast.script
    count = len(script.sizes)
    wanted = {1, count + 1} if count else {1}
    if speaks:
        wanted.update(range(1, count + 1))
    for other in casts:
        for step in other.script.steps:
            for need in step.needs:
                if need.producer == name:
                    wanted.add(rank_in(need, script, cast.part.produces))
    return sorted(wanted)


def _role(
    place: int,
    cast: Cast,
    places: Mapping[str, int],
    ranks: Sequence[Sequence[int]],
    casts: Sequence[Cast],
    speaks: bool,
) -> Role:
    part = cast.part
    reads = tuple(dict.fromkeys(part.reads.values()))
    begins = part.needs or reads
    return Role(
        part=part,
        trait=cast.trait,
        pieces=_pieces(cast, places, ranks[place], ranks, casts, speaks),
        starts=tuple((places[name], 1) for name in begins if name in places),
        reads=tuple(places[name] for name in reads if name in places),
        after=tuple(places[name] for name in part.after if name in places),
        reads_user=USER in begins,
        depth=place,
    )


def _pieces(
    cast: Cast,
    places: Mapping[str, int],
    own_ranks: Sequence[int],
    ranks: Sequence[Sequence[int]],
    casts: Sequence[Cast],
    speaks: bool,
) -> list[Piece]:
    pieces: list[Piece] = []
    waited = set(own_ranks)
    made, open_, last = 0, False, None
    unread = [(places[name], len(ranks[places[name]])) for name in cast.unread if name in places]
    for step in cast.script.steps:
        emits = step.emits is not None
        made += emits or step.ends
        needs, user_s = _needs(step.needs, places, ranks, casts)
        if emits and made == 1:
            needs = tuple(dict.fromkeys((*needs, *unread)))
        flows = bool(pieces) and needs == last and not step.lag_s and (emits or step.ends)
        if flows and open_:
            piece = pieces[-1]
            piece.work_s += step.work_s
            piece.chunks += 1
        else:
            first_s = 0.0 if flows else step.work_s
            piece = Piece(needs, user_s, step.lag_s, step.work_s, first_s, 0 if flows else -1)
            piece.chunks += 1
            pieces.append(piece)
        open_, last = True, needs
        if (emits or step.ends) and made in waited:
            piece.milestone, open_ = True, False
        elif not emits and not step.ends:
            open_ = False
        if speaks and emits:
            piece.sound_s = step.emits or 0.0
            piece.quiet_s = cast.quiet[made - 1] if made <= len(cast.quiet) else 0.0
    return pieces


def _needs(
    needs: Sequence[Need],
    places: Mapping[str, int],
    ranks: Sequence[Sequence[int]],
    casts: Sequence[Cast],
) -> tuple[tuple[tuple[int, int], ...], float]:
    """The milestones, and the moment of the user's input."""
    found, user_s = [], -1.0
    for need in needs:
        if need.producer == USER:
            user_s = max(user_s, need.at_s)
        elif need.producer in places:
            place = places[need.producer]
            cast = casts[place]
            rank = rank_in(need, cast.script, cast.part.produces)
            found.append((place, ranks[place].index(rank) + 1))
    return tuple(found), user_s
