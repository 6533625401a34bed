"""What became of a turn, for whoever ran it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from turnlab.chunks import Caption, Chunk, Emotion, Passages, Reply, Speech, Transcript
from turnlab.clusters.plan import Plan
from turnlab.errors import TurnlabError
from turnlab.profiles import Span
from turnlab.streams import Stream
from turnlab.tasks import Task
from turnlab.tracks import Track
from turnlab.turn_records import TRANSCRIPT, TurnRecords

Outputs = Mapping[str, Stream[Any]]


@dataclass(frozen=True, kw_only=True)
class TurnResult:
    """What became of a turn; `error` is None if it completed."""

    track: Track
    tasks: tuple[Task, ...]
    spans: tuple[Span, ...]
    transcript: str
    reply: str
    speech: Speech | None
    context: tuple[Chunk, ...]
    """What was seen, felt and found beside it: the whole Caption, Emotion and Passages."""
    error: TurnlabError | None


def turn_result(
    plan: Plan, outputs: Outputs, records: TurnRecords, spans: tuple[Span, ...]
) -> TurnResult:
    """The result of a turn that has ended; `outputs` by Component."""
    tasks = tuple(records.tasks.values())
    speech = _newest(plan, outputs, Speech)
    transcript = _newest(plan, outputs, Transcript)
    reply = _newest(plan, outputs, Reply) or speech
    return TurnResult(
        track=records.track,
        tasks=tasks,
        spans=spans,
        transcript=transcript.text if transcript else _heard_beside(tasks),
        reply=reply.text if reply else "",
        speech=speech,
        context=tuple(_context(plan, outputs)),
        error=records.error,
    )


def _newest(plan: Plan, outputs: Outputs, kind: type[Chunk]) -> Any:
    """The whole of `kind` from the last Component that makes it."""
    step = plan.newest(kind)
    return outputs[step.name].gathered() if step else None


def _heard_beside(tasks: tuple[Task, ...]) -> str:
    """What a Module that makes no Transcript heard the user say."""
    profiles = (task.result_json.get("result_profile", {}) for task in tasks)
    return next((p[TRANSCRIPT] for p in profiles if p.get(TRANSCRIPT)), "")


def _context(plan: Plan, outputs: Outputs) -> Iterator[Chunk]:
    for step in plan.steps:
        told = step.produces in (Caption, Emotion, Passages)
        if told and (whole := outputs[step.name].gathered()):
            yield whole
