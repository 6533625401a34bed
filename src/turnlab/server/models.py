"""The tables. Their columns are the fields of the records in tracks, tasks and records.

The journal writes them by upsert and never through model instances: those columns that a record
has. All others have a default in the database (`db_default`) and belong to the service.

No relation has a constraint in the database: processes write on their own, so a Task may arrive
before its Track, and a record is worth keeping even where the record that it belongs to was
refused. It also saves a look-up a row. Ids are made by whoever makes the record, and those of
Tasks and contents sort by time.
"""

from __future__ import annotations

from django.db import models

from turnlab.tasks import TaskStatus
from turnlab.tracks import TrackStatus


class Project(models.Model):
    """What belongs together: its Tracks are kept by one rule, see `retention`."""

    name = models.CharField(primary_key=True, max_length=64)
    keep = models.CharField(max_length=16, db_default="all")
    """`all`, `text` (media go when the Track has ended) or `days` (media go after `media_days`)."""
    media_days = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Conversation(models.Model):
    """The turns of one session with one user. Its id is `C-` and 32 hex digits."""

    id = models.CharField(primary_key=True, max_length=64)
    created_at = models.DateTimeField()
    owner = models.CharField(max_length=128, blank=True, db_default="")
    """Whose token began it; empty for the command line of this machine."""
    project = models.CharField(max_length=64, db_default="default")
    consent = models.CharField(max_length=16, blank=True, db_default="")
    """`granted`, `refused`, or empty while nobody has said."""

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

    owner = models.CharField(max_length=128, blank=True, db_default="")
    """Whose token started it; empty for the command line of this machine."""
    project = models.CharField(max_length=64, db_default="default")
    priority = models.CharField(max_length=8, db_default="live")
    """`live` (somebody waits) or `batch`."""
    request = models.JSONField(db_default={})
    """What was asked, so that any process can run it; see `server.requests.TrackRequest`."""
    node = models.CharField(max_length=64, blank=True, db_default="")
    """The API process that runs it; empty while it waits, or for the command line."""
    cancel_asked = models.BooleanField(db_default=False)
    deliver = models.BooleanField(db_default=False)
    """Whether `turnlab respond` is to play the reply."""
    played_at = models.DateTimeField(null=True)
    rerun_of = models.CharField(max_length=163, blank=True, db_default="")
    run_id = models.CharField(max_length=32, blank=True, db_default="")
    """The Run that it is part of; empty for a turn by itself."""
    turn_id = models.CharField(max_length=255, blank=True, db_default="")
    """Its turn in the dataset of the Run."""
    repeat = models.PositiveIntegerField(db_default=0)
    """Which repetition, from 1; 0 is a warm-up."""
    resources = models.JSONField(db_default={})
    media_deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=["created_at", "track_id"], name="track_by_time"),
            models.Index(fields=["cluster", "created_at"], name="track_by_cluster"),
            models.Index(fields=["status", "created_at"], name="track_by_status"),
            models.Index(fields=["owner", "created_at"], name="track_by_owner"),
            models.Index(fields=["project", "created_at"], name="track_by_project"),
            models.Index(fields=["voice_to_voice_s"], name="track_by_latency"),
            models.Index(
                fields=["rerun_of"], name="track_reruns", condition=~models.Q(rerun_of="")
            ),
            models.Index(
                fields=["run_id", "created_at"],
                name="track_by_run",
                condition=~models.Q(run_id=""),
            ),
            # Partial, so that they stay as small as what is under way.
            models.Index(
                fields=["priority", "created_at"],
                name="track_waiting",
                condition=models.Q(status=TrackStatus.PENDING.value),
            ),
            models.Index(
                fields=["node"],
                name="track_under_way",
                condition=models.Q(status=TrackStatus.STARTED.value),
            ),
            models.Index(
                fields=["owner", "created_at"],
                name="track_unplayed",
                condition=models.Q(deliver=True, played_at=None),
            ),
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
    worker = models.CharField(max_length=64, blank=True)
    """Who took it: the id of a Worker, `embedded`, or empty while nobody has."""
    attempt = models.PositiveSmallIntegerField(default=1)
    """2 once it was given to another Worker after the first was lost."""
    parameters = models.JSONField(default=dict)
    result_json = models.JSONField(default=dict)
    trace = models.JSONField(db_default={})
    """Of a turn of a Run: what left it when, and why; see turn_trace."""
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


class Run(models.Model):
    """A dataset replayed through Clusters; see runs.Run, of which these are the fields."""

    id = models.CharField(primary_key=True, max_length=32)
    name = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=16)
    dataset = models.CharField(max_length=255)
    dataset_hash = models.CharField(max_length=64)
    turns = models.PositiveIntegerField()
    asked = models.JSONField(default=dict)
    pins = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = (models.Index(fields=["created_at"], name="run_by_time"),)

    def __str__(self) -> str:
        return self.id


class Annotation(models.Model):
    """What somebody, or a language model that judges, thinks of one criterion of a Track."""

    track = models.ForeignKey(
        Track, on_delete=models.CASCADE, related_name="annotations", db_constraint=False
    )
    author = models.CharField(max_length=128)
    """A person's name, or a model's."""
    is_model = models.BooleanField()
    criterion = models.CharField(max_length=64)
    score = models.FloatField()
    comment = models.TextField(blank=True)
    rubric_hash = models.CharField(max_length=64, blank=True)
    """SHA-256 of the rubric that it was judged by."""
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["track", "author", "criterion", "rubric_hash"], name="annotation_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.author}: {self.criterion} {self.score:g}"


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


class Worker(models.Model):
    """A process at the AI end, as the API process that it is connected to sees it."""

    id = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=128)
    transport = models.CharField(max_length=16)
    """`websocket`, or `http` for third-party workers that poll."""
    node = models.CharField(max_length=64, blank=True)
    token = models.CharField(max_length=32, blank=True)
    tasks = models.JSONField(default=list)
    """Of each Module that it serves: task_name, version, whether it is loaded."""
    hardware = models.JSONField(default=dict)
    concurrency = models.PositiveIntegerField(default=1)
    running = models.PositiveIntegerField(default=0)
    draining = models.BooleanField(default=False)
    clock_offset_s = models.FloatField(null=True)
    """Its monotonic clock less that of the API process, measured at the handshake."""
    round_trip_s = models.FloatField(null=True)
    connected_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    disconnected_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (models.Index(fields=["heartbeat_at"], name="worker_by_heartbeat"),)

    def __str__(self) -> str:
        return self.name


class Node(models.Model):
    """An API process. One whose heartbeat is older than its lease is dead to the others."""

    id = models.CharField(primary_key=True, max_length=64)
    url = models.CharField(max_length=255)
    """Where the other processes reach it."""
    version = models.CharField(max_length=32)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.id


class Token(models.Model):
    """A token: its id is public, of its secret only the SHA-256 is kept."""

    id = models.CharField(primary_key=True, max_length=32)
    name = models.CharField(max_length=128)
    owner = models.CharField(max_length=128)
    """Who acts by it: what it starts belongs to this name."""
    project = models.CharField(max_length=64, default="default")
    role = models.CharField(max_length=16)
    scopes = models.JSONField(default=list)
    """Narrower than the role's where it is not empty."""
    secret_hash = models.CharField(max_length=64)
    created_by = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.role})"


class AuditEntry(models.Model):
    """Who did what, to what, from where."""

    at = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=128)
    token = models.CharField(max_length=32, blank=True)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=64, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target}"


class IdempotencyKey(models.Model):
    """A request that made something, so that its repetition is answered the same."""

    owner = models.CharField(max_length=128)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    """SHA-256 of the request; another request under the same key is refused."""
    track_id = models.CharField(max_length=163)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["owner", "key"], name="idempotency_key_once"),
        )

    def __str__(self) -> str:
        return self.key
