"""Which Tracks a report tells one by one: the turns of note, and the most telling of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.measuring.measures import Measured, Values
from turnlab.tracks import TrackStatus

MOST_TRACKS = 1_000
"""Told one by one; the figures are of all."""

_PART = 3
"""A third at most for those that failed, and another for the slowest."""

Rows = NDArray[np.int64]


def landmarks(measured: Measured) -> dict[str, int]:
    """The rows of the median, the 95th percentile and the worst turn of those that count.

    Turns that are the same one share a name, such as `95th percentile and worst`.
    """
    latency = _latency(measured)
    ranked = np.flatnonzero(measured.counts)[np.argsort(latency[measured.counts], kind="stable")]
    if not ranked.size:
        return {}
    last = len(ranked) - 1
    places = {"median": last // 2, "95th percentile": round(0.95 * last), "worst": last}
    names: dict[int, list[str]] = {}
    for name, place in places.items():
        names.setdefault(int(ranked[place]), []).append(name)
    return {" and ".join(shared): row for row, shared in names.items()}


def telling(measured: Sequence[Measured], most: int = MOST_TRACKS) -> list[Rows]:
    """The rows of each that are told, `most` over all: those that failed, the slowest, and some
    from the fastest to the slowest of the rest. Who needs less of its share leaves it to others."""
    chosen: list[Rows] = [np.empty(0, dtype=np.int64)] * len(measured)
    left, waiting = most, sorted(range(len(measured)), key=lambda i: len(measured[i]))
    for place, number in enumerate(waiting):
        share = left // (len(waiting) - place)
        chosen[number] = _chosen(measured[number], share)
        left -= len(chosen[number])
    return chosen


def _chosen(measured: Measured, most: int) -> Rows:
    if len(measured) <= most:
        return np.arange(len(measured))
    failed = np.flatnonzero(lost(measured))
    counted = np.flatnonzero(measured.counts)
    ranked = counted[np.argsort(-_latency(measured)[counted], kind="stable")]
    failed = evenly(failed, most // _PART)
    slowest = ranked[: most // _PART]
    rest = evenly(ranked[len(slowest) :], most - len(failed) - len(slowest))
    return np.unique(np.concatenate([failed, slowest, rest]))


def evenly(rows: Rows, most: int) -> Rows:
    """At most so many of them, from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)] if most else rows[:0]


def _latency(measured: Measured) -> Values:
    return measured.columns["voice_to_voice"]


def lost(measured: Measured) -> NDArray[np.bool_]:
    """Which Tracks failed, or completed without a sound."""
    silent = measured.having(TrackStatus.COMPLETED) & ~measured.counts
    return measured.having(TrackStatus.FAILED) | silent
