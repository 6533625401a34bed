"""Queues one Task for a Module by itself, and reads what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import HttpRequest
from pydantic import Field

from turnlab.chunks import Image
from turnlab.clusters.single import PREFIX
from turnlab.errors import InvalidTrackId, UnknownTask, UnknownTrack
from turnlab.server import models, queries
from turnlab.server.api import bodies, reading, uploads
from turnlab.server.api.database import in_database
from turnlab.server.api.schemas import Name, Strict, TaskRow, Text
from turnlab.server.api.starting import fingerprint_of, repeat_of
from turnlab.server.api.task_results import validated
from turnlab.server.config import config
from turnlab.server.node import Accepted, Node
from turnlab.server.requests import TrackRequest
from turnlab.server.roles import Principal, may_read
from turnlab.tracks import parse_track_id
from turnlab.work import Priority


class TaskInputs(Strict):
    """What the Module reads, as far as it is text; a sound and pictures are parts of their own."""

    text: Annotated[Text, Field(min_length=1, max_length=100_000)] | None = None


class QueueTask(Strict):
    """A Task for a Module by itself."""

    task_name: Name = Field(description="GET /api/v1/modules lists them.")
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: TaskInputs = TaskInputs()
    track_id: str | None = Field(
        None, max_length=163, description="A Track of yours that the Task belongs with."
    )
    priority: Literal["live", "batch"] = Field(
        "batch", description="`batch` waits for a worker, `live` is refused where none is free."
    )


class QueuedTask(Strict):
    """A Task that was queued. It is read under this id."""

    id: str
    track_id: str
    status: str


class ReadTask(TaskRow):
    """A Task, and the Track that it belongs to."""

    track_id: str


async def queue(request: HttpRequest, principal: Principal, node: Node) -> Accepted:
    """Accept the Task that `request` asks for, as a Track of one Component.

    Raises InvalidRequest, TooLarge, InvalidTrackId, UnknownTrack, UnknownModule, InvalidParams and
    what else `Node.accept` raises.
    """
    received_s = bodies.received_s(request)
    with ExitStack() as files:
        values, audio, images, fingerprint = await in_database(_read, request, files)
        if values.track_id is not None:
            parse_track_id(values.track_id)
            await in_database(reading.track_row, principal, values.track_id)
        wanted = TrackRequest(
            task_name=values.task_name,
            overrides={values.task_name: values.parameters},
            text=values.inputs.text,
            priority=Priority(values.priority),
            rerun_of=values.track_id or "",
        )
        return await node.accept(
            wanted,
            owner=principal.owner,
            project=principal.project,
            audio=audio,
            images=images,
            repeat=repeat_of(request, fingerprint),
            received_s=received_s,
        )


def _read(
    request: HttpRequest, files: ExitStack
) -> tuple[QueueTask, Path | None, list[Image], str]:
    uploads.require_type(request, uploads.MULTIPART, uploads.JSON)
    if request.content_type == uploads.JSON:
        asked = uploads.read_json(uploads.json_body(request))
        return validated(QueueTask, asked), None, [], fingerprint_of(request.path, {"": asked})
    asked, audio, images = uploads.read_parts(request)
    digests = []
    for each in (*images, *([audio] if audio else [])):
        files.callback(each.close)
        digests.append(_digest(each))
    path = None
    if audio is not None:
        assert isinstance(audio, TemporaryUploadedFile)  # its upload handler makes no others
        path = Path(audio.temporary_file_path())
        uploads.check_recording(path, config().max_speech_s)
    fingerprint = fingerprint_of(request.path, {"": asked, "files": digests})
    return validated(QueueTask, asked), path, uploads.read_images(images), fingerprint


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    for block in file.chunks():
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def task_row(principal: Principal, task_id: str) -> dict[str, Any]:
    """The Task of this id, or the newest of the Track of this id. Raises UnknownTask."""
    if task_id.startswith("T-"):
        return _of_track(principal, task_id)
    row = models.Task.objects.filter(id=task_id).values("track_id", "track__owner").first()
    if row is None or not may_read(principal, row["track__owner"] or ""):
        raise UnknownTask()
    return next(each for each in _rows(row["track_id"]) if each["id"] == task_id)


def _of_track(principal: Principal, track_id: str) -> dict[str, Any]:
    try:
        track = reading.track_row(principal, track_id)
        rows = _rows(track_id)
    except (InvalidTrackId, UnknownTrack) as error:
        raise UnknownTask() from error
    return rows[-1] if rows else _waiting(track)


def _rows(track_id: str) -> list[dict[str, Any]]:
    _, tasks, _ = queries.get_track(track_id)
    return [{**reading.task_row(task), "track_id": track_id} for task in tasks]


def _waiting(track: Mapping[str, Any]) -> dict[str, Any]:
    """The Task of a Track that has not come to it yet."""
    name = str(track["cluster"]).removeprefix(PREFIX)
    return {
        "id": track["track_id"],
        "track_id": track["track_id"],
        "name": name,
        "task_name": name,
        "status": track["status"],
        "worker": "",
        "attempt": 1,
        "parameters": {},
        "result_profile": {},
        "latency_profile": {},
        "created_at": track["created_at"],
        "error": track["error"],
    }
