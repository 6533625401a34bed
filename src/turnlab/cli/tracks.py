"""`turnlab tracks`: the records of past turns."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnlab.cli.session import open_queries
from turnlab.cli.turns import task_report
from turnlab.profiles import Span, SpanKind
from turnlab.records import Content
from turnlab.reports.terminal import turn_view
from turnlab.reports.turn import TurnReport
from turnlab.reports.words import clean
from turnlab.tasks import Task
from turnlab.tracks import Track, TrackStatus

tracks = typer.Typer(no_args_is_help=True, help="The records of past turns.")


@tracks.command("list")
def list_tracks(
    cluster: Annotated[str | None, typer.Option(help="Only of this Cluster.")] = None,
    status: Annotated[TrackStatus | None, typer.Option(help="Only with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """List the newest Tracks."""
    queries = open_queries()
    found = queries.list_tracks(cluster=cluster, status=status, limit=limit)
    if as_json:
        for track in found:
            typer.echo(json.dumps(_track_row(track)))
        return
    console = Console(highlight=False)
    for track in found:
        latency = "-" if track.voice_to_voice_s is None else f"{track.voice_to_voice_s:.3f} s"
        when = track.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        # The id on a line of its own, whole at any width, since it is there to be copied.
        console.print(Text(track.track_id, style="bold"), soft_wrap=True)
        status_text = track.error_code or str(track.status)
        console.print(Text(f"  {when}  {track.mode}  {status_text}  voice to voice {latency}"))


@tracks.command("show")
def show_track(
    track_id: str,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a Track: its texts, its waterfall, its Tasks with all that was recorded of them."""
    track, tasks, contents = open_queries().get_track(track_id)
    if as_json:
        rows = [_task_row(task) for task in tasks]
        texts = [_content_row(content) for content in contents]
        typer.echo(json.dumps({**_track_row(track), "tasks": rows, "contents": texts}))
        return
    console = Console(highlight=False)
    console.print(turn_view(_report(track, tasks, contents)))
    table = Table("Task", "Status", "Parameters", "Result", box=None, pad_edge=False)
    for task in tasks:
        result = json.dumps(task.result_json.get("result_profile", {}), ensure_ascii=False)
        status = f"{task.status} {task.error_code}".strip()
        cells = (task.name, status, json.dumps(task.parameters), result)
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console.print(table)


def _track_row(track: Track) -> dict[str, Any]:
    return {
        "track_id": track.track_id,
        "cluster": track.cluster,
        "cluster_hash": track.cluster_hash,
        "mode": str(track.mode),
        "status": str(track.status),
        "conversation_id": track.conversation_id,
        "created_at": track.created_at.isoformat(),
        "speech_s": track.speech_s,
        "last_voiced_s": track.last_voiced_s,
        "voice_to_voice_s": track.voice_to_voice_s,
        "spans": list(track.spans),
        "error": {"code": track.error_code, "message": track.error_message}
        if track.error_code
        else None,
        "host": track.host,
    }


def _task_row(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "task_name": task.task_name,
        "status": str(task.status),
        "parameters": task.parameters,
        "result_json": task.result_json,
        "error_code": task.error_code,
        "error_message": task.error_message,
        "created_at": task.created_at.isoformat(),
    }


def _content_row(content: Content) -> dict[str, Any]:
    return {
        "id": content.id,
        "kind": str(content.kind),
        "task_id": content.task_id,
        "text": content.text,
        "created_at": content.created_at.isoformat(),
    }


def _report(track: Track, tasks: list[Task], contents: list[Content]) -> TurnReport:
    texts = {str(content.kind): content.text for content in contents}
    spans = tuple(Span(**{**row, "kind": SpanKind(row["kind"])}) for row in track.spans)
    return TurnReport(
        track_id=track.track_id,
        cluster=track.cluster,
        mode=track.mode,
        status=track.status,
        conversation_id=track.conversation_id,
        transcript=texts.get("DataText", ""),
        reply=texts.get("ResText", ""),
        speech_s=track.speech_s,
        voice_to_voice_s=track.voice_to_voice_s,
        spans=spans,
        tasks=tuple(map(task_report, tasks)),
        error={"code": track.error_code, "message": track.error_message}
        if track.error_code
        else None,
    )
