"""The tables. Their columns are the fields of the records in tracks, tasks and records.

The journal writes them by upsert and never through model instances. No relation has a constraint
in the database: processes write on their own, so a Task may arrive before its Track, and a record
is worth keeping even where the record that it belongs to was refused. It also saves a look-up a
row. Ids are made by whoever makes the record, and those of Tasks and contents sort by time.
"""

from __future__ import annotations

from django.db import models

from turnlab.tasks import TaskStatus


class Conversation(models.Model):
    """The turns of one session with one user. Its id is `C-` and 32 hex digits."""

    id = models.CharField(primary_key=True, max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["created_at"], name="conversation_by_time"),)

    def __str__(self) -> str:
        return self.id


class Track(models.Model):
    """One turn through one Cluster. Durations are in seconds."""

    track_id = models.CharField(primary_key=True, max_length=163)  # T- + 128 + - + 32
    cluster = models.CharField(max_length=128)
    cluster_hash = models.CharField(max_length=128)
    mode = models.CharField(max_length=16)
    status = models.CharField(max_length=16)
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.CASCADE,
        related_name="tracks",
        null=True,
        db_constraint=False,
    )
    speech_s = models.FloatField(null=True)
    last_voiced_s = models.FloatField(null=True)
    voice_to_voice_s = models.FloatField(null=True)
    spans = models.JSONField(default=list)
    host = models.JSONField(default=dict)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=["created_at"], name="track_by_time"),
            models.Index(fields=["cluster", "created_at"], name="track_by_cluster"),
        )

    def __str__(self) -> str:
        return self.track_id


class Task(models.Model):
    """One run of one task Component; `result_json` has result_profile and latency_profile."""

    id = models.CharField(primary_key=True, max_length=64)
    track = models.ForeignKey(
        Track, on_delete=models.CASCADE, related_name="tasks", db_constraint=False
    )
    name = models.CharField(max_length=255)
    task_name = models.CharField(max_length=255)
    status = models.CharField(max_length=16)
    parameters = models.JSONField(default=dict)
    result_json = models.JSONField(default=dict)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = (
            # Partial, so that it stays as small as the work under way: a Task that ended leaves it.
            models.Index(
                fields=["status", "created_at"],
                name="task_unfinished",
                condition=models.Q(status__in=[s.value for s in TaskStatus if not s.ended]),
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"


class Content(models.Model):
    """What all texts and sounds have; `task` is empty for what the user said."""

    id = models.CharField(primary_key=True, max_length=64)
    track = models.ForeignKey(Track, on_delete=models.CASCADE, db_constraint=False)
    # Found by their Track, of which each has a few; an index by Task would only cost.
    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, null=True, db_constraint=False, db_index=False
    )
    created_at = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.id


class Sound(Content):
    """A mono WAV file in the media storage, its length in seconds and its rate in Hz."""

    file = models.FileField(max_length=255)
    duration_s = models.FloatField()
    sample_rate = models.PositiveIntegerField()

    class Meta:
        abstract = True


class DataAudio(Sound):
    """What the user said, as sound."""


class DataImage(Content):
    """What the user showed: a picture in the media storage, as it was given."""

    file = models.FileField(max_length=255)
    media_type = models.CharField(max_length=64)


class DataText(Content):
    """What the user said, as text."""

    text = models.TextField(blank=True)


class ResText(Content):
    """What the reply says."""

    text = models.TextField(blank=True)


class ResSpeech(Sound):
    """What the reply sounds like; `text` is what it speaks."""

    text = models.TextField(blank=True)


class Context(Content):
    """What a Task found out about a turn, as its Chunk's JSON."""

    profile = models.JSONField(default=dict)

    class Meta:
        abstract = True


class ContextEmotion(Context):
    """What the user felt: T, A, V, M and what lies behind them."""


class ContextRAG(Context):
    """The passages that retrieval found, with source and score."""
