"""The reply of a Realtime server, gathered from its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from turnlab.chunks import Speech
from turnlab.errors import (
    EmptyReply,
    ProviderFailed,
    ProviderRefused,
    TooMuchOutput,
    TurnlabError,
)
from turnlab.openai_api.chat import count
from turnlab.openai_api.failures import REASON_CHARACTERS, clean_reason
from turnlab.openai_api.params import Server
from turnlab.prices import Usage
from turnlab.realtime_api.connection import told_error
from turnlab.realtime_api.sound import FORMAT, RATE, Decoder

MOST_CHARACTERS = 1_000_000
"""Of the words of one reply, and of what was heard."""

ID_CHARACTERS = 256
"""Most characters of the server's id of a reply."""


class SpokenReply:
    """What was said and heard so far. Events of unknown types count for nothing."""

    def __init__(self, server: Server, max_speech_s: float) -> None:
        self.accepted = False
        """Whether the server has taken over the session's settings."""
        self.ended = False
        self.finish_reason = ""
        """`stop`, or `length` where the server's limit of tokens ended the reply."""
        self.response_id = ""
        self.usage = Usage()
        self.transcript: str | None = None
        """What the server heard; None while it has not said so."""
        self.unheard = ""
        """Why it will not."""
        self._server, self._max_speech_s = server, max_speech_s
        self._decoder, self._words = Decoder(), Words()
        self._samples = 0
        self._written = ""

    @property
    def heard(self) -> bool:
        """Whether nothing more is to come about what the user said."""
        return self.transcript is not None or bool(self.unheard)

    def take(self, event: Mapping[str, Any]) -> Speech | None:
        """Take one event; the sound that it brings, with the whole words that came before it.

        Raises ProviderFailed, ProviderRefused, WrongKey, RateLimited, EmptyReply, TooMuchOutput.
        """
        match event.get("type"):
            case "session.updated":
                self._accept(event)
            case "conversation.item.input_audio_transcription.completed":
                self._hear(event.get("transcript"))
            case "conversation.item.input_audio_transcription.failed":
                self.unheard = self._reason(event, "the transcription failed")
            case "response.output_audio_transcript.delta":
                self._words.add(_text(event, "delta"))
            case "response.output_audio_transcript.done":
                self._words.end(_text(event, "transcript"))
            case "response.output_text.delta":
                self._written = (self._written + _text(event, "delta"))[:REASON_CHARACTERS]
            case "response.output_audio.delta":
                return self._sound(event)
            case "response.done":
                self._end(event.get("response"))
        return None

    def rest(self) -> Speech | None:
        """The words that no sound followed, as a Speech without samples; None if there are none."""
        self._words.end("")
        text = self._words.ready()
        silent = np.empty(0, dtype=np.float32)
        return Speech(samples=silent, sample_rate=RATE, text=text) if text else None

    def _hear(self, transcript: object) -> None:
        """Take what the server heard; the reply counts even if that is nothing."""
        if not isinstance(transcript, str):
            self.unheard = f"{self._server.name} sent no text of it."
        elif len(transcript) > MOST_CHARACTERS:
            self.unheard = f"It has more than {MOST_CHARACTERS:,} characters."
        else:
            self.transcript = transcript.strip()

    def _accept(self, event: Mapping[str, Any]) -> None:
        audio = _mapping(_mapping(event.get("session")).get("audio"))
        told = _mapping(_mapping(audio.get("output")).get("format"))
        if {**FORMAT, **told} != FORMAT:
            other = clean_reason(told.get("type"), self._server)
            raise ProviderRefused(f"{self._server.name} sends another format than asked: {other}")
        self.accepted = True

    def _sound(self, event: Mapping[str, Any]) -> Speech | None:
        try:
            samples = self._decoder.decode(event.get("delta"))
        except ValueError as error:
            raise ProviderFailed(f"{self._server.name} sent sound that is {error}.") from error
        self._samples += len(samples)
        if self._samples > self._max_speech_s * RATE:
            raise TooMuchOutput(
                f"{self._server.name} replied for more than {self._max_speech_s:g} s; raise "
                "max_speech_s or ask for less."
            )
        if not len(samples):
            return None
        return Speech(samples=samples, sample_rate=RATE, text=self._words.ready())

    def _end(self, response: object) -> None:
        self.ended = True
        told = _mapping(response)
        self.response_id = _text(told, "id")[:ID_CHARACTERS]
        self._count(told.get("usage"))
        details, status = _mapping(told.get("status_details")), told.get("status")
        cut = status == "incomplete" and details.get("reason") == "max_output_tokens"
        if status == "completed" or (cut and self._samples):
            if not self._samples:
                raise self._soundless()
            self.finish_reason = "length" if cut else "stop"
            return
        if status == "failed":
            error = {"type": "server_error", **_mapping(details.get("error"))}
            raise told_error(self._server, error)
        reason = clean_reason(details.get("reason") or status, self._server)
        if details.get("reason") == "content_filter":
            raise ProviderRefused(f"{self._server.name} cut the reply off: {reason}")
        raise ProviderFailed(f"{self._server.name} did not complete the reply: {reason}")

    def _soundless(self) -> TurnlabError:
        wrote = f"; it wrote: {clean_reason(self._written, self._server)}" if self._written else "."
        return EmptyReply(f"{self._server.name} replied without a sound{wrote}")

    def _count(self, usage: object) -> None:
        counts = _mapping(usage)
        given = _mapping(counts.get("input_token_details"))
        cached = _mapping(given.get("cached_tokens_details"))
        made = _mapping(counts.get("output_token_details"))
        self.usage = Usage(
            input_tokens=count(counts.get("input_tokens")),
            cached_input_tokens=count(given.get("cached_tokens")),
            audio_input_tokens=count(given.get("audio_tokens")),
            cached_audio_input_tokens=count(cached.get("audio_tokens")),
            output_tokens=count(counts.get("output_tokens")),
            audio_output_tokens=count(made.get("audio_tokens")),
        )

    def _reason(self, event: Mapping[str, Any], otherwise: str) -> str:
        said = _mapping(event.get("error")).get("message")
        return clean_reason(said or otherwise, self._server)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(told: Mapping[str, Any], name: str) -> str:
    """A text that the server gives; nothing where it gives something else, such as null."""
    value = told.get(name)
    return value if isinstance(value, str) else ""


class Words:
    """A text that comes in pieces cut anywhere, and leaves in whole words.

    Pieces that are joined by a space again give the text, whatever white space it had.
    """

    def __init__(self) -> None:
        self._pending = ""
        self._characters = 0

    def add(self, text: str) -> None:
        """Go on with the text. Raises TooMuchOutput."""
        self._characters += len(text)
        if self._characters > MOST_CHARACTERS:
            raise TooMuchOutput(f"The reply has more than {MOST_CHARACTERS:,} characters.")
        self._pending += text

    def end(self, whole: str) -> None:
        """The text has ended; `whole` is it, for servers that send no pieces."""
        if not self._characters:
            self.add(whole)
        self._pending += " "

    def ready(self) -> str:
        """The words that are complete, each once."""
        cut = max((i for i, c in enumerate(self._pending) if c.isspace()), default=-1) + 1
        words, self._pending = self._pending[:cut], self._pending[cut:]
        return " ".join(words.split())
