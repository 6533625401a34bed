"""The listener: reads the reply's Speech, notes the first audible sample, knows what is left."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from turnlab.chunks import Origin, Speech
from turnlab.clock import Clock
from turnlab.streams import Stream

AUDIBLE = 0.01
"""Amplitude (-40 dBFS) from which a sample counts as audible."""

SHORT_OF_SOUND_S = 0.3
"""With less than this left to play, the stages towards the next sound are urgent."""

NAME = "listener"


@dataclass
class Listener:
    """Follows the playing of a reply as a loudspeaker would: each piece after the one before."""

    clock: Clock
    heard: Origin | None = None
    """The link to the first audible Speech; None until it was read."""
    lead_s: float = 0.0
    """From reading that Speech to its first audible sample: quiet, or pieces before it."""
    plays_until_s: float = field(default=float("-inf"))

    @property
    def short_of_sound(self) -> bool:
        """Whether the person hears nothing, or soon will not."""
        return self.clock.now() > self.plays_until_s - SHORT_OF_SOUND_S

    @property
    def first_audible_s(self) -> float | None:
        """The moment of the first audible sample, on the host's clock."""
        return None if self.heard is None else self.heard.emitted_s + self.lead_s

    async def listen(self, stream: Stream[Speech]) -> None:
        """Read `stream` to its end. Raises what it failed with."""
        reader = stream.read()
        async for speech in reader:
            starts_s = max(self.plays_until_s, reader.read_s)
            self.plays_until_s = starts_s + speech.duration_s
            quiet = first_audible(speech)
            if self.heard is None and quiet is not None:
                self.lead_s = starts_s - reader.read_s + quiet / speech.sample_rate
                self.heard = Origin(
                    producer=NAME,
                    emitted_s=reader.read_s,
                    cause=speech.origin,
                    asked_s=reader.asked_s,
                    read_s=reader.read_s,
                )


def first_audible(speech: Speech) -> int | None:
    """The index of the first sample at or above -40 dBFS, None if there is none."""
    loud = np.abs(speech.samples) >= AUDIBLE
    return int(loud.argmax()) if loud.any() else None
