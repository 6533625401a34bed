"""Tracks as a zip: `tracks.jsonl`, one Track a line, and beside it their sounds and pictures.

It is written as it is read, so that a thousand Tracks need no more memory than one. What may not be
exported, since the user refused, is named in `left_out.jsonl` and not told.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from django.core.files.storage import default_storage
from django.db import connections
from django.http import StreamingHttpResponse

from turnlab.records import Content
from turnlab.server import models
from turnlab.server.admin_pages.masking import shown_parameters
from turnlab.server.media import KeptContent
from turnlab.server.queries import get_track
from turnlab.server.retention import may_export
from turnlab.tasks import Task

_BLOCK = 1 << 18
_IN_MEMORY = 8 << 20
_OF_SERVICE = ("owner", "project", "priority", "rerun_of", "node", "media_deleted_at")


def export_zip(track_ids: Iterable[str]) -> Iterator[bytes]:
    """The zip, piece by piece. Raises InvalidTrackId, UnknownTrack, DatabaseError."""
    pipe = _Pipe()
    left_out: list[dict[str, str]] = []
    with (
        SpooledTemporaryFile(max_size=_IN_MEMORY) as lines,
        ZipFile(pipe, "w", ZIP_DEFLATED) as archive,
    ):
        for track_id in track_ids:
            row = models.Track.objects.select_related("conversation").get(track_id=track_id)
            if not may_export(row):
                left_out.append({"track_id": track_id, "why": "consent was refused"})
                continue
            track, contents = _track(row)
            lines.write(json.dumps(track, default=_plain, ensure_ascii=False).encode() + b"\n")
            for content in contents:
                yield from _medium(archive, pipe, content)
        lines.seek(0)
        yield from _entry(archive, pipe, "tracks.jsonl", lines, ZIP_DEFLATED)
        if left_out:
            archive.writestr(
                "left_out.jsonl", "".join(json.dumps(each) + "\n" for each in left_out)
            )
    yield pipe.take()


def _track(row: models.Track) -> tuple[dict[str, Any], list[KeptContent]]:
    """A Track as JSON with all that belongs to it, and its contents."""
    track, tasks, contents = get_track(row.track_id)
    told = {
        **asdict(track),
        **{name: getattr(row, name) for name in _OF_SERVICE},
        "consent": row.conversation.consent if row.conversation else "",
        "tasks": [_task(task) for task in tasks],
        "contents": [_content(content) for content in contents],
    }
    return told, contents


def _plain(value: Any) -> str:
    """Moments in ISO 8601, all else as its text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _task(task: Task) -> dict[str, Any]:
    return {**asdict(task), "parameters": shown_parameters(task.task_name, task.parameters)}


_KEPT = [f.name for f in fields(KeptContent) if f.name not in ("sound", "picture", "track_id")]


def _content(content: Content) -> dict[str, Any]:
    """As it is kept; `file` is its place in the zip, empty if it was deleted."""
    values = {name: getattr(content, name) for name in _KEPT}
    there = bool(values["file"]) and default_storage.exists(values["file"])
    return values | {"file": _place(values["file"]) if there else ""}


def _place(name: str) -> str:
    """Where a file of the storage lies in the zip: nothing of it can lead out of the folder."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
    return "/".join(("media", *parts))


def _medium(archive: ZipFile, pipe: _Pipe, content: KeptContent) -> Iterator[bytes]:
    if not content.file:
        return
    try:
        file = default_storage.open(content.file)
    except FileNotFoundError:  # deleted by a rule of retention; the line says so
        return
    with file:
        yield from _entry(archive, pipe, _place(content.file), file, ZIP_STORED)


def _entry(
    archive: ZipFile, pipe: _Pipe, name: str, file: IO[bytes] | Any, compression: int
) -> Iterator[bytes]:
    about = ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    about.compress_type = compression
    with archive.open(about, "w", force_zip64=True) as entry:
        while block := file.read(_BLOCK):
            entry.write(block)
            yield pipe.take()


class _Pipe(io.RawIOBase):
    """Where the zip is written to, and taken from at once."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """It is; it cannot be read or sought, so zipfile goes through once."""
        return True

    def write(self, data: Any) -> int:
        """Hold the bytes."""
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._held)
        self._held.clear()
        return taken


def zip_response(track_ids: Iterable[str]) -> StreamingHttpResponse:
    """The zip as a download, sent while it is made."""
    name = f"turnlab-{datetime.now(UTC):%Y%m%d-%H%M%S}.zip"
    return StreamingHttpResponse(
        _in_thread(export_zip(track_ids)),
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, each made in one thread of their own: the connection belongs to a thread."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="turnlab-export") as thread:
        try:
            while (piece := await loop.run_in_executor(thread, next, pieces, None)) is not None:
                if piece:
                    yield piece
        finally:
            await asyncio.shield(loop.run_in_executor(thread, connections.close_all))
