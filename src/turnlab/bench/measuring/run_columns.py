"""All turns of a Run as columns, whatever Cluster they went through."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.measuring.component_columns import (
    ComponentColumns,
    Rows,
    WholeColumns,
    last_of,
    totals,
)
from turnlab.bench.measuring.measures import Values
from turnlab.bench.measuring.span_columns import SpanColumns
from turnlab.chunks import Reply, Speech
from turnlab.profiles import SpanKind
from turnlab.tracks import TrackStatus

_NAN = math.nan


class RunColumns:
    """Everything as columns, an entry a Track of the Run."""

    def __init__(
        self,
        numbers: Mapping[str, array[float]],
        statuses: Sequence[str],
        spans: SpanColumns,
        components: Mapping[str, ComponentColumns],
    ) -> None:
        given = {name: np.array(column) for name, column in numbers.items()}
        length = len(statuses)
        done = np.fromiter((each == TrackStatus.COMPLETED for each in statuses), np.bool_, length)
        heard = np.where(done, given["voice_to_voice_s"], _NAN)
        self.counts: NDArray[np.bool_] = ~np.isnan(heard)
        self.components = {name: each.whole(length) for name, each in components.items()}
        self.stages = spans.whole(self.counts)
        quiet = [each for (_, kind), each in self.stages.items() if kind is SpanKind.PLAYOUT]
        self._last_voiced = given["last_voiced_s"]
        self.columns: dict[str, Values] = {
            "voice_to_voice": heard,
            "first_sound": heard - sum(quiet),
            **totals(self.components.values(), length),
            "cpu": given["cpu_s"],
            "memory": given["peak_mib"],
            "speech": given["speech_s"],
        }

    def told(
        self, pins: Sequence[Mapping[str, Any]], rows: Rows, *, realtime: bool
    ) -> dict[str, Values]:
        """Of some rows the first text and the end, since the last voiced sample, and how long the
        reply is and the talk; `pins` of the Components of their Cluster, in its order.

        The text is that of the last Component that makes a Reply, the sound that of the last one
        that makes Speech, as everywhere; where the pins do not say who that is, of the last one
        whose Task tells how long its sound is.
        """
        zero = np.nan_to_num(self._last_voiced[rows]) if realtime else np.zeros(len(rows))
        counts, length = self.counts[rows], len(rows)
        writers = [each.first_at[rows] for each in self._making(Reply.kind, pins)]
        speakers = self._making(Speech.kind, pins)
        if all("produces" not in pin for pin in pins):
            speakers = self._ordered(pins)
        sounds = [each.sound[rows] for each in speakers]
        ends = [
            np.where(np.isnan(sound), _NAN, each.end_at[rows])
            for sound, each in zip(sounds, speakers, strict=True)
        ]
        reply, speech = last_of(sounds, length), self.columns["speech"][rows]
        return {
            "first_text": np.where(counts, last_of(writers, length) - zero, _NAN),
            "end": np.where(counts, last_of(ends, length) - zero, _NAN),
            "reply": reply,
            "talk": speech + np.nan_to_num(reply),
        }

    def _making(self, kind: str, pins: Sequence[Mapping[str, Any]]) -> list[WholeColumns]:
        """The last Component of a Cluster that makes such Chunks, if there is one."""
        names = [pin["name"] for pin in pins if pin.get("produces") == kind]
        return [self.components[name] for name in names[-1:] if name in self.components]

    def _ordered(self, pins: Sequence[Mapping[str, Any]]) -> list[WholeColumns]:
        """All Components, in the Cluster's order, unknown ones last."""
        order = {pin["name"]: at for at, pin in enumerate(pins)}
        names = sorted(self.components, key=lambda name: order.get(name, len(order)))
        return [self.components[name] for name in names]
