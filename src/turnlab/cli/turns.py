"""Turns for people: what a result looks like as a report, and its sound as a file."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile

from turnlab.audio import RecordedTurn
from turnlab.bench.verdicts.verdict import judge_turn
from turnlab.chunks import Chunk, Emotion, Passages, Sound
from turnlab.errors import OutputFailed
from turnlab.reports.turn import TaskReport, TurnReport
from turnlab.tasks import Task
from turnlab.turn_result import TurnResult


def report_of(
    result: TurnResult, source: RecordedTurn, budget_s: float | None, **more: Any
) -> TurnReport:
    """The report of a turn, with a verdict where there is a budget."""
    track = result.track
    verdict = judge_turn(track.voice_to_voice_s, budget_s).as_json() if budget_s else None
    error = result.error
    return TurnReport(
        track_id=track.track_id,
        cluster=track.cluster,
        mode=track.mode,
        status=track.status,
        conversation_id=track.conversation_id,
        pace=source.pace,
        transcript=result.transcript,
        reply=result.reply,
        context=tuple(map(_told, result.context)),
        speech_s=track.speech_s,
        voice_to_voice_s=track.voice_to_voice_s,
        spans=result.spans,
        tasks=tuple(map(task_report, result.tasks)),
        zero_s=source.turn_over_s(0.0),
        verdict=verdict,
        error={"code": error.code, "message": error.message} if error else None,
        label=source.recording.path.name,
        **more,
    )


def check_out(path: Path, recordings: Sequence[Path]) -> Path:
    """`path` if a reply may be written there. Raises OutputFailed before anything has run."""
    if any(path.exists() and path.samefile(each) for each in recordings if each.exists()):
        raise OutputFailed(f"{path} is the recording itself; name another file for the reply.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OutputFailed(f"{path} cannot be written; choose another place for it.")
    return path


def wav_bytes(sound: Sound) -> bytes:
    """The sound as a 16-bit WAV file."""
    file = io.BytesIO()
    soundfile.write(file, sound.samples, sound.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def write_sound(path: Path, sound: Sound) -> None:
    """Write the sound to `path` as 16-bit WAV. Raises OutputFailed."""
    try:
        path.write_bytes(wav_bytes(sound))
    except OSError as error:
        raise OutputFailed(f"{path} cannot be written: {error.strerror}.") from error


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


def _told(chunk: Chunk) -> tuple[str, str]:
    """What was seen, felt or found, in a line."""
    match chunk:
        case Emotion():
            values = ", ".join(f"{name} {value:+.2f}" for name, value in chunk.values.items())
            felt = chunk.labels.get("M", "nothing in particular")
            return "Felt", f"{felt} ({values})" if values else felt
        case Passages():
            found = [f"{each.source} ({each.score:.2f})" for each in chunk.items]
            return "Found", "; ".join(found) or "nothing"
        case _:
            return "Seen", getattr(chunk, "text", "")
