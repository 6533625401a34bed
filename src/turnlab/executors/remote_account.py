"""What a worker tells of a Task's time, on this process's clock and held to what can be."""

from __future__ import annotations

from turnlab.errors import ProtocolViolation
from turnlab.executors.remote_inputs import Line, RemoteInputs, Sent
from turnlab.profiles import SpanKind
from turnlab.wire import messages as m
from turnlab.work import Work

MOST_INTERVALS = 500_000
"""How many intervals a Task may tell of."""

MOST_STARTS = 2
"""A relay may give a Task to a second Worker."""


class Account:
    """Keeps the Task's latency as if its Module ran here.

    Two clocks that were compared over a network are known to about half a round trip. So each
    moment is held between what must have been before and after it: what was read was sent first,
    what arrived was made first. The way there and back is `transfer`.
    """

    def __init__(self, work: Work, attempt: int, line: Line, inputs: RemoteInputs) -> None:
        self.starts = 0
        self._work, self._attempt, self._line, self._inputs = work, attempt, line, inputs
        self._opened_s = line.clock.now()
        self._intervals = 0
        self._noted: tuple[str, int] | None = None

    def open(self) -> None:
        """The Task is sent now."""
        self._opened_s = self._line.clock.now()

    def started(self, message: m.Started, now_s: float, *, wanted: bool) -> None:
        """A Module has the Task. Raises ProtocolViolation if it had it too often."""
        self.starts += 1
        if self.starts > MOST_STARTS:
            raise ProtocolViolation("A Task was started more than twice.")
        if not wanted:
            return
        got_s = self._here(message.got_s, self._opened_s, now_s)
        at_s = self._here(message.at_s, got_s, now_s)
        self._add(SpanKind.TRANSFER, "to_worker", self._opened_s, got_s)
        self._add(SpanKind.QUEUE, "worker", got_s, at_s)
        by = message.by if self._line.is_node else ""
        self._work.claim(
            worker_id=by or self._line.worker_id,
            attempt=self._attempt + self.starts - 1,
            at_s=at_s,
        )

    def bound(self, told: m.Told) -> None:
        """Raise ProtocolViolation if the worker tells without end."""
        self._intervals += len(told.intervals) + 1
        if self._intervals > MOST_INTERVALS:
            raise ProtocolViolation(f"More than {MOST_INTERVALS:,} intervals were told.")

    def out(self, message: m.Out, now_s: float) -> None:
        """A Chunk has come, at `now_s`."""
        sent_s = self._here(message.sent_s, self._opened_s, now_s)
        self.told(message, sent_s)
        self._add(SpanKind.TRANSFER, "from_worker", sent_s, now_s)

    def told(self, told: m.Told, until_s: float) -> None:
        """Take over what was measured and read until then."""
        latency, inputs = self._work.latency, self._work.inputs
        for each in told.intervals:
            start_s = self._here(each.start_s, self._opened_s, until_s)
            self._add(each.kind, each.label, start_s, self._here(each.end_s, start_s, until_s))
        for name, at_s in told.points.items():
            latency.points.setdefault(name, self._here(at_s, self._opened_s, until_s))
        if told.first_read_s is not None and inputs.first_read_s is None:
            inputs.first_read_s = self._here(told.first_read_s, self._opened_s, until_s)
        if told.cause is not None and told.cause != self._noted:
            self._noted = told.cause
            self._note(self._inputs.cause(*told.cause), told, until_s)

    def _note(self, sent: Sent, told: m.Told, until_s: float) -> None:
        """The Module had read `sent`; it may have waited while that was on its way."""
        read_s = self._here(told.read_s, sent.at_s, until_s)
        asked_s = min(self._line.offset.here(told.asked_s), read_s)
        self._work.inputs.note(sent.origin, asked_s, read_s)
        self._add(SpanKind.TRANSFER, "to_worker", max(asked_s, sent.at_s), read_s)

    def _here(self, there_s: float, from_s: float, until_s: float) -> float:
        """A moment of the worker's clock, held to what can be."""
        return min(max(self._line.offset.here(there_s), from_s), until_s)

    def _add(self, kind: SpanKind, label: str, start_s: float, end_s: float) -> None:
        if end_s > start_s:
            self._work.latency.add(kind, label, start_s, end_s)
