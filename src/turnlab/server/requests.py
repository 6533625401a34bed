"""What is asked of a Track, as it is kept in its row so that any API process can run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from turnlab.chunks import Audio, Chunk, Image, Reply, Transcript
from turnlab.conversations import Exchange
from turnlab.tracks import Mode
from turnlab.work import Priority


@dataclass(frozen=True, kw_only=True)
class TrackRequest:
    """A turn to be run: through `cluster`, or by the one Module that performs `task_name`.

    `audio` and `images` are names in the media storage, `overrides` parameters by Component.
    """

    cluster: str = ""
    task_name: str = ""
    mode: Mode = Mode.STREAMED
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conversation_id: str | None = None
    text: str | None = None
    """What the user typed instead of speaking; for a Module that speaks, what it is to say."""
    history: tuple[Exchange, ...] = ()
    """Earlier exchanges that the client itself kept; not with a `conversation_id`."""
    audio: str = ""
    images: tuple[str, ...] = ()
    last_voiced_s: float | None = None
    """Where in the recording the last voiced sample lies, where the client has measured it."""
    waited_s: float = 0.0
    """From that sample to the moment at which the client sent the recording."""
    priority: Priority = Priority.LIVE
    wanted: str = ""
    """The kind of Chunk that alone is wanted; Components it does not come from are left out."""
    deliver: bool = False
    """Whether `turnlab respond` is to play the reply."""
    rerun_of: str = ""
    begun: int = 0
    """How often an API process began with it; one that is lost is begun once more, no oftener."""

    def as_json(self) -> dict[str, Any]:
        """The request as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrackRequest:
        """What `as_json` made; keys of another version are passed over."""
        known = {f.name for f in fields(cls)} & set(values)
        made = {name: values[name] for name in known}
        made["mode"] = Mode(made.get("mode", Mode.STREAMED))
        made["priority"] = Priority(made.get("priority", Priority.LIVE))
        made["images"] = tuple(made.get("images", ()))
        made["history"] = tuple(Exchange(**each) for each in made.get("history", ()))
        return cls(**made)


def given_kinds(
    request: TrackRequest, *, text_is: type[Chunk] = Transcript
) -> tuple[type[Chunk], ...]:
    """The kinds that the user gives; typed text is a Transcript, or a Reply to be spoken."""
    pictures: tuple[type[Chunk], ...] = (Image,) if request.images else ()
    if request.text is not None:
        return (Reply if text_is is Reply else Transcript, *pictures)
    return ((Audio,) if request.audio else ()) + pictures
