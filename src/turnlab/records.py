"""What is kept of a turn, and who keeps it: the Recorder that the runner writes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

from turnlab.chunks import (
    Audio,
    Chunk,
    Emotion,
    Image,
    Passages,
    Reply,
    Sound,
    Speech,
    Transcript,
)
from turnlab.conversations import Conversation
from turnlab.streams import Stream
from turnlab.tasks import Task, new_id
from turnlab.tracks import Track


class ContentKind(StrEnum):
    """The tables of what was said, shown, heard, felt, found, replied and spoken."""

    DATA_AUDIO = "DataAudio"
    DATA_IMAGE = "DataImage"
    DATA_TEXT = "DataText"
    RES_TEXT = "ResText"
    RES_SPEECH = "ResSpeech"
    CONTEXT_EMOTION = "ContextEmotion"
    CONTEXT_RAG = "ContextRAG"


@dataclass(frozen=True, kw_only=True)
class Content:
    """Something that belongs to a Track; `task_id` is None for what came from the user."""

    id: str
    kind: ContentKind
    track_id: str
    task_id: str | None
    created_at: datetime
    text: str = ""
    sound: Iterable[Sound] | None = None
    """The pieces of a sound in order, read lazily: an hour of them fits in no memory."""
    picture: Image | None = None
    profile: Mapping[str, Any] = field(default_factory=dict)
    """What the context tables keep, as JSON."""


class Recorder(Protocol):
    """Keeps records. The writing calls return at once; `flush` waits until all is durable.

    Records of one id replace each other in the order in which they were written. A Task or
    Track that reaches an end is announced (the signals) exactly once, after it is durable.
    """

    def conversation(self, conversation: Conversation) -> None:
        """Keep that there is such a Conversation."""
        ...

    def track(self, track: Track) -> None:
        """Keep the Track as it is now."""
        ...

    def task(self, task: Task) -> None:
        """Keep the Task as it is now."""
        ...

    def content(self, content: Content) -> None:
        """Keep a text, a sound, a picture or a context."""
        ...

    async def flush(self) -> None:
        """Wait until everything written so far is durable. Raises RecordingFailed."""
        ...


class NullRecorder:
    """Keeps nothing; for measurements of everything else."""

    def conversation(self, conversation: Conversation) -> None:
        """Forget it."""

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
    Emotion: ContentKind.CONTEXT_EMOTION,
    Image: ContentKind.DATA_IMAGE,
    Passages: ContentKind.CONTEXT_RAG,
    Reply: ContentKind.RES_TEXT,
    Speech: ContentKind.RES_SPEECH,
    Transcript: ContentKind.DATA_TEXT,
}


def contents_of(stream: Stream[Any], track_id: str, task_id: str | None) -> list[Content]:
    """What an ended stream is kept as: each picture by itself, all else as one; [] if nothing."""
    kind = _TABLES.get(stream.kind)
    if kind is None or not len(stream):
        return []
    make = partial(_content, kind, track_id, task_id)
    if stream.kind is Image:
        return [make(picture=picture) for picture in stream]
    if issubclass(stream.kind, Sound):
        return [make(text=_text(stream), sound=stream)]
    whole = stream.gathered()
    return [make(text=getattr(whole, "text", ""), profile=whole.profile() if whole else {})]


def heard(text: str, track_id: str, task_id: str) -> Content:
    """The Content of a text of the user's that a Task heard beside what it made."""
    return _content(ContentKind.DATA_TEXT, track_id, task_id, text=text)


def _content(kind: ContentKind, track_id: str, task_id: str | None, **fields: Any) -> Content:
    moment = datetime.now(UTC)
    return Content(
        id=new_id(), kind=kind, track_id=track_id, task_id=task_id, created_at=moment, **fields
    )


def _text(stream: Stream[Any]) -> str:
    """The words of a sound, without holding more than one piece of it in memory."""
    if "text" not in stream.kind.__dataclass_fields__:
        return ""
    return " ".join(chunk.text for chunk in stream if chunk.text)
