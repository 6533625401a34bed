"""What is kept of a turn, and who keeps it: the Recorder that the runner writes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from turnlab.chunks import Audio, Chunk, Reply, Sound, Speech, Transcript
from turnlab.streams import Stream
from turnlab.tasks import Task, new_id
from turnlab.tracks import Track


class ContentKind(StrEnum):
    """The tables of what was said, heard, replied and spoken."""

    DATA_AUDIO = "DataAudio"
    DATA_TEXT = "DataText"
    RES_TEXT = "ResText"
    RES_SPEECH = "ResSpeech"


@dataclass(frozen=True, kw_only=True)
class Content:
    """A text or a sound that belongs to a Track; `task_id` is None for what the user said."""

    id: str
    kind: ContentKind
    track_id: str
    task_id: str | None
    created_at: datetime
    text: str = ""
    sound: Iterable[Sound] | None = None
    """The pieces of a sound in order, read lazily: an hour of them fits in no memory."""


class Recorder(Protocol):
    """Keeps records. The writing calls return at once; `flush` waits until all is durable.

    Records of one id replace each other in the order in which they were written. A Task or
    Track that reaches an end is announced (the signals) exactly once, after it is durable.
    """

    def track(self, track: Track) -> None:
        """Keep the Track as it is now."""
        ...

    def task(self, task: Task) -> None:
        """Keep the Task as it is now."""
        ...

    def content(self, content: Content) -> None:
        """Keep a text or a sound."""
        ...

    async def flush(self) -> None:
        """Wait until everything written so far is durable. Raises RecordingFailed."""
        ...


class NullRecorder:
    """Keeps nothing; for measurements of everything else."""

    def track(self, track: Track) -> None:
        """Forget it."""

    def task(self, task: Task) -> None:
        """Forget it."""

    def content(self, content: Content) -> None:
        """Forget it."""

    async def flush(self) -> None:
        """Nothing to wait for."""


_TABLES: dict[type[Chunk], ContentKind] = {
    Audio: ContentKind.DATA_AUDIO,
    Transcript: ContentKind.DATA_TEXT,
    Reply: ContentKind.RES_TEXT,
    Speech: ContentKind.RES_SPEECH,
}


def content_of(stream: Stream[Any], track_id: str, task_id: str | None) -> Content | None:
    """The Content that an ended stream is kept as, None for kinds without a table."""
    kind = _TABLES.get(stream.kind)
    if kind is None or not len(stream):
        return None
    return Content(
        id=new_id(),
        kind=kind,
        track_id=track_id,
        task_id=task_id,
        created_at=datetime.now(UTC),
        text=_text(stream),
        sound=stream if issubclass(stream.kind, Sound) else None,
    )


def _text(stream: Stream[Any]) -> str:
    if "text" not in stream.kind.__dataclass_fields__:
        return ""
    texts = [chunk.text for chunk in stream]
    if stream.kind is Transcript:
        return texts[-1] if texts else ""
    return ("" if stream.kind is Reply else " ").join(texts)
