"""What the page of a Track shows: what was said, where the time went, and what each Task did."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.files.storage import default_storage
from django.utils.safestring import SafeString, mark_safe

from turnlab.profiles import SpanKind
from turnlab.records import ContentKind
from turnlab.reports.kinds import LOOKS
from turnlab.reports.rows import cost_text, ms_text
from turnlab.reports.turn import TurnReport
from turnlab.reports.waterfall import waterfall_svg
from turnlab.server import models
from turnlab.server.admin_pages.desk import budgets
from turnlab.server.admin_pages.look import (
    ago,
    moment,
    pretty,
    status_badge,
    track_link,
    wrapping,
)
from turnlab.server.admin_pages.masking import shown_parameters
from turnlab.server.admin_pages.report import track_report
from turnlab.server.links import media_url
from turnlab.server.media import KeptContent
from turnlab.server.queries import get_track
from turnlab.tasks import Task
from turnlab.tracks import Track

_OTHERS = 20
"""Other Tracks of the Conversation that are listed."""


@dataclass(frozen=True, kw_only=True)
class Medium:
    """A sound or a picture that was kept: a signed link, or why there is none."""

    what: str
    url: str
    picture: bool
    length: str
    text: str
    made_by: str
    """The Component that made it; empty for what came from the user."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A text or a context that was kept."""

    what: str
    text: str
    profile: SafeString | str
    made_by: str


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """A Task as the page shows it."""

    id: str
    name: str
    task_name: str
    status: SafeString
    worker: str
    known_worker: bool
    attempt: int
    times: tuple[str, ...]
    error_code: str
    error_message: str
    parameters: SafeString | str
    result: SafeString | str
    latency: tuple[tuple[str, str], ...]


HEADS = ("created", "claimed", "first input", "first output", "end", "model")
_POINTS = ("created", "claimed", "first_input", "first_output", "end")


def track_context(track_id: str, viewer: str) -> dict[str, Any]:
    """All that the page of a Track needs; links to its media are signed for `viewer`.

    Raises InvalidTrackId, UnknownTrack.
    """
    track, tasks, contents = get_track(track_id)
    row = models.Track.objects.get(track_id=track_id)
    report = track_report(track, tasks, contents)
    makers = {task.id: task.name for task in tasks}
    return {
        "track": track,
        "row": row,
        "report": report,
        "status": status_badge(row.status),
        "created": moment(row.created_at),
        "age": ago(row.created_at),
        "latency": _latency(track),
        "cost": cost_text(report) if report.charged else "",
        "waterfall": mark_safe(waterfall_svg(report)) if track.spans or tasks else "",
        "legend": _LEGEND if track.spans else (),
        "media": [_medium(c, makers, viewer) for c in contents if c.kind in _MEDIA],
        "media_deleted": moment(row.media_deleted_at) if row.media_deleted_at else "",
        "found": [_found(c, makers) for c in contents if c.kind in _CONTEXTS],
        "tasks": _tasks(tasks, report),
        "heads": HEADS,
        "others": _others(track),
        "rerun_of": track_link(row.rerun_of) if row.rerun_of else "",
        "host": pretty(track.host),
        "live": not track.status.ended,
        "shown": _shown(row, tasks, contents),
    }


_LEGEND = tuple((str(kind), look.meaning) for kind, look in LOOKS.items())
_MEDIA = {
    ContentKind.DATA_AUDIO: "Question",
    ContentKind.DATA_IMAGE: "Picture",
    ContentKind.RES_SPEECH: "Reply",
}
_CONTEXTS = {ContentKind.CONTEXT_EMOTION: "Felt", ContentKind.CONTEXT_RAG: "Found"}


def _latency(track: Track) -> dict[str, Any]:
    """The latency, with the budget of the Cluster and how it compares in words."""
    measured, limit = track.voice_to_voice_s, budgets().get(track.cluster)
    verdict = ""
    if measured is not None and limit is not None:
        by = ms_text(abs(limit - measured))
        verdict = f"{by} over its budget" if measured > limit else f"{by} within its budget"
    return {
        "text": ms_text(measured),
        "budget": ms_text(limit) if limit is not None else "",
        "over": measured is not None and limit is not None and measured > limit,
        "verdict": verdict,
    }


def _medium(content: KeptContent, makers: dict[str, str], viewer: str) -> Medium:
    # Storage is asked, so that what was deleted behind the records' back is told too.
    there = bool(content.file) and default_storage.exists(content.file)
    return Medium(
        what=_MEDIA[content.kind],
        url=media_url(content.file, owner=viewer) if there else "",
        picture=content.kind is ContentKind.DATA_IMAGE,
        length=_length(content),
        text=content.text,
        made_by=makers.get(content.task_id or "", ""),
    )


def _length(content: KeptContent) -> str:
    if not content.duration_s:
        return ""
    return f"{content.duration_s:.2f} s, {content.sample_rate} Hz"


def _found(content: KeptContent, makers: dict[str, str]) -> Found:
    return Found(
        what=_CONTEXTS[content.kind],
        text=content.text,
        profile=pretty(content.profile),
        made_by=makers.get(content.task_id or "", ""),
    )


def _tasks(tasks: Sequence[Task], report: TurnReport) -> list[TaskView]:
    ids = {task.worker for task in tasks if task.worker}
    known = set(models.Worker.objects.filter(id__in=ids).values_list("id", flat=True))
    return [_task(task, report, task.worker in known) for task in tasks]


def _task(task: Task, report: TurnReport, known_worker: bool) -> TaskView:
    latency = task.result_json.get("latency_profile", {})
    points = (latency.get(f"ts_{name}") for name in _POINTS)
    after = [None if at is None else at - report.zero_s for at in points]
    model_s = [s for key, s in latency.items() if key.startswith(f"{SpanKind.MODEL}_")]
    return TaskView(
        id=task.id,
        name=task.name,
        task_name=task.task_name,
        status=status_badge(task.status),
        worker=task.worker,
        known_worker=known_worker,
        attempt=task.attempt,
        times=(*map(ms_text, after), ms_text(sum(model_s) if model_s else None)),
        error_code=task.error_code,
        error_message=task.error_message,
        parameters=pretty(shown_parameters(task.task_name, task.parameters)),
        result=pretty(task.result_json.get("result_profile")),
        latency=tuple((key, f"{seconds * 1000:.1f} ms") for key, seconds in latency.items()),
    )


def _others(track: Track) -> list[dict[str, Any]]:
    """The other Tracks of its Conversation, newest first."""
    if track.conversation_id is None:
        return []
    rows = models.Track.objects.filter(conversation_id=track.conversation_id)
    found = rows.exclude(track_id=track.track_id).order_by("-created_at")
    return track_rows(found.only("track_id", "cluster", "status", *_SHORT)[:_OTHERS])


_SHORT = ("created_at", "voice_to_voice_s", "error_code", "owner")


def track_rows(rows: Any) -> list[dict[str, Any]]:
    """Tracks as short tables show them."""
    return [
        {
            "link": track_link(row.track_id),
            "cluster": wrapping(row.cluster),
            "status": status_badge(row.status),
            "created": ago(row.created_at),
            "latency": ms_text(row.voice_to_voice_s),
            "error_code": row.error_code,
            "owner": row.owner,
        }
        for row in rows
    ]


def _shown(row: models.Track, tasks: Sequence[Task], contents: Sequence[KeptContent]) -> str:
    """Changes whenever the page would; what is shown is not read twice for it."""
    told = [row.status, *((t.id, t.status, t.worker, t.attempt) for t in tasks), len(contents)]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
