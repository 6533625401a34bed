"""All turns of a Run as columns, whatever Cluster they went through."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.component_columns import ComponentColumns, Rows, last_of, totals
from turnlab.bench.measures import Values
from turnlab.bench.span_columns import SpanColumns
from turnlab.chunks import Reply
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
        reply = last_of([each.sound for each in self.components.values()], length)
        self._last_voiced = given["last_voiced_s"]
        self.columns: dict[str, Values] = {
            "voice_to_voice": heard,
            "first_sound": heard - sum(quiet),
            **totals(self.components.values(), length),
            "cpu": given["cpu_s"],
            "memory": given["peak_mib"],
            "speech": given["speech_s"],
            "reply": reply,
            "talk": given["speech_s"] + np.nan_to_num(reply),
        }

    def moments(
        self, pins: Sequence[Mapping[str, Any]], rows: Rows, *, realtime: bool
    ) -> dict[str, Values]:
        """First text and end of some rows, since the last voiced sample.

        The text is that of the last Component that makes a Reply, the end that of the last one that
        makes a sound, as everywhere.
        """
        zero = np.nan_to_num(self._last_voiced[rows]) if realtime else np.zeros(len(rows))
        names = [pin["name"] for pin in pins if pin.get("produces") == Reply.kind]
        order = {pin["name"]: at for at, pin in enumerate(pins)}
        by_order = sorted(self.components.items(), key=lambda each: order.get(each[0], len(order)))
        writers = [each.first_at[rows] for name, each in by_order if name in names[-1:]]
        ends = [np.where(np.isnan(e.sound), _NAN, e.end_at)[rows] for _, e in by_order]
        counts, length = self.counts[rows], len(rows)
        return {
            "first_text": np.where(counts, last_of(writers, length) - zero, _NAN),
            "end": np.where(counts, last_of(ends, length) - zero, _NAN),
        }
