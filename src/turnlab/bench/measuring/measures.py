"""What was measured of one Cluster in one mode of one Run: a column a metric, an entry a turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from turnlab.profiles import SpanKind
from turnlab.tracks import TrackStatus

Values = NDArray[np.float64]
"""An entry a turn, in the order of `Measured.track_ids`; NaN where the turn has none."""


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What is judged and compared: a Cluster in one mode of one Run."""

    run_id: str
    cluster: str
    mode: str

    def __str__(self) -> str:
        return f"{self.cluster} ({self.mode})"


@dataclass(kw_only=True)
class ComponentMeasures:
    """What was measured of one Component. Seconds, an entry a turn, NaN where there was no Task."""

    task_name: str = ""
    produces: str = ""
    """The kind of its Chunks, as its Run is pinned to it; empty where that is not known."""
    model: Values
    """Sum of its `model_*`."""
    transfer: Values
    """Sum of its `transfer_*`."""
    queue: Values
    """Sum of its `queue_*`, and from its creation to its claim."""
    wait: Values
    """Sum of its `wait_*`."""
    first_output: Values
    """From its claim to its first Chunk."""
    total: Values
    """From its claim to its end."""
    cost: Values
    """US dollars; NaN where not known, 0 where nothing is charged."""
    cpu: Values
    """Its share of the processor's time; NaN where that was not measured."""
    path: Values
    """What it has of the critical path, all kinds of spans together; NaN in a turn that does not
    count."""


@dataclass(kw_only=True, eq=False)
class Measured:
    """All turns of one Subject, warm-ups left out, in the order in which they were begun.

    Which turns there are, and how they ended, does not change once it is made.
    """

    subject: Subject
    cluster_hash: str
    track_ids: list[str]
    turn_ids: list[str]
    """The turn of the dataset; equal ids are repetitions of one turn."""
    repeats: NDArray[np.int32]
    statuses: list[str]
    errors: list[str]
    """Error codes; empty where there is none."""
    counts: NDArray[np.bool_]
    """Turns that belong in statistics of latency: completed, and a reply was heard."""
    columns: dict[str, Values]
    """`voice_to_voice`, `first_text`, `first_sound`, `end`, `model`, `transfer`, `queue`, `wait`,
    `cpu` in seconds, `cost` in US dollars, `memory` in MiB; `speech` (the user's recording),
    `reply` (the reply's sound) and `talk` (both) in seconds; and where there are references
    `word_errors`, `words`, `character_errors`, `characters`, `retrieval_rank` (from 1; 0: not
    found), `emotion_right` (0 or 1)."""
    components: dict[str, ComponentMeasures]
    """By name, in the Cluster's order."""
    stages: dict[tuple[str, SpanKind], Values]
    """Seconds of the critical path by Component and kind, in order of appearance; 0 in a turn that
    counts and has none of it, NaN in one that does not count."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failed turns by Component (empty where unknown) and error code."""
    absent: dict[str, str] = field(default_factory=dict)
    """Metrics that could not be measured, and why, such as `wer`: no reference transcript."""

    conversations: Mapping[str, str] = field(default_factory=dict)
    """By turn of the dataset the conversation that it belongs to, where it belongs to one."""
    pace: str = ""

    def __len__(self) -> int:
        return len(self.track_ids)

    def having(self, *statuses: TrackStatus) -> NDArray[np.bool_]:
        """Which turns have one of these statuses."""
        return np.isin(self._ended, [list(TrackStatus).index(status) for status in statuses])

    @cached_property
    def _ended(self) -> NDArray[np.int64]:
        """Each status as its number."""
        numbers = {str(status): number for number, status in enumerate(TrackStatus)}
        return np.fromiter(map(numbers.__getitem__, self.statuses), np.int64, len(self))

    def groups(self) -> NDArray[np.int64]:
        """A number a turn, equal for turns that are not independent of each other: repetitions of
        one turn of the dataset, and turns of one conversation."""
        return self._groups

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        conversation_of = self.conversations.get
        names = {turn: conversation_of(turn, turn) for turn in dict.fromkeys(self.turn_ids)}
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
        of_turn = {turn: numbers[name] for turn, name in names.items()}
        return np.fromiter(map(of_turn.__getitem__, self.turn_ids), np.int64, len(self))

    @cached_property
    def rows(self) -> dict[tuple[str, int], int]:
        """The row of each turn and repetition that completed or failed."""
        ended = np.flatnonzero(self.having(TrackStatus.COMPLETED, TrackStatus.FAILED)).tolist()
        repeats = self.repeats.tolist()
        return {(self.turn_ids[row], repeats[row]): row for row in ended}

    def shared_rows(self, other: Measured) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows, here and there, of the turns and repetitions that both have."""
        if other not in self._shared:
            rows, others = self.rows, other.rows
            pairs = [(row, others[key]) for key, row in rows.items() if key in others]
            table = np.array(pairs, dtype=np.int64).reshape(len(pairs), 2)
            self._shared[other] = (table[:, 0], table[:, 1])
        return self._shared[other]

    @cached_property
    def _shared(self) -> WeakKeyDictionary[Measured, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return WeakKeyDictionary()
