"""The inputs of a Task for a Worker that speaks plain HTTP: whole, as JSON, media as links."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from turnlab.chunks import Chunk, Image, Sound
from turnlab.streams import Stream
from turnlab.work import Work

Given = dict[str, Any]
"""A Task as the Worker gets it, or a part of that, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedSound:
    """A sound that a Worker can fetch by its name."""

    name: str
    duration_s: float
    sample_rate: int


class Handover(Protocol):
    """Keeps the sounds and pictures that a Worker fetches, as long as it has the Task."""

    async def sound(self, pieces: Iterable[Sound]) -> HandedSound:
        """Keep a sound, given piece by piece."""
        ...

    async def picture(self, picture: Image) -> str:
        """Keep a picture and return its name."""
        ...

    def url(self, name: str) -> str:
        """Where the Worker gets it, without a token."""
        ...

    async def drop(self, names: Iterable[str]) -> None:
        """Delete these."""
        ...


async def whole(streams: Mapping[type[Chunk], Stream[Any]]) -> list[Stream[Any]]:
    """The streams that hold something, once all have ended. Raises what they fail with."""
    # Through readers, all at once: whoever fills a stream may be waiting for one.
    readings = [asyncio.ensure_future(_read(stream)) for stream in streams.values()]
    try:
        await asyncio.gather(*readings)
    finally:
        for reading in readings:
            reading.cancel()
    return [stream for stream in streams.values() if len(stream)]


async def hand_over(inputs: list[Stream[Any]], to: Handover, names: list[str]) -> Given:
    """The inputs by kind. What was kept for it is added to `names`, also if it then fails."""
    return {stream.kind.kind: await _handed(stream, to, names) for stream in inputs}


def as_json(work: Work) -> Given:
    """What a Worker is told of a Task beside its inputs, its claim and its lease."""
    return {
        "id": work.task_id,
        "track_id": work.track_id,
        "name": work.step.name,
        "task_name": work.step.module.task_name,
        "produces": work.step.produces.kind,
        "parameters": work.step.params.model_dump(mode="json"),
        "history": [{"text": each.text, "reply": each.reply} for each in work.history],
    }


async def _read(stream: Stream[Any]) -> None:
    async for _ in stream.read():
        pass


async def _handed(stream: Stream[Any], to: Handover, names: list[str]) -> Any:
    if issubclass(stream.kind, Sound):
        return await _sound(stream, to, names)
    if stream.kind is not Image:
        gathered = stream.gathered()
        return gathered.profile() if gathered else {}
    pictures = []
    for picture in stream:
        names.append(await to.picture(picture))
        pictures.append({"url": to.url(names[-1]), "media_type": picture.media_type})
    return pictures


async def _sound(stream: Stream[Any], to: Handover, names: list[str]) -> dict[str, Any]:
    sound = await to.sound(stream)
    names.append(sound.name)
    texts = [piece.text for piece in stream if piece.text] if hasattr(stream.kind, "text") else []
    return {
        "url": to.url(sound.name),
        "sample_rate": sound.sample_rate,
        "duration_s": round(sound.duration_s, 6),
        **({"text": " ".join(texts)} if texts else {}),
    }
