"""Gathers Measured from the rows of a Run, column by column: no object a Task is kept."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from turnlab.audio import Pace
from turnlab.bench.measuring.accuracy import Told
from turnlab.bench.measuring.answers import Answers
from turnlab.bench.measuring.component_columns import (
    ComponentColumns,
    Rows,
)
from turnlab.bench.measuring.measures import ComponentMeasures, Measured, Subject, Values
from turnlab.bench.measuring.metric_names import METRICS
from turnlab.bench.measuring.run_columns import RunColumns
from turnlab.bench.measuring.span_columns import SpanColumns
from turnlab.chunks import Reply
from turnlab.profiles import SpanKind
from turnlab.runs import Run
from turnlab.tasks import TaskStatus
from turnlab.tracks import TrackStatus

_NAN = math.nan
_OF_SUBJECT = ("cluster", "cluster_hash", "mode")
_NUMBERS = ("speech_s", "last_voiced_s", "voice_to_voice_s", "cpu_s", "peak_mib")
TRACK = (
    *_OF_SUBJECT,
    "track_id",
    "turn_id",
    "repeat",
    "status",
    "error_code",
    "conversation_id",
    *_NUMBERS,
    "spans",
)
"""What a Track's row holds beside its `tasks`; numbers may be None."""

TASK = ("name", "task_name", "status", "result_json")
"""What each of its Tasks holds, in this order."""

Batch = Mapping[str, Sequence[Any]]
"""Columns of some Tracks, by the names above; `tasks` are lists of lists."""


class Collector:
    """A Run: all its Tracks, in the order in which they were begun.

    Can be pickled, so that another process may gather a part of it.
    """

    def __init__(self, run: Run, wanted: Collection[str] = ()) -> None:
        """`wanted` are the sorts of reference that there are, see accuracy.METRICS_OF."""
        self._run = run
        self._answers = Answers(run.pins, wanted)
        self._answering = self._answers.names
        self._pace = str(run.asked.get("pace", ""))
        self._subjects: list[tuple[str, str, str]] = []
        self._texts: dict[str, list[str]] = {
            name: [] for name in ("track_id", "turn_id", "status", "error_code")
        }
        self._repeats = array("i")
        self._numbers = {name: array("d") for name in _NUMBERS}
        self._spans = SpanColumns()
        self._conversations = _Conversations()
        self._components: defaultdict[str, ComponentColumns] = defaultdict(ComponentColumns)
        self._task_names: dict[str, str] = {}
        self._failed_in: dict[int, str] = {}

    def add(self, batch: Batch) -> None:
        """The next Tracks; only of those that completed with a reply the spans are wanted."""
        first = len(self._subjects)
        self._subjects.extend(zip(*(batch[name] for name in _OF_SUBJECT), strict=True))
        for name, texts in self._texts.items():
            texts.extend(batch[name])
        self._repeats.extend(batch["repeat"])
        for name, numbers in self._numbers.items():
            numbers.extend(_NAN if each is None else each for each in batch[name])
        self._spans.extend(batch["spans"])
        self._conversations.add(batch["turn_id"], batch["conversation_id"])
        for row, tasks in enumerate(batch["tasks"], first):
            self._add_tasks(row, tasks)
        for each in self._components.values():
            each.settle()

    def _add_tasks(self, row: int, tasks: Iterable[Sequence[Any]]) -> None:
        for name, task_name, status, result in tasks:
            made = result.get("result_profile") or {}
            self._components[name].add(row, result.get("latency_profile") or {}, made)
            self._task_names[name] = task_name
            if name in self._answering:
                track_id = self._texts["track_id"][row]
                self._answers.add(self._subjects[row][0], name, track_id, made)
            if status == TaskStatus.FAILED:
                self._failed_in.setdefault(row, name)

    def join(self, later: Collector) -> None:
        """The Tracks of `later`, which were begun after its own."""
        offset = len(self._subjects)
        self._subjects += later._subjects
        for name, texts in self._texts.items():
            texts += later._texts[name]
        self._repeats.extend(later._repeats)
        for key, numbers in self._numbers.items():
            numbers.extend(later._numbers[key])
        self._spans.join(later._spans)
        self._conversations.join(later._conversations)
        for name, each in later._components.items():
            self._components[name].join(each, offset)
        self._task_names |= later._task_names
        self._failed_in |= {row + offset: name for row, name in later._failed_in.items()}
        self._answers.join(later._answers)

    @property
    def told(self) -> Told:
        """What the turns told that references tell too."""
        return self._answers.told

    def measured(self) -> list[Measured]:
        """A Measured for each Cluster and mode, in the order in which they began."""
        if not self._subjects:
            return []
        whole = RunColumns(self._numbers, self._texts["status"], self._spans, self._components)
        subjects: defaultdict[tuple[str, str], array[int]] = defaultdict(lambda: array("q"))
        hashes: dict[tuple[str, str], str] = {}
        for row, (cluster, cluster_hash, mode) in enumerate(self._subjects):
            subjects[cluster, mode].append(row)
            hashes[cluster, mode] = cluster_hash
        return [
            self._of_subject(Subject(self._run.id, *key), hashes[key], np.array(rows), whole)
            for key, rows in subjects.items()
        ]

    def _of_subject(
        self, subject: Subject, cluster_hash: str, rows: Rows, whole: RunColumns
    ) -> Measured:
        pins = self._run.pins.get("clusters", {}).get(subject.cluster, {}).get("components", [])
        columns = {key: column[rows] for key, column in whole.columns.items()}
        columns |= whole.told(pins, rows, realtime=self._pace == Pace.REALTIME)
        stages = {key: column[rows] for key, column in whole.stages.items()}
        stages = {key: column for key, column in stages.items() if np.nansum(column) > 0}
        texts = {name: _some(values, rows) for name, values in self._texts.items()}
        components = dict(self._of_components(pins, rows, stages, whole))
        turns = set(texts["turn_id"])
        return Measured(
            subject=subject,
            cluster_hash=cluster_hash,
            track_ids=texts["track_id"],
            turn_ids=texts["turn_id"],
            repeats=np.array(self._repeats, dtype=np.int32)[rows],
            statuses=texts["status"],
            errors=texts["error_code"],
            counts=whole.counts[rows],
            columns=columns,
            components=components,
            stages=stages,
            failures=self._failures(rows),
            absent=_absent(subject.cluster, pins, columns, components),
            conversations={t: c for t, c in self._conversations.found.items() if t in turns},
            pace=self._pace,
        )

    def _of_components(
        self,
        pins: Sequence[Mapping[str, Any]],
        rows: Rows,
        stages: Mapping[tuple[str, SpanKind], Values],
        whole: RunColumns,
    ) -> Iterable[tuple[str, ComponentMeasures]]:
        """The Components that had a Task, in the Cluster's order, unknown ones last."""
        order = {pin["name"]: at for at, pin in enumerate(pins)}
        made = {pin["name"]: str(pin.get("produces", "")) for pin in pins}
        there = [name for name, each in whole.components.items() if each.there[rows].any()]
        for name in sorted(there, key=lambda name: order.get(name, len(order))):
            path = np.where(whole.counts[rows], 0.0, _NAN)
            for (component, _), seconds in stages.items():
                path = path + seconds if component == name else path
            task_name, produces = self._task_names[name], made.get(name, "")
            yield name, whole.components[name].measures(task_name, produces, rows, path)

    def _failures(self, rows: Rows) -> Counter[tuple[str, str]]:
        statuses, errors = self._texts["status"], self._texts["error_code"]
        failed = (row for row in rows.tolist() if statuses[row] == TrackStatus.FAILED)
        return Counter((self._failed_in.get(row, ""), errors[row]) for row in failed)


def _absent(
    cluster: str,
    pins: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Values],
    components: Mapping[str, ComponentMeasures],
) -> dict[str, str]:
    """Why there is no first text, no cost, no figure of processor and memory."""
    found: dict[str, str] = {}
    if not pins:
        found["first_text"] = "the Run does not say which Component makes a Reply"
    elif all(pin.get("produces") != Reply.kind for pin in pins):
        found["first_text"] = f"no Component of {cluster} makes a Reply"
    if np.isnan(columns["cost"]).all():
        unknown = [
            n for n, e in components.items() if (np.isnan(e.cost) & ~np.isnan(e.model)).any()
        ]
        if unknown:
            why = f"no price is known for what {', '.join(unknown)} uses; see TURNLAB_PRICES"
            found |= {name: why for name in METRICS if name.startswith("cost_")}
    for key in ("cpu", "memory"):
        if np.isnan(columns[key]).all():
            found[key] = "it was not measured where these turns ran"
    return found


class _Conversations:
    """Which turns of the dataset belong together, from the Conversations of their Tracks."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        """By turn the first turn of its conversation."""
        self._first: dict[str, str] = {}

    def add(self, turn_ids: Sequence[str], conversation_ids: Sequence[str | None]) -> None:
        for turn_id, conversation_id in zip(turn_ids, conversation_ids, strict=True):
            if conversation_id is not None:
                own = self.found.get(turn_id, turn_id)
                self.found.setdefault(turn_id, self._first.setdefault(conversation_id, own))

    def join(self, later: _Conversations) -> None:
        """What `later` found; the first turn of a conversation may lie here."""
        firsts = {turn: self._first.get(each, turn) for each, turn in later._first.items()}
        for turn_id, first in later.found.items():
            self.found.setdefault(turn_id, firsts.get(first, first))
        self._first = later._first | self._first


def _some(values: Sequence[str], rows: Rows) -> list[str]:
    return [values[row] for row in rows.tolist()]
