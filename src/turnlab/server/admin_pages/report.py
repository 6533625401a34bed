"""A kept Track as the report that the command line and the pages draw."""

from __future__ import annotations

from collections.abc import Sequence

from turnlab.profiles import Span, SpanKind
from turnlab.records import Content, ContentKind
from turnlab.reports.turn import TaskReport, TurnReport
from turnlab.tasks import Task
from turnlab.tracks import Track

_PROMPT_S = 0.005
"""Below this, what was measured from is the start of the Track: the recording came whole."""


def track_report(track: Track, tasks: Sequence[Task], contents: Sequence[Content]) -> TurnReport:
    """The report of a Track as its records tell it."""
    spans = tuple(Span(**{**row, "kind": SpanKind(row["kind"])}) for row in track.spans)
    said = {content.kind: content.text for content in contents if content.text}
    return TurnReport(
        track_id=track.track_id,
        cluster=track.cluster,
        mode=track.mode,
        status=track.status,
        conversation_id=track.conversation_id,
        transcript=said.get(ContentKind.DATA_TEXT, ""),
        reply=said.get(ContentKind.RES_TEXT) or said.get(ContentKind.RES_SPEECH, ""),
        speech_s=track.speech_s,
        voice_to_voice_s=track.voice_to_voice_s,
        spans=spans,
        tasks=tuple(map(task_report, tasks)),
        zero_s=_zero_s(spans, tasks),
        error={"code": track.error_code, "message": track.error_message}
        if track.error_code
        else None,
    )


def task_report(task: Task) -> TaskReport:
    """The report of a Task, with what a provider charges for it."""
    made = task.result_json.get("result_profile", {})
    return TaskReport(
        name=task.name,
        task_name=task.task_name,
        status=task.status,
        error_code=task.error_code,
        latency_profile=task.result_json.get("latency_profile", {}),
        result_profile=made,
        usage=made.get("usage"),
        cost_usd=made.get("cost_usd"),
    )


def _zero_s(spans: Sequence[Span], tasks: Sequence[Task]) -> float:
    """The last voiced sample in seconds since the start of the Track.

    It is not recorded. Where the reply's first piece was the audible one, it left its Task when
    the span of the quiet before the sound began (or, without one, the last span ended).
    """
    heard = spans[-1] if spans else None
    speaker = next((task for task in tasks if heard and task.name == heard.component), None)
    if heard is None or speaker is None:
        return 0.0
    left_s = speaker.result_json.get("latency_profile", {}).get("ts_first_output")
    if left_s is None:
        return 0.0
    span_s = heard.start_s if heard.kind is SpanKind.PLAYOUT else heard.end_s
    return left_s - span_s if left_s - span_s > _PROMPT_S else 0.0
