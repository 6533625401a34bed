"""Everything about a few turns of Runs, for pages that show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import TextField
from django.db.models.functions import Cast
from pydantic_core import from_json

from turnlab.audio import Pace
from turnlab.chunks import Caption, Emotion, Passages
from turnlab.errors import UnknownTrack
from turnlab.profiles import Span, SpanKind
from turnlab.reports.turn import TaskReport, TurnReport
from turnlab.server import models
from turnlab.server.gathering import without_garbage_collection
from turnlab.server.runs import get_run

_AT_ONCE = 200
"""Turns in one query: SQLite takes no more than some hundred parameters everywhere."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by track_id, oldest first."""


def turn_reports(track_ids: Sequence[str], *, sounds: bool = False) -> list[TurnReport]:
    """All details of these turns, in their order: texts, spans, Tasks, context, error.

    With `sounds` also the question and the reply as the bytes of WAV files, None where they are
    no longer kept. Texts that a purge took are empty. Raises UnknownTrack, UnknownRun.
    """
    found: list[TurnReport] = []
    pins = _Pins()
    for start in range(0, len(track_ids), _AT_ONCE):
        with without_garbage_collection():
            found += _some_reports(track_ids[start : start + _AT_ONCE], pins, sounds)
    return found


def _some_reports(track_ids: Sequence[str], pins: _Pins, sounds: bool) -> list[TurnReport]:
    tracks = {row["track_id"]: row for row in _tracks(track_ids)}
    if lost := [each for each in track_ids if each not in tracks]:
        raise UnknownTrack(f"There is no Track {lost[0]}; it may have been deleted.")
    parts = _Parts(track_ids)
    reports = [_report(tracks[track_id], parts, pins) for track_id in track_ids]
    return [_with_sounds(each, parts) for each in reports] if sounds else reports


def _tracks(track_ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    rows = models.Track.objects.filter(track_id__in=track_ids)
    found: Any = rows.annotate(path=Cast("spans", TextField())).values(*_OF_TRACK, "path")
    return iter(found)


_OF_TRACK = (
    "track_id",
    "run_id",
    "turn_id",
    "repeat",
    "cluster",
    "mode",
    "status",
    "conversation_id",
    "speech_s",
    "last_voiced_s",
    "voice_to_voice_s",
    "error_code",
    "error_message",
)
_OF_TASK = ("name", "task_name", "status", "error_code")


class _Pins:
    """What the Runs of the turns say of their pace and of what Components make."""

    def __init__(self) -> None:
        self._runs: dict[str, Any] = {}

    def pace(self, run_id: str) -> str:
        """How the sound came in."""
        return str(self._run(run_id).asked.get("pace", "")) if run_id else ""

    def produces(self, run_id: str, cluster: str) -> dict[str, str]:
        """By Component the kind that it makes, in the Cluster's order."""
        pinned = self._run(run_id).pins.get("clusters", {}) if run_id else {}
        components = pinned.get(cluster, {}).get("components", [])
        return {each["name"]: each.get("produces", "") for each in components}

    def _run(self, run_id: str) -> Any:
        if run_id not in self._runs:
            self._runs[run_id] = get_run(run_id)
        return self._runs[run_id]


class _Parts:
    """What belongs to some Tracks, table by table."""

    def __init__(self, track_ids: Sequence[str]) -> None:
        self._ids = track_ids
        self.tasks = self._read(models.Task, "track_id", *_OF_TASK, result=_RESULT)
        self.heard = self._read(models.DataText, "track_id", "text")
        self.written = self._read(models.ResText, "track_id", "text")
        self.spoken = self._read(models.ResSpeech, "track_id", "text", "file")
        self.asked = self._read(models.DataAudio, "track_id", "file")

    def _read(self, model: Any, *columns: str, **more: Cast) -> Rows:
        found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        rows = model.objects.filter(track_id__in=self._ids).order_by("created_at", "id")
        for row in rows.annotate(**more).values(*columns, *more):
            found[row["track_id"]].append(row)
        return found


# As text, which pydantic's parser reads in half of the time of a JSONField.
_RESULT = Cast("result_json", TextField())


def _report(track: Mapping[str, Any], parts: _Parts, pins: _Pins) -> TurnReport:
    track_id, run_id, cluster = track["track_id"], track["run_id"], track["cluster"]
    pace = pins.pace(run_id)
    tasks = tuple(_task(row) for row in parts.tasks.get(track_id, ()))
    error = {"code": track["error_code"], "message": track["error_message"]}
    return TurnReport(
        track_id=track_id,
        cluster=cluster,
        mode=track["mode"],
        status=track["status"],
        conversation_id=track["conversation_id"],
        pace=pace,
        transcript=_newest(parts.heard, track_id, "text"),
        reply=_newest(parts.written, track_id, "text") or _newest(parts.spoken, track_id, "text"),
        context=tuple(_context(tasks, pins.produces(run_id, cluster))),
        speech_s=track["speech_s"],
        voice_to_voice_s=track["voice_to_voice_s"],
        spans=tuple(_span(row) for row in from_json(track["path"])),
        tasks=tasks,
        zero_s=(track["last_voiced_s"] or 0.0) if pace == Pace.REALTIME else 0.0,
        error=error if error["code"] else None,
        label=_label(track),
    )


def _label(track: Mapping[str, Any]) -> str:
    return f"{track['turn_id']} ({track['repeat']})" if track["repeat"] > 1 else track["turn_id"]


def _newest(rows: Rows, track_id: str, column: str) -> str:
    found = rows.get(track_id)
    return str(found[-1][column]) if found else ""


def _task(row: Mapping[str, Any]) -> TaskReport:
    result = from_json(row["result"])
    made = result.get("result_profile", {})
    return TaskReport(
        **{name: row[name] for name in _OF_TASK},
        latency_profile=result.get("latency_profile", {}),
        result_profile=made,
        usage=made.get("usage"),
        cost_usd=made.get("cost_usd"),
    )


_KINDS = {str(kind): kind for kind in SpanKind}


def _span(row: Mapping[str, Any]) -> Span:
    return Span(
        kind=_KINDS[row["kind"]],
        component=row["component"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        label=row["label"],
    )


def _context(tasks: Sequence[TaskReport], produces: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What was seen, felt and found beside the reply, in a line each."""
    for task in tasks:
        made = task.result_profile
        match produces.get(task.name):
            case Caption.kind if "text" in made:
                yield "Seen", str(made["text"])
            case Emotion.kind if "words" in made:
                values = (
                    f"{name} {made[name]:+.2f}" for name in ("T", "A", "V", "M") if name in made
                )
                told = ", ".join(values)
                yield "Felt", f"{made['words']} ({told})" if told else str(made["words"])
            case Passages.kind if "passages" in made:
                found = (f"{each['source']} ({each['score']:.2f})" for each in made["passages"])
                yield "Found", "; ".join(found) or "nothing"


def _with_sounds(report: TurnReport, parts: _Parts) -> TurnReport:
    files = (_newest(rows, report.track_id, "file") for rows in (parts.asked, parts.spoken))
    question, reply = (_bytes(file) for file in files)
    return replace(report, question_wav=question, reply_wav=reply)


def _bytes(file: str) -> bytes | None:
    """The file from the media storage; None where there is none, or where it was purged."""
    if not file:
        return None
    try:
        with default_storage.open(file) as opened:
            return bytes(opened.read())
    except FileNotFoundError:
        return None
