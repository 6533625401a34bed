"""A Recorder that keeps everything in memory, for tests to look at."""

from __future__ import annotations

from turnlab.conversations import Conversation
from turnlab.records import Content, ContentKind
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Track, TrackStatus


class MemoryRecorder:
    """Keeps every version of every record, in the order in which they were written."""

    def __init__(self) -> None:
        self.log: list[Conversation | Track | Task | Content] = []
        self.flushes = 0

    def conversation(self, conversation: Conversation) -> None:
        """Keep the Conversation."""
        self.log.append(conversation)

    def track(self, track: Track) -> None:
        """Keep this version of the Track."""
        self.log.append(track)

    def task(self, task: Task) -> None:
        """Keep this version of the Task."""
        self.log.append(task)

    def content(self, content: Content) -> None:
        """Keep a text, a sound, a picture or a context."""
        self.log.append(content)

    async def flush(self) -> None:
        """Count the call; everything is as durable as it will get."""
        self.flushes += 1

    @property
    def tracks(self) -> list[Track]:
        """The newest version of each Track."""
        return list({row.track_id: row for row in self.log if isinstance(row, Track)}.values())

    @property
    def tasks(self) -> list[Task]:
        """The newest version of each Task, in the order in which they were created."""
        return list({row.id: row for row in self.log if isinstance(row, Task)}.values())

    def tasks_named(self, name: str) -> list[Task]:
        """The newest version of each Task of the Component `name`."""
        return [task for task in self.tasks if task.name == name]

    def task_statuses(self, name: str) -> list[TaskStatus]:
        """Every status that the Tasks of the Component `name` were written with."""
        return [row.status for row in self.log if isinstance(row, Task) and row.name == name]

    def track_statuses(self) -> list[TrackStatus]:
        """Every status that Tracks were written with."""
        return [row.status for row in self.log if isinstance(row, Track)]

    def contents(self, kind: ContentKind | None = None) -> list[Content]:
        """What was said, heard, replied and spoken; of one kind if one is named."""
        rows = [row for row in self.log if isinstance(row, Content)]
        return rows if kind is None else [row for row in rows if row.kind is kind]
