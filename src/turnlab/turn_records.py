"""What is written down of one turn while it runs: its Track, its Tasks, and what they made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from turnlab.clusters.plan import Plan
from turnlab.conversations import Conversation
from turnlab.errors import TurnlabError
from turnlab.profiles import Span
from turnlab.records import Recorder, contents_of, heard
from turnlab.streams import Stream
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Mode, Replay, Track, TrackStatus, new_track_id
from turnlab.work import Observer, Source, Work

TRANSCRIPT = "transcript"
"""The key of `result_profile` under which a Module that makes something else, such as a
voice-to-voice model, tells what it heard the user say."""


@dataclass(kw_only=True)
class TurnRecords:
    """The records of one turn. Its first error is the Track's."""

    track: Track
    recorder: Recorder
    observer: Observer
    tasks: dict[str, Task] = field(default_factory=dict)
    """By Component; a Component whose moment has not come has none."""
    error: TurnlabError | None = None

    def open(self, conversation: Conversation | None) -> None:
        """Write the Track down as started, and its Conversation."""
        if conversation is not None:
            self.recorder.conversation(conversation)
        self.recorder.track(self.track)

    def task(self, task: Task) -> None:
        """Write a Task down as it is now."""
        self.tasks[task.name] = task
        self.recorder.task(task)
        self.observer.task(task)

    def claim(self, name: str, worker_id: str, attempt: int) -> None:
        """Write down who runs a Component's Task now, maybe after somebody else was lost."""
        if self.tasks[name].status.ended:
            return
        task = replace(self.tasks[name], worker=worker_id, attempt=attempt)
        self.task(task.to(TaskStatus.STARTED) if task.status is TaskStatus.PENDING else task)

    def content(self, stream: Stream[Any], task_id: str | None) -> None:
        """Keep what the stream carries, if it carries anything that is kept."""
        for content in contents_of(stream, self.track.track_id, task_id):
            self.recorder.content(content)

    def end(
        self,
        name: str,
        status: TaskStatus,
        *,
        output: Stream[Any],
        result: dict[str, Any],
        trace: dict[str, Any],
        error: TurnlabError | None = None,
    ) -> None:
        """Close a Task's record with whatever it made, whether it completed or not."""
        task = self.tasks[name]
        self.content(output, task.id)
        if transcript := result["result_profile"].get(TRANSCRIPT):
            self.recorder.content(heard(transcript, self.track.track_id, task.id))
        self.task(
            task.to(
                status,
                result_json=result,
                trace=trace,
                error_code=error.code if error else "",
                error_message=error.message if error else "",
            )
        )

    def fail(self, error: TurnlabError) -> None:
        """The Track fails with `error`, unless it already failed with an earlier one."""
        self.error = self.error or error

    def close(
        self,
        status: TrackStatus,
        spans: Iterable[Span],
        voice_to_voice_s: float | None,
        resources: dict[str, float],
    ) -> None:
        """Close the Track's record."""
        self.track = replace(
            self.track,
            status=status,
            voice_to_voice_s=voice_to_voice_s,
            spans=tuple(span.as_json() for span in spans),
            resources=resources,
            error_code=self.error.code if self.error else "",
            error_message=self.error.message if self.error else "",
        )
        self.recorder.track(self.track)


def begin_track(
    plan: Plan,
    source: Source,
    mode: Mode,
    host: Mapping[str, Any],
    conversation: Conversation | None,
    track_id: str | None = None,
    replay: Replay | None = None,
) -> Track:
    """The Track of a turn that begins now; `track_id` is that of one accepted before."""
    place = {} if replay is None else asdict(replay)
    modules = {step.module.task_name: step.module.version for step in plan.steps}
    return Track(
        track_id=track_id or new_track_id(plan.cluster.name),
        cluster=plan.cluster.name,
        cluster_hash=plan.cluster.content_hash,
        mode=mode,
        created_at=datetime.now(UTC),
        conversation_id=conversation.id if conversation else None,
        speech_s=source.speech_s,
        last_voiced_s=source.last_voiced_s,
        host={**host, "modules": modules},
        **place,
    )


def result_of(work: Work, output: Stream[Any], start_s: float) -> dict[str, Any]:
    """The `result_json` of a Task that ends now; `start_s` is the start of its Track."""
    latency = work.latency
    if work.inputs.first_read_s is not None:
        latency.points.setdefault("first_input", work.inputs.first_read_s)
    latency.point("end")
    whole = output.gathered()
    return {
        "result_profile": {**(whole.profile() if whole else {}), **work.result},
        "latency_profile": latency.as_json(start_s),
    }
