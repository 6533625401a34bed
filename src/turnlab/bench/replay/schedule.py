"""The order in which the turns of a Run are taken: interleaved, so that drift hits all alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from turnlab.bench.datasets.dataset import DatasetTurn
from turnlab.tracks import Mode

JobKey = tuple[str, str, str, int]
"""Cluster, mode, turn and repetition: what a Run holds once."""


@dataclass(frozen=True, slots=True, order=True)
class Entrant:
    """A Cluster in one mode."""

    cluster: str
    mode: Mode

    def __str__(self) -> str:
        return f"{self.cluster} ({self.mode})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One turn of the dataset through one Cluster in one mode."""

    entrant: Entrant
    turn: DatasetTurn
    repeat: int
    """From 1; 0 is a warm-up."""
    block: int = 0
    """Blocks run one after the other, the jobs of one block as many at once as are asked for."""
    after: JobKey | None = None
    """The turn before it in its conversation, which must have ended."""

    @property
    def key(self) -> JobKey:
        """What it is in its Run."""
        return _key(self.entrant, self.turn, self.repeat)

    def conversation_id(self, run_id: str) -> str | None:
        """The Conversation that it belongs to in that Run, always the same one."""
        if self.turn.conversation is None or self.repeat == 0:
            return None
        named = (run_id, *self.key[:2], str(self.repeat), self.turn.conversation)
        return f"C-{hashlib.sha256(chr(0).join(named).encode()).hexdigest()[:32]}"


def entrants(clusters: Sequence[str], modes: Sequence[Mode]) -> list[Entrant]:
    """Each Cluster in each mode."""
    return [Entrant(cluster, mode) for cluster, mode in product(clusters, modes)]


def schedule(
    turns: Sequence[DatasetTurn],
    clusters: Sequence[str],
    modes: Sequence[Mode],
    repeat: int = 1,
    *,
    at_once: int = 1,
) -> list[Job]:
    """All turns of a Run in order, warm-ups left out.

    One at a time, they come in rounds of one turn of each entrant. The order within a round is a
    row of a balanced Latin square (E. J. Williams, Australian Journal of Scientific Research A2,
    1949): each entrant has each place, and comes after each other one, equally often. In one round
    each has another turn, its neighbour's next one, so that no prompt is still in the cache of a
    model that two of them share.

    Where several run `at_once`, entrants would measure each other's load. So each has a block of
    its own in each repetition, in the order of such a row.
    """
    rivals = entrants(clusters, modes)
    if at_once > 1:
        return list(_in_blocks(turns, rivals, repeat))
    return list(_in_rounds(turns, rivals, repeat))


def warm_ups(
    turns: Sequence[DatasetTurn], clusters: Sequence[str], modes: Sequence[Mode], count: int
) -> list[Job]:
    """`count` turns of each entrant that are in no statistics: those that it comes to last."""
    return [
        Job(entrant=entrant, turn=turn, repeat=0)
        for shift, entrant in enumerate(entrants(clusters, modes))
        for turn in _last(_sequence(turns, shift), count)
    ]


def _in_rounds(
    turns: Sequence[DatasetTurn], rivals: Sequence[Entrant], repeat: int
) -> Iterator[Job]:
    number = 0
    for again in range(1, repeat + 1):
        lanes = [_jobs(turns, rival, again, shift) for shift, rival in enumerate(rivals)]
        for row in zip(*lanes, strict=True):
            yield from (row[place] for place in _order(len(rivals), number))
            number += 1


def _in_blocks(
    turns: Sequence[DatasetTurn], rivals: Sequence[Entrant], repeat: int
) -> Iterator[Job]:
    block = 0
    for again in range(1, repeat + 1):
        for place in _order(len(rivals), again - 1):
            yield from _jobs(turns, rivals[place], again, 0, block)
            block += 1


def _jobs(
    turns: Sequence[DatasetTurn], entrant: Entrant, repeat: int, shift: int, block: int = 0
) -> list[Job]:
    """All turns of one entrant in one repetition."""
    jobs: list[Job] = []
    newest: dict[str, JobKey] = {}
    for turn in _sequence(turns, shift):
        after = newest.get(turn.conversation) if turn.conversation is not None else None
        job = Job(entrant=entrant, turn=turn, repeat=repeat, block=block, after=after)
        if turn.conversation is not None:
            newest[turn.conversation] = job.key
        jobs.append(job)
    return jobs


def _sequence(turns: Sequence[DatasetTurn], shift: int) -> list[DatasetTurn]:
    """The turns as in the dataset, those of a conversation together; it begins `shift` later."""
    units: dict[tuple[bool, str], list[DatasetTurn]] = {}
    for turn in turns:
        alone = turn.conversation is None
        units.setdefault((alone, turn.conversation or turn.id), []).append(turn)
    ordered = [sorted(unit, key=lambda turn: turn.index) for unit in units.values()]
    at = shift % len(ordered) if ordered else 0
    return [turn for unit in (*ordered[at:], *ordered[:at]) for turn in unit]


def _last(turns: Sequence[DatasetTurn], count: int) -> list[DatasetTurn]:
    return [turns[-1 - number % len(turns)] for number in range(count)] if turns else []


def _order(count: int, number: int) -> list[int]:
    """Row `number` of a Williams square: 0, 1, n-1, 2, n-2 ... moved on; odd ones mirrored too."""
    base = [(step + 1) // 2 if step % 2 else count - step // 2 for step in range(count)]
    row = [(place + number) % count for place in base]
    return row[::-1] if count % 2 and (number // count) % 2 else row


def _key(entrant: Entrant, turn: DatasetTurn, repeat: int) -> JobKey:
    return entrant.cluster, str(entrant.mode), turn.id, repeat
