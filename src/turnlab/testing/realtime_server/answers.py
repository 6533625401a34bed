"""What the server answers: the events of one response, in the protocol's order."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

import numpy as np

RATE = 24_000
"""The sample rate of its sound, in Hz."""


class Fault(StrEnum):
    """What may go wrong once a client is connected."""

    MUTE = "mute"
    """It accepts the connection and never says a word."""
    REFUSE_SESSION = "refuse_session"
    """It answers session.update with an error."""
    OTHER_FORMAT = "other_format"
    """It accepts session.update and says that it will send another format."""
    ERROR = "error"
    """It answers response.create with an error."""
    HANG = "hang"
    """It stops after half of the sound and keeps the connection open."""
    HALF = "half"
    """It closes the connection after half of the sound."""
    GARBAGE = "garbage"
    """It sends what is no JSON after half of the sound."""
    BROKEN_SOUND = "broken_sound"
    """It sends a delta that is no base64 after half of the sound."""
    FAILED = "failed"
    """The response ends as failed, after half of the sound."""
    INCOMPLETE = "incomplete"
    """The response ends as incomplete, after half of the sound."""
    CUT = "cut"
    """The response ends at the server's limit of tokens, after half of the sound."""
    TEXT_ONLY = "text_only"
    """The response holds text and no sound."""
    UNHEARD = "unheard"
    """The transcription of the input fails."""
    NULL_TRANSCRIPT = "null_transcript"
    """The transcription of the input is null."""
    NEWS = "news"
    """It sends an event of a type that nobody knows before each delta."""


_UNFINISHED = {
    Fault.FAILED: "failed",
    Fault.INCOMPLETE: "incomplete",
    Fault.CUT: "incomplete",
}
"""How a response ends that is not completed."""


class Then(Enum):
    """What comes instead of a further event."""

    STALL = "nothing more, the response stays open"
    CLOSE = "the connection closes"


Step = dict[str, Any] | str | Then
"""An event, a message that is no event, or what comes instead."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What each response says; the default is a second of a tone."""

    text: str = "It is sunny today, and warm."
    heard: str = "What's the weather like?"
    pcm: bytes = field(
        default=(np.sin(np.arange(RATE) * 0.1) * 8192).astype("<i2").tobytes(), repr=False
    )
    """Its sound: 16 bits, mono, 24 kHz."""
    deltas: int = 10
    """How many pieces the sound comes in."""
    usage: Mapping[str, Any] = field(
        default_factory=lambda: {
            "total_tokens": 70,
            "input_tokens": 30,
            "output_tokens": 40,
            "input_token_details": {
                **{"text_tokens": 10, "audio_tokens": 20, "cached_tokens": 12},
                "cached_tokens_details": {"text_tokens": 4, "audio_tokens": 8},
            },
            "output_token_details": {"text_tokens": 8, "audio_tokens": 32},
        }
    )


def ids(what: str) -> str:
    """A new id such as the protocol has: resp_0a1b2c..."""
    return f"{what}_{secrets.token_hex(8)}"


class Response:
    """One response while it is given."""

    def __init__(
        self, answer: Answer, fault: Fault | None, metadata: Any, previous_item: str | None
    ) -> None:
        self.answer, self.fault, self.previous_item = answer, fault, previous_item
        self.object: dict[str, Any] = {
            "id": ids("resp"),
            "object": "realtime.response",
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "output_modalities": ["audio"],
            "metadata": metadata,
            "usage": None,
        }
        self.item: dict[str, Any] = {
            "id": ids("item"),
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }

    def steps(self) -> Iterator[Step]:
        """Everything that is sent, in order."""
        of = {"response_id": self.object["id"], "output_index": 0}
        yield {"type": "response.created", "response": dict(self.object)}
        yield {"type": "response.output_item.added", **of, "item": dict(self.item)}
        yield self._in_conversation("added")
        for step in self._content({**of, "item_id": self.item["id"], "content_index": 0}):
            yield step
            if isinstance(step, Then):
                return
        if self.fault in _UNFINISHED:
            yield self.done(_UNFINISHED[self.fault])
            return
        self.item["status"] = "completed"
        yield {"type": "response.output_item.done", **of, "item": dict(self.item)}
        yield self._in_conversation("done")
        yield self.done("completed")

    def done(self, status: str) -> dict[str, Any]:
        """The event that ends the response."""
        details: dict[str, Any] = {"type": status}
        if status == "failed":
            error = {"type": "server_error", "code": "inference_failed"}
            details["error"] = {**error, "message": "The model stumbled."}
        elif status == "incomplete":
            is_cut = self.fault is Fault.CUT
            details["reason"] = "max_output_tokens" if is_cut else "content_filter"
        elif status == "cancelled":
            details["reason"] = "client_cancelled"
        ended = {"status": status, "status_details": details, "output": [dict(self.item)]}
        return {
            "type": "response.done",
            "response": {**self.object, **ended, "usage": dict(self.answer.usage)},
        }

    def _in_conversation(self, what: str) -> dict[str, Any]:
        previous = {"previous_item_id": self.previous_item}
        return {"type": f"conversation.item.{what}", "item": dict(self.item), **previous}

    def _content(self, of: dict[str, Any]) -> Iterator[Step]:
        text = self.answer.text
        if self.fault is Fault.TEXT_ONLY:
            yield {"type": "response.content_part.added", **of, "part": {"type": "text"}}
            yield {"type": "response.output_text.delta", **of, "delta": text}
            yield {"type": "response.output_text.done", **of, "text": text}
            part = {"type": "text", "text": text}
            yield {"type": "response.content_part.done", **of, "part": part}
            self.item["content"] = [{"type": "output_text", "text": text}]
            return
        yield {"type": "response.content_part.added", **of, "part": {"type": "audio"}}
        for index, (words, sound) in enumerate(self._pieces()):
            if index == self.answer.deltas // 2 and (step := self._fault()) is not None:
                yield step
                if self.fault in _UNFINISHED:
                    return
            if self.fault is Fault.NEWS:
                yield {"type": "response.mood.changed", **of, "mood": "cheerful"}
            yield {"type": "response.output_audio_transcript.delta", **of, "delta": words}
            delta = base64.b64encode(sound).decode()
            yield {"type": "response.output_audio.delta", **of, "delta": delta}
        yield {"type": "response.output_audio.done", **of}
        yield {"type": "response.output_audio_transcript.done", **of, "transcript": text}
        part = {"type": "audio", "transcript": text}
        yield {"type": "response.content_part.done", **of, "part": part}
        self.item["content"] = [{"type": "output_audio", "transcript": text}]

    def _pieces(self) -> Iterator[tuple[str, bytes]]:
        """Words and sound in equal pieces, cut wherever that falls."""
        count, text, pcm = self.answer.deltas, self.answer.text, self.answer.pcm
        for i in range(count):
            words = text[i * len(text) // count : (i + 1) * len(text) // count]
            samples = len(pcm) // 2
            yield words, pcm[i * samples // count * 2 : (i + 1) * samples // count * 2]

    def _fault(self) -> Step | None:
        """What goes wrong in the middle of the sound."""
        match self.fault:
            case Fault.HANG:
                return Then.STALL
            case Fault.HALF:
                return Then.CLOSE
            case Fault.GARBAGE:
                return '{"type": "response.output_audio.delta", "delta": '
            case Fault.BROKEN_SOUND:
                return {"type": "response.output_audio.delta", "delta": "no base64!"}
            case Fault.FAILED | Fault.INCOMPLETE | Fault.CUT:
                return {"type": "rate_limits.updated", "rate_limits": []}
            case _:
                return None
