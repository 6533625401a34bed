"""Turns that were typed, and recordings that were uploaded: what a server is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnlab.audio import RecordedTurn
from turnlab.chunks import Chunk, Image, Reply, Transcript
from turnlab.streams import Stream


@dataclass(frozen=True, kw_only=True)
class UploadedTurn(RecordedTurn):
    """A recording that came whole; its turn was over when its last byte was there.

    So checking and keeping it counts towards the latency.
    """

    received_s: float

    def turn_over_s(self, start_s: float) -> float:
        """The moment at which the upload was complete, on the host's clock."""
        return self.received_s


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
