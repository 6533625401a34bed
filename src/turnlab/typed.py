"""Turns that were typed, and recordings that were uploaded: what a server is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnlab.audio import RecordedTurn, Recording
from turnlab.chunks import Audio, Chunk, Image, Reply, Transcript
from turnlab.clock import Clock
from turnlab.streams import Stream


@dataclass(frozen=True, kw_only=True)
class UploadedTurn:
    """A recording that came whole; its turn was over when the client heard its last voiced sample.

    So what the client waited to be sure of that, and checking and keeping the recording here,
    count towards the latency.
    """

    recording: Recording
    clock: Clock
    received_s: float
    """The moment at which the upload was complete, on the host's clock."""
    waited_s: float = 0.0
    """From the last voiced sample to the moment at which the client sent it, as it says."""
    last_voiced_s: float | None = None
    """Where in the recording the last voiced sample lies, as the client says."""
    images: tuple[Image, ...] = ()

    @property
    def kinds(self) -> tuple[type[Chunk], ...]:
        """Audio, and Image if there are pictures."""
        return (Audio, Image) if self.images else (Audio,)

    @property
    def speech_s(self) -> float:
        """Length of the recording in seconds."""
        return self.recording.duration_s

    def turn_over_s(self, start_s: float) -> float:
        """The moment of the last voiced sample, on the host's clock."""
        return self.received_s - self.waited_s

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put pictures and recording into their streams and end them. Raises InvalidAudio."""
        whole = RecordedTurn(recording=self.recording, clock=self.clock, images=self.images)
        await whole.feed(streams, start_s)


@dataclass(frozen=True, kw_only=True)
class TypedTurn:
    """A turn without sound: a text, a picture or both."""

    received_s: float
    text: str | None = None
    text_is: type[Transcript] | type[Reply] = Transcript
    """What the text stands for: what the user said, or what a Module is to speak."""
    images: tuple[Image, ...] = ()
    speech_s: float | None = None
    last_voiced_s: float | None = None

    @property
    def kinds(self) -> tuple[type[Chunk], ...]:
        """The text's kind where there is one, and Image where there are pictures."""
        pictures: tuple[type[Chunk], ...] = (Image,) if self.images else ()
        return pictures if self.text is None else (self.text_is, *pictures)

    def turn_over_s(self, start_s: float) -> float:
        """The moment at which all of it was there, on the host's clock."""
        return self.received_s

    async def feed(self, streams: Mapping[type[Chunk], Stream[Any]], start_s: float) -> None:
        """Put pictures and text into their streams and end them."""
        for image in self.images:
            await streams[Image].put(image)
        if self.text is not None:
            said = (
                Reply(text=self.text)
                if self.text_is is Reply
                else Transcript(text=self.text, final=True)
            )
            await streams[self.text_is].put(said)
        for stream in streams.values():
            stream.end()
