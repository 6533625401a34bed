"""What the REST API takes and gives, as pydantic models: the OpenAPI schema is made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Schema
from ninja.params.functions import Header
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints

from turnlab.tracks import Mode, TrackStatus

MOST_IMAGES = 16
"""Pictures of one Track."""


def _storable(text: str) -> str:
    """`text` if a database takes it. Raises ValueError."""
    if "\0" in text:
        raise ValueError("holds NUL")
    text.encode()  # raises UnicodeEncodeError, a ValueError, for halves of surrogate pairs
    return text


Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_]+$")]
"""Of a Cluster, a Component or a task."""
Text = Annotated[str, AfterValidator(_storable)]
Typed = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100_000, pattern=r"\S"),
    AfterValidator(_storable),
]
"""Something to say; blanks alone are nothing."""
Owner = Annotated[str, Field(max_length=128), AfterValidator(_storable)]
ConversationId = Annotated[str, Field(pattern=r"^(new|C-[0-9a-f]{32})$")]
Cursor = Annotated[str, Field(max_length=400, pattern=r"^[A-Za-z0-9_=-]+$")]
Consent = Literal["granted", "refused", ""]


Limit = Annotated[int, Field(ge=1, le=200)]
Wait = Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="The same key and request again give the same answer, and make nothing new.",
    ),
]
LastEventId = Annotated[str, Header(alias="Last-Event-ID", max_length=64)]


class Strict(Schema):
    """A request: unknown fields are mistakes, and told."""

    model_config = ConfigDict(extra="forbid")


class StartTrack(Strict):
    """What to run. The sound and the pictures are parts of their own beside it."""

    cluster: Name = Field(description="The Cluster to run; GET /api/v1/clusters lists them.")
    mode: Mode = Field(Mode.STREAMED, description="When each Component begins.")
    conversation: ConversationId | None = Field(
        None, description="`new`, or the id of one of your Conversations; none by default."
    )
    overrides: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="Parameters by Component. A client may set those that the Cluster has open.",
    )
    priority: Literal["live", "batch"] = Field("live", description="`live`: somebody waits.")
    deliver: bool = Field(False, description="Whether `turnlab respond` is to play the reply.")
    last_voiced_s: Annotated[float, Field(ge=0, le=86_400)] | None = Field(
        None,
        description="Where in the recording the user's last word ends, in seconds, where the "
        "client has measured it; the server does not.",
    )
    waited_s: Annotated[float, Field(ge=0, le=60)] = Field(
        0.0,
        description="How long the client waited after that word before it sent the recording, in "
        "seconds: it is part of the voice-to-voice latency.",
    )
    text: Typed | None = Field(None, description="What the user typed, instead of a recording.")


class Rerun(Strict):
    """Run a Track's input again."""

    cluster: Name | None = Field(None, description="Another Cluster; by default the same one.")
    deliver: bool = Field(False, description="Whether `turnlab respond` is to play the reply.")


class Accepted(Schema):
    """A Track that was accepted: it is kept, and will run even if the server restarts."""

    track_id: str
    status: TrackStatus
    conversation_id: str | None


class Failure(Schema):
    """Why a Track or a Task failed."""

    code: str
    message: str


class TrackRow(Schema):
    """A Track in a list. Durations are in seconds."""

    track_id: str
    cluster: str
    cluster_hash: str
    mode: Mode
    status: TrackStatus
    priority: str
    owner: str
    project: str
    conversation_id: str | None
    created_at: datetime
    updated_at: datetime
    speech_s: float | None
    last_voiced_s: float | None
    voice_to_voice_s: float | None
    deliver: bool
    played_at: datetime | None
    rerun_of: str | None
    error: Failure | None


class TrackList(Schema):
    """A page of Tracks, newest first."""

    items: list[TrackRow]
    next: str | None = Field(None, description="The `cursor` of the next page; null at the end.")


class TaskRow(Schema):
    """One run of one Component."""

    id: str
    name: str
    task_name: str
    status: str
    worker: str
    attempt: int
    parameters: dict[str, Any]
    result_profile: dict[str, Any]
    latency_profile: dict[str, Any]
    created_at: datetime
    error: Failure | None


class ContentRow(Schema):
    """Something that was said, shown, found, replied or spoken."""

    id: str
    kind: str
    task_id: str | None = Field(description="The Task that made it; null for the user's own.")
    text: str
    profile: dict[str, Any]
    media_url: str | None = Field(
        description="A link to the sound or picture that needs no token and expires."
    )
    media_type: str | None
    duration_s: float | None
    sample_rate: int | None
    created_at: datetime


class SpanRow(Schema):
    """A piece of the critical path, in seconds from the last voiced sample at 0."""

    kind: str
    component: str
    label: str = ""
    start_s: float
    end_s: float


class TrackDetail(TrackRow):
    """A Track with its Tasks, where its time went, and what was said."""

    spans: list[SpanRow]
    host: dict[str, Any]
    node: str
    tasks: list[TaskRow]
    contents: list[ContentRow]


class Cancelled(Schema):
    """What a Track that was to be cancelled is now; it may end a moment later."""

    track_id: str
    status: TrackStatus


class Played(Schema):
    """Whether this call was the one that marked the reply as played."""

    track_id: str
    first: bool


class NextReply(Schema):
    """A reply that is to be played."""

    track_id: str
    cluster: str
    status: TrackStatus
    conversation_id: str | None
    created_at: datetime
    speech_url: str


class StartConversation(Strict):
    """A Conversation to begin."""

    consent: Consent = Field("", description="Whether the user lets the records be kept.")


class ChangeConversation(Strict):
    """What to change of a Conversation."""

    consent: Consent


class ConversationRow(Schema):
    """The turns of one session with one user."""

    id: str
    owner: str
    project: str
    consent: str
    created_at: datetime
    tracks: int


class ExchangeRow(Schema):
    """One turn of a Conversation."""

    text: str
    reply: str


class ConversationDetail(ConversationRow):
    """A Conversation with what was said in it."""

    exchanges: list[ExchangeRow]


class ConversationList(Schema):
    """A page of Conversations, newest first."""

    items: list[ConversationRow]
    next: str | None = Field(None, description="The `cursor` of the next page; null at the end.")


class ComponentRow(Schema):
    """One step of a Cluster."""

    name: str
    component_type: str
    task_name: str | None
    params: dict[str, Any]
    open: list[str] = Field(description="Parameters that any client may override.")
    after: list[str]


class ClusterRow(Schema):
    """A Cluster, and whether it can run on this server now."""

    name: str
    description: str
    budget_s: float | None
    hash: str
    components: list[ComponentRow]
    needs: list[str] = Field(description="The kinds that the user has to give.")
    runnable: bool
    missing: list[str] = Field(description="What keeps it from running, in words.")


class ClusterList(Schema):
    """All Clusters."""

    items: list[ClusterRow]


class ModuleRow(Schema):
    """A Module, and how busy the workers for it are."""

    task_name: str
    version: str
    description: str
    consumes: list[str]
    uses: list[str]
    produces: str
    parameters: dict[str, Any] = Field(description="By name, as JSON schema.")
    places: int = Field(description="How many of its Tasks run at once on all workers together.")
    running: int
    waiting: int


class ModuleList(Schema):
    """All Modules."""

    items: list[ModuleRow]


class WorkerRow(Schema):
    """A process that runs Tasks."""

    id: str
    name: str
    transport: str
    node: str
    tasks: list[Any]
    hardware: dict[str, Any]
    concurrency: int
    running: int
    draining: bool
    clock_offset_s: float | None
    round_trip_s: float | None
    connected_at: datetime
    heartbeat_at: datetime


class WorkerList(Schema):
    """The workers that are connected, to whichever process of the API end."""

    items: list[WorkerRow]


class Problem(Schema):
    """A failure (RFC 9457). `code` is stable; docs/reference/errors.md lists them."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    component: str | None = None


class TrackFilter(Strict):
    """Which Tracks to list."""

    cluster: Name | None = None
    status: TrackStatus | None = None
    owner: Owner | None = Field(None, description="Whose; others' need the scope tracks:read_all.")
    conversation: Annotated[str, Field(pattern=r"^C-[0-9a-f]{32}$")] | None = None
    since: AwareDatetime | None = Field(None, description="Created at or after this moment.")
    until: AwareDatetime | None = Field(None, description="Created before this moment.")
    min_latency: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = Field(
        None, description="Voice-to-voice latency of at least so many seconds."
    )
    cursor: Cursor | None = None
    limit: Limit = 50
