"""The starter dataset: questions that the local voice speaks, with noise, silence and speed varied,
and the recordings of people that the Moonshine package carries."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from turnlab.bench.datasets.starter_texts import ASKED, CONVERSATIONS, SHIPPED, TURNS
from turnlab.bench.datasets.writer import Medium, new_dataset
from turnlab.chunks import Samples
from turnlab.errors import MissingModel
from turnlab.modules.text2speech import Text2Speech
from turnlab.packaged import packaged

SPEEDS = (0.85, 1.0, 1.0, 1.1, 1.25)
SNRS_DB = (None, None, 20.0, 10.0, 5.0)
"""Signal-to-noise ratios; None is without noise."""

NOISES = ("white", "pink")
LEAD_S = (0.05, 1.0)
TRAIL_S = (0.3, 1.5)

_PEAK = 0.5
"""Of the voice; noise on it does not clip at any of the ratios."""


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A turn that the voice speaks, and how."""

    id: str
    text: str
    reply: str | None
    conversation: str | None = None
    index: int = 0
    speed: float
    snr_db: float | None
    noise: str
    lead_s: float
    trail_s: float

    @property
    def values(self) -> dict[str, Any]:
        """What the manifest says of it."""
        manner = "slow" if self.speed < 1 else "fast" if self.speed > 1 else "even"
        sound = "clean" if self.snr_db is None else f"{self.snr_db:g}-db"
        values: dict[str, Any] = {"id": self.id, "transcript": self.text}
        if self.reply is not None:
            values["reply"] = self.reply
        if self.conversation is not None:
            values |= {"conversation": self.conversation, "index": self.index}
        return values | {
            "tags": ["spoken", manner, sound],
            "speed": self.speed,
            "noise": None if self.snr_db is None else self.noise,
            "snr_db": self.snr_db,
            "lead_s": self.lead_s,
            "trail_s": self.trail_s,
        }


def make_starter(out: Path, *, turns: int = TURNS, seed: int = 0) -> int:
    """Make the starter dataset in `out`; how many turns it has.

    The same seed gives the same dataset on the same machine, and a smaller one is the beginning
    of a larger one.

    Raises MissingModel if the voice or the recordings are not installed, InvalidDataset if `out`
    is there already.
    """
    spoken = iter(plan_spoken(seed))
    shipped = _shipped()
    with new_dataset(out) as writer:
        voice = _Voice(seed)
        try:
            for place in range(turns):
                # A recording of a person after every seventh question, as long as there are any.
                recording = next(shipped, None) if place % 8 == 7 else None
                if recording is not None:
                    writer.add(*recording)
                else:
                    turn = next(spoken)
                    writer.add(turn.values, Medium(f"audio/{turn.id}.wav", voice.speak(turn)))
        finally:
            voice.close()
    return len(writer)


def plan_spoken(seed: int) -> Iterator[Spoken]:
    """The spoken turns without end: some questions, a Conversation, and so on; then all again."""
    for number, (name, text, reply, conversation, index) in enumerate(_said()):
        rng = np.random.default_rng([seed, number])
        yield Spoken(
            id=name,
            text=text,
            reply=reply,
            conversation=conversation,
            index=index,
            speed=float(rng.choice(SPEEDS)),
            snr_db=SNRS_DB[rng.integers(len(SNRS_DB))],
            noise=str(rng.choice(NOISES)),
            lead_s=round(float(rng.uniform(*LEAD_S)), 3),
            trail_s=round(float(rng.uniform(*TRAIL_S)), 3),
        )


_Said = tuple[str, str, str | None, str | None, int]
"""Id, text, reply, Conversation and index."""


def _said() -> Iterator[_Said]:
    """Rounds of all there is to say; a Conversation comes after every fifth question."""
    for round_ in count(1):
        again = f"-{round_}" if round_ > 1 else ""
        asked: Iterator[_Said] = (
            (f"{_slug(text)}{again}", text, reply, None, 0) for text, reply in ASKED
        )
        for name, turns in CONVERSATIONS:
            yield from islice(asked, 5)
            for index, (text, reply) in enumerate(turns):
                yield f"{name}{again}-{index + 1}", text, reply, f"{name}{again}", index
        yield from asked


def _slug(text: str) -> str:
    return "-".join("".join(c for c in word if c.isalnum()) for word in text.lower().split())


def _shipped() -> Iterator[tuple[dict[str, Any], Medium]]:
    for name, transcript in SHIPPED:
        path = packaged("moonshine_voice", "assets", f"{name}.wav")
        if path is None:
            raise MissingModel(
                f"The recording {name}.wav is not installed: pip install moonshine-voice==0.1.0."
            )
        values: dict[str, Any] = {"id": name, "tags": ["recorded"]}
        known = {"transcript": transcript} if transcript is not None else {}
        yield values | known, Medium(f"audio/{name}.wav", path)


class _Voice:
    """The local voice, made to say the same thing in the same way each time."""

    def __init__(self, seed: int) -> None:
        self._module = Text2Speech(Text2Speech.Params(threads=1))
        self._seed = seed
        self._spoken = 0
        missing = Text2Speech.missing(self._module.params)
        if missing:
            raise MissingModel(" ".join(missing))
        import onnxruntime

        # The model draws numbers of its own, from a generator that is made when it is loaded.
        onnxruntime.set_seed(seed)
        self._module.load()

    def speak(self, turn: Spoken) -> bytes:
        """A WAV file of 16 bits."""
        params = Text2Speech.Params(speed=turn.speed, threads=1)
        voice, rate = self._module.speak(turn.text, params)
        rng = np.random.default_rng([self._seed, self._spoken, 1])
        self._spoken += 1
        samples = vary(voice, rate, turn, rng)
        file = io.BytesIO()
        soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
        return file.getvalue()

    def close(self) -> None:
        """Free the model."""
        self._module.close()


def vary(voice: Samples, rate: int, turn: Spoken, rng: np.random.Generator) -> Samples:
    """The voice between its silences, with noise over all of it (mono float32).

    The signal-to-noise ratio is that of the voice's mean power to that of the noise.
    """
    voice = voice * (_PEAK / max(float(np.abs(voice).max()), 1e-9))
    lead, trail = round(turn.lead_s * rate), round(turn.trail_s * rate)
    samples = np.pad(voice, (lead, trail)).astype(np.float32)
    if turn.snr_db is None:
        return samples
    noise = make_noise(turn.noise, len(samples), rng)
    power = float(np.mean(voice**2)) / 10 ** (turn.snr_db / 10)
    mixed: Samples = np.clip(samples + noise * np.sqrt(power), -1, 1).astype(np.float32)
    return mixed


def make_noise(kind: str, length: int, rng: np.random.Generator) -> Samples:
    """Noise of mean power 1: `white`, or `pink`, whose power falls by 3 dB an octave."""
    noise = rng.standard_normal(length)
    if kind == "pink":
        spectrum = np.fft.rfft(noise)
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
        noise = np.fft.irfft(spectrum, length)
    noise /= np.sqrt(np.mean(noise**2))
    return noise.astype(np.float32)


__all__ = ["TURNS", "Spoken", "make_noise", "make_starter", "plan_spoken", "vary"]
