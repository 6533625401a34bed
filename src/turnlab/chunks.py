"""The typed pieces that flow between Modules, and how pieces of one kind gather into a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from turnlab.errors import InvalidAudio

Samples = NDArray[np.float32]

MOST_CHARACTERS = 1_000_000
"""Of one Chunk's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a Chunk came from: a link of the chain that leads back to what the user said.

    All moments are on the host's monotonic clock. The chain holds origins, never Chunks, so
    that remembering the cause keeps no media in memory.
    """

    producer: str
    """The Component that emitted it; `user` for the input of the Track."""
    emitted_s: float
    cause: Origin | None = None
    """The newest Chunk or end that the producer had read; None for what the user said."""
    asked_s: float = 0.0
    """When the producer began to wait for the cause."""
    read_s: float = 0.0
    """When the producer got the cause."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of one kind. The stream that carries it stamps its `origin`, once."""

    kind: ClassVar[str] = ""
    origin: Origin | None = field(default=None, compare=False, repr=False)

    @classmethod
    def gather(cls, chunks: Sequence[Self]) -> Self:
        """The whole of which `chunks` (at least one) are the pieces: by default the newest."""
        return chunks[-1]

    @property
    def nbytes(self) -> int:
        """Bytes of media held in memory; 0 for kinds that hold none."""
        return 0

    def profile(self) -> dict[str, Any]:
        """The Chunk as the JSON that `result_profile` keeps: no media, no origin."""
        return {}

    def flaw(self) -> str:
        """What is wrong with it, for whoever made it; empty if nothing."""
        text = getattr(self, "text", "")
        if not isinstance(text, str):
            return f"its text is {type(text).__name__}"
        if len(text) > MOST_CHARACTERS:
            return f"its text has more than {MOST_CHARACTERS:,} characters"
        return ""

    def stamp(self, origin: Origin) -> None:
        """Fix the origin. Only the stream that first carries the Chunk calls this."""
        object.__setattr__(self, "origin", origin)


@dataclass(frozen=True, kw_only=True)
class Sound(Chunk):
    """Mono samples as float32 in -1..1, shape (n,), and their rate in Hz."""

    samples: Samples
    sample_rate: int

    def flaw(self) -> str:
        samples = self.samples
        if not isinstance(samples, np.ndarray) or samples.ndim != 1:
            return "its samples are no array of one dimension"
        if samples.dtype != np.float32:
            return f"its samples are {samples.dtype}, not float32"
        if not isinstance(self.sample_rate, int) or self.sample_rate <= 0:
            return f"its sample rate is {self.sample_rate!r}"
        if not np.isfinite(samples).all():
            return "some of its samples are no numbers"
        return super().flaw()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def nbytes(self) -> int:
        return int(self.samples.nbytes)

    @classmethod
    def gather(cls, chunks: Sequence[Self]) -> Self:
        """All pieces end to end. Raises InvalidAudio if their rates differ."""
        if len({chunk.sample_rate for chunk in chunks}) != 1:
            raise InvalidAudio("Pieces of one sound must share one sample rate.")
        joined = np.concatenate([chunk.samples for chunk in chunks])
        return replace(chunks[-1], samples=joined)

    def profile(self) -> dict[str, Any]:
        return {"duration_s": round(self.duration_s, 6), "sample_rate": self.sample_rate}


@dataclass(frozen=True, kw_only=True)
class Audio(Sound):
    """What the user said."""

    kind: ClassVar[str] = "Audio"


@dataclass(frozen=True, kw_only=True)
class Speech(Sound):
    """What the reply sounds like; `text` is what these samples speak."""

    kind: ClassVar[str] = "Speech"
    text: str = ""

    @classmethod
    def gather(cls, chunks: Sequence[Self]) -> Self:
        """All pieces end to end, their texts joined by a space."""
        texts = " ".join(chunk.text for chunk in chunks if chunk.text)
        return replace(super().gather(chunks), text=texts)

    def profile(self) -> dict[str, Any]:
        return {**super().profile(), "text": self.text}


@dataclass(frozen=True, kw_only=True)
class Image(Chunk):
    """One picture, encoded, and its media type such as image/png."""

    kind: ClassVar[str] = "Image"
    data: bytes
    media_type: str

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def profile(self) -> dict[str, Any]:
        return {"media_type": self.media_type, "bytes": len(self.data)}


@dataclass(frozen=True, kw_only=True)
class Transcript(Chunk):
    """What was heard so far; each revises the one before it, `final` marks the last."""

    kind: ClassVar[str] = "Transcript"
    text: str
    final: bool = False

    def profile(self) -> dict[str, Any]:
        return {"text": self.text}


@dataclass(frozen=True, kw_only=True)
class Caption(Chunk):
    """What a picture shows, in words."""

    kind: ClassVar[str] = "Caption"
    text: str

    @classmethod
    def gather(cls, chunks: Sequence[Self]) -> Self:
        """All captions, one a line."""
        return replace(chunks[-1], text="\n".join(chunk.text for chunk in chunks))

    def profile(self) -> dict[str, Any]:
        return {"text": self.text}


@dataclass(frozen=True, kw_only=True)
class Emotion(Chunk):
    """What the user feels, in T (the words), A (the voice), V (the face) and M (all together).

    `values` are in -1 (bad) .. 1 (good); a modality that could not be judged is absent from
    them and named in `missing` with the reason.
    """

    kind: ClassVar[str] = "Emotion"
    values: dict[str, float]
    labels: dict[str, str] = field(default_factory=dict)
    """The likeliest label of each modality that was judged."""
    confidences: dict[str, dict[str, float]] = field(default_factory=dict)
    """By modality the confidence in each label, 0..1."""
    missing: dict[str, str] = field(default_factory=dict)
    remark: str | None = None
    """What a prompt is told, where that is not the label of all modalities together."""

    @property
    def words(self) -> str:
        """What `{emotion}` stands for in a prompt."""
        if self.remark is not None:
            return self.remark
        return self.labels.get("M", "nothing in particular")

    def profile(self) -> dict[str, Any]:
        return {
            **self.values,
            "labels": self.labels,
            "confidences": self.confidences,
            "missing": self.missing,
            "words": self.words,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One retrieved text, where it came from, and how well it fits (cosine, -1..1)."""

    text: str
    source: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Passages(Chunk):
    """What retrieval found for the question, best first."""

    kind: ClassVar[str] = "Passages"
    items: tuple[Passage, ...]

    @property
    def text(self) -> str:
        """The passages as a prompt shows them, one paragraph each."""
        return "\n\n".join(passage.text for passage in self.items)

    def profile(self) -> dict[str, Any]:
        rows = [{"text": p.text, "source": p.source, "score": p.score} for p in self.items]
        return {"passages": rows}


@dataclass(frozen=True, kw_only=True)
class Reply(Chunk):
    """A piece of the reply's text, white space included; pieces concatenate."""

    kind: ClassVar[str] = "Reply"
    text: str

    @classmethod
    def gather(cls, chunks: Sequence[Self]) -> Self:
        return replace(chunks[-1], text="".join(chunk.text for chunk in chunks))

    def profile(self) -> dict[str, Any]:
        return {"text": self.text}


@dataclass(frozen=True, kw_only=True)
class Value(Chunk):
    """Something found out, as JSON, that is kept in the records and that no prompt waits for."""

    kind: ClassVar[str] = "Value"
    value: Any

    def profile(self) -> dict[str, Any]:
        return {"value": self.value}
