"""Seconds of the critical path by Component and kind, gathered span by span as numbers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.measuring.measures import Values
from turnlab.profiles import SpanKind

_STAGE = itemgetter("component", "kind")
_START, _END = itemgetter("start_s"), itemgetter("end_s")


class _Numbers(dict[tuple[str, str], int]):
    """Numbers the stages in the order in which they appear."""

    def __missing__(self, stage: tuple[str, str]) -> int:
        return self.setdefault(stage, len(self))


class SpanColumns:
    """The spans of turns; `whole` makes a column of each stage."""

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._counts = array("l")
        self._stages = array("l")
        self._starts = array("d")
        self._ends = array("d")

    def extend(self, turns: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """The spans of the next turns, as their records keep them."""
        spans = list(chain.from_iterable(turns))
        self._counts.extend(map(len, turns))
        self._stages.extend(map(self._numbers.__getitem__, map(_STAGE, spans)))
        self._starts.extend(map(_START, spans))
        self._ends.extend(map(_END, spans))

    def join(self, later: SpanColumns) -> None:
        """The turns of `later` after its own."""
        numbers = np.array([self._numbers[stage] for stage in later._numbers], dtype=np.int64)
        self._counts.extend(later._counts)
        self._stages.extend(numbers[np.array(later._stages, dtype=np.int64)].tolist())
        self._starts.extend(later._starts)
        self._ends.extend(later._ends)

    def whole(self, counts: NDArray[np.bool_]) -> dict[tuple[str, SpanKind], Values]:
        """Seconds of each stage in each turn, NaN in those that do not count."""
        width, length = max(1, len(self._numbers)), len(self._counts)
        place = np.repeat(np.arange(length) * width, np.array(self._counts, dtype=np.int64))
        place += np.array(self._stages, dtype=np.int64)
        seconds = np.array(self._ends) - np.array(self._starts)
        table = (
            np.bincount(place, seconds, length * width).astype(np.float64).reshape(length, width)
        )
        table[~counts] = math.nan
        return {
            (component, SpanKind(kind)): np.ascontiguousarray(table[:, number])
            for (component, kind), number in self._numbers.items()
        }
