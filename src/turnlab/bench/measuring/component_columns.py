"""The columns of Components, gathered from many Tasks as numbers: no object a Task is kept."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.measuring.measures import ComponentMeasures, Values

FAMILIES = ("model", "transfer", "queue", "wait")
"""The families of keys of a `latency_profile` that are durations, and the sums made of them."""

_BEFORE_CLAIM = ("transfer_to_worker", "queue_worker")
"""What a worker tells of the time until a Task is claimed (see docs/reference/worker-protocol.md):
it counts under these keys, not once more as queue. Of the first the way of later Chunks is part."""

Rows = NDArray[np.int64]
Table = NDArray[np.float64]
_Keys = tuple[str, ...]


class ComponentColumns:
    """What the Tasks of one Component measured, whichever Cluster it is part of."""

    def __init__(self) -> None:
        # Of those Tasks alone that made a sound, or that may have cost something.
        self._sounds: tuple[array[int], array[float]] = (array("q"), array("d"))
        self._costs: tuple[array[int], array[float]] = (array("q"), array("d"))
        # By the keys of a `latency_profile`, of which there are a few sets: rows, and tables of
        # their values; first those that were added since `settle`.
        self._fresh: defaultdict[_Keys, tuple[list[int], list[Iterable[Any]]]] = defaultdict(_fresh)
        self._profiles: defaultdict[_Keys, tuple[array[int], list[Table]]] = defaultdict(_settled)

    def add(self, row: int, latency: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """The Task of the turn in a row: its `latency_profile` and its `result_profile`."""
        rows, values = self._fresh[tuple(latency)]
        rows.append(row)
        values.append(latency.values())
        if "duration_s" in made:
            self._sounds[0].append(row)
            self._sounds[1].append(_number(made["duration_s"]))
        if "usage" in made or "cost_usd" in made:
            charged, cost = made.get("usage") is not None, made.get("cost_usd")
            self._costs[0].append(row)
            self._costs[1].append(0.0 if cost is None and not charged else _number(cost))

    def settle(self) -> None:
        """Make numbers of what was added, so that no object of it is kept."""
        for keys, (rows, values) in self._fresh.items():
            some, tables = self._profiles[keys]
            some.extend(rows)
            tables.append(_table(values, len(rows), len(keys)))
        self._fresh.clear()

    def join(self, later: ComponentColumns, offset: int) -> None:
        """The Tasks of `later`, whose rows begin at `offset`; all of both must be settled."""
        for keys, (rows, tables) in later._profiles.items():
            some, known = self._profiles[keys]
            some.extend(row + offset for row in rows)
            known.extend(tables)
        for (rows, values), others in (
            (self._sounds, later._sounds),
            (self._costs, later._costs),
        ):
            rows.extend(row + offset for row in others[0])
            values.extend(others[1])

    def whole(self, length: int) -> WholeColumns:
        """The columns, an entry a turn of `length`; all must be settled."""
        found = WholeColumns(length)
        for keys, (some, tables) in self._profiles.items():
            table = np.concatenate(tables)
            found.fill(np.array(some), dict(zip(keys, table.T, strict=True)))
        for column, (rows, values) in ((found.cost, self._costs), (found.sound, self._sounds)):
            column[np.array(rows)] = values
        return found


def _fresh() -> tuple[list[int], list[Iterable[Any]]]:
    return [], []


def _settled() -> tuple[array[int], list[Table]]:
    return array("q"), []


def _table(values: Iterable[Iterable[Any]], rows: int, columns: int) -> Table:
    flat = list(chain.from_iterable(values))
    try:
        found = array("d", flat)
    except TypeError:  # null, say: what was no number when it was measured
        found = array("d", map(_number, flat))
    return np.array(found).reshape(rows, columns)


def _number(value: Any) -> float:
    """NaN for what is none: a Module may tell under any key whatever it likes."""
    return value if type(value) in (float, int) else math.nan


class WholeColumns:
    """An entry a turn, NaN where there was no Task."""

    def __init__(self, length: int) -> None:
        def column() -> Values:
            return np.full(length, math.nan)

        self.there = np.zeros(length, dtype=np.bool_)
        self.sums = {family: column() for family in FAMILIES}
        self.first_at, self.end_at = column(), column()
        """Of the first Chunk and the end, in seconds since the start of the Track."""
        self.first_output, self.total = column(), column()
        self.cost, self.cpu, self.sound = column(), column(), column()

    def fill(self, rows: Rows, latency: Mapping[str, Values]) -> None:
        """Some rows, from their values by key."""
        nothing = np.full(len(rows), math.nan)
        self.there[rows] = True
        self.cost[rows] = 0.0
        created, claimed, first, end = (
            latency.get(f"ts_{point}", nothing)
            for point in ("created", "claimed", "first_output", "end")
        )
        for family, column in self.sums.items():
            own = [each for key, each in latency.items() if key.startswith(f"{family}_")]
            column[rows] = np.nansum(own, axis=0) if own else 0.0
        # A Task for a worker is sent there, and may queue there, before it is claimed.
        before = sum(np.nan_to_num(latency[key]) for key in _BEFORE_CLAIM if key in latency)
        unclaimed = np.nan_to_num(np.maximum(0.0, claimed - created - before))
        self.sums["queue"][rows] += unclaimed
        self.first_at[rows], self.end_at[rows] = first, end
        self.first_output[rows], self.total[rows] = first - claimed, end - claimed
        self.cpu[rows] = latency.get("cpu_s", nothing)

    def measures(
        self, task_name: str, produces: str, rows: Rows, path: Values
    ) -> ComponentMeasures:
        """Some rows, as Measured has them."""
        return ComponentMeasures(
            task_name=task_name,
            produces=produces,
            **{family: column[rows] for family, column in self.sums.items()},
            first_output=self.first_output[rows],
            total=self.total[rows],
            cost=self.cost[rows],
            cpu=self.cpu[rows],
            path=path,
        )


def totals(components: Iterable[WholeColumns], length: int) -> dict[str, Values]:
    """Of each family, and of the cost, over the Tasks of a turn; NaN where it has none.

    The cost is NaN where that of one Task is not known.
    """
    there = np.zeros(length, dtype=np.bool_)
    found = {key: np.zeros(length) for key in (*FAMILIES, "cost")}
    for each in components:
        there |= each.there
        for key, total in found.items():
            column = each.cost if key == "cost" else each.sums[key]
            total[each.there] += column[each.there]
    return {key: np.where(there, total, math.nan) for key, total in found.items()}


def last_of(columns: Sequence[Values], length: int) -> Values:
    """In each row the value of the last of `columns` that has one."""
    found: Values = np.full(length, math.nan)
    for each in columns:
        found = np.where(np.isnan(each), found, each)
    return found
