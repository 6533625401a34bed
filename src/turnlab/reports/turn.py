"""What every report is made from: one turn as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from turnlab.profiles import Span
from turnlab.tracks import TrackStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """One Task of a turn."""

    name: str
    """The Component's name."""
    task_name: str
    status: str
    error_code: str = ""
    latency_profile: Mapping[str, float] = field(default_factory=dict)
    """`ts_*` in seconds since the start of the Track; `model_*` and the like as durations."""
    result_profile: Mapping[str, Any] = field(default_factory=dict)
    """What it made, as JSON."""
    usage: Mapping[str, float] | None = None
    """What a provider charges for, such as `input_tokens`; None for what runs on this machine."""
    cost_usd: float | None = None
    """None for what costs nothing, and where there is a usage: for what is not known."""

    def point_s(self, name: str) -> float | None:
        """When `ts_{name}` was, in seconds since the start of the Track."""
        return self.latency_profile.get(f"ts_{name}")

    @property
    def model_s(self) -> float:
        """Its time of inference in seconds: the sum of all `model_*`."""
        return sum(s for key, s in self.latency_profile.items() if key.startswith("model_"))

    def as_json(self) -> dict[str, Any]:
        """The Task as `--json` prints it."""
        return asdict(
            replace(
                self,
                latency_profile=dict(self.latency_profile),
                result_profile=dict(self.result_profile),
                usage=None if self.usage is None else dict(self.usage),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReport:
    """One turn. Durations are in seconds; `spans` begin at the last voiced sample, at 0."""

    track_id: str
    cluster: str
    mode: str
    status: str
    conversation_id: str | None = None
    pace: str = ""
    """How the audio came in, such as `whole` or `realtime`."""
    transcript: str = ""
    reply: str = ""
    context: tuple[tuple[str, str], ...] = ()
    """What was seen, felt and found beside it, each with a word for what it is."""
    speech_s: float | None = None
    """Length of the user's recording."""
    voice_to_voice_s: float | None = None
    spans: tuple[Span, ...] = ()
    """The critical path, contiguous; its sum is `voice_to_voice_s`."""
    tasks: tuple[TaskReport, ...] = ()
    zero_s: float = 0.0
    """The last voiced sample, in seconds since the start of the Track: the 0 of `spans`."""
    verdict: Mapping[str, Any] | None = None
    """`outcome` (`pass`, `fail` or `undecided`), `sentence`, and whatever else led to it."""
    error: Mapping[str, str] | None = None
    """`code` and `message`."""
    label: str = ""
    """What people call the turn, such as the file name of the utterance."""
    question_wav: bytes | None = None
    reply_wav: bytes | None = None
    question_file: str = ""
    """A path relative to the report, linked where there are no bytes to embed."""
    reply_file: str = ""

    @property
    def counts(self) -> bool:
        """Whether it belongs in the statistics: completed, and a reply was heard."""
        heard = self.voice_to_voice_s is not None and math.isfinite(self.voice_to_voice_s)
        return heard and self.status == TrackStatus.COMPLETED

    @property
    def charged(self) -> tuple[TaskReport, ...]:
        """The Tasks that a provider charges for."""
        return tuple(task for task in self.tasks if task.usage is not None)

    @property
    def cost_usd(self) -> float | None:
        """What providers charge for the turn; None if that is not known of one of its Tasks."""
        costs = [task.cost_usd for task in self.charged]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    @property
    def name(self) -> str:
        """The label, or the track_id where there is none."""
        return self.label or self.track_id

    def as_json(self) -> dict[str, Any]:
        """The object that `turnlab run --json` prints for the turn."""
        keys = ("track_id", "cluster", "mode", "status", "conversation_id")
        texts = ("transcript", "reply", "speech_s")
        return {
            **{key: getattr(self, key) for key in (*keys, *texts)},
            "context": dict(self.context),
            "voice_to_voice_s": self.voice_to_voice_s,
            "cost_usd": self.cost_usd,
            "spans": [span.as_json() for span in self.spans],
            "tasks": [task.as_json() for task in self.tasks],
            "verdict": None if self.verdict is None else dict(self.verdict),
            "error": None if self.error is None else dict(self.error),
        }
