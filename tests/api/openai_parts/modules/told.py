"""Modules that tell what they were given, for tests of the OpenAI-compatible endpoints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field, JsonValue

from turnlab.chunks import Audio, Chunk, Emotion, Image, Reply, Speech, Transcript
from turnlab.errors import ModuleFailed, PromptTooLong
from turnlab.modules.base import Context, Inputs, Module, loaded
from turnlab.prompts import ChatParams, chat

RATE = 16_000


class Ears(Module):
    """Hear the same words in whatever is said, revising them."""

    task_name = "ears"
    consumes = (Audio,)
    produces = Transcript

    class Params(BaseModel):
        language: str = "en"

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        await inputs.whole(Audio)
        for heard in ("What is", "What is this", "What is that in"):
            yield Transcript(text=heard)
        yield Transcript(text=f"What is that in {params.language}?", final=True)


class Mood(Module):
    """Feel something, which takes sound."""

    task_name = "mood"
    consumes = (Audio,)
    produces = Emotion

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        await inputs.whole(Audio)
        yield Emotion(values={"M": 1.0}, labels={"M": "glad"})


class Told(Module):
    """Reply with what the model would be sent and with which parameters, as JSON."""

    task_name = "told"
    consumes = (Transcript,)
    uses = (Image, Emotion)
    produces = Reply

    class Params(ChatParams):
        model: str | None = loaded(None)
        temperature: float = Field(0.5, ge=0, le=1)
        max_tokens: int = Field(100, ge=1, le=1000)
        stop: list[str] = Field([], max_length=8)
        seed: int = 1

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        heard = await inputs.whole(Transcript)
        images = [image.nbytes async for image in inputs.stream(Image)]
        told = {
            "messages": chat(params, heard.text if heard else "", context.history),
            "images": images,
            **params.model_dump(include={"temperature", "max_tokens", "stop", "seed"}),
        }
        words = json.dumps(told).split(" ")
        for index, word in enumerate(words):
            yield Reply(text=f" {word}" if index else word)
        usage = {"input_tokens": 7, "cached_input_tokens": 3, "output_tokens": len(words)}
        context.result.update(usage=usage, finish_reason="length")


class Plain(Module):
    """Reply without parameters and without telling what was used, to words alone."""

    task_name = "plain"
    consumes = (Transcript,)
    produces = Reply

    class Params(BaseModel):
        extra: dict[str, JsonValue] = Field({}, description="Passed on.")

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        await inputs.whole(Transcript)
        yield Reply(text=json.dumps(params.extra, sort_keys=True))


class Endless(Module):
    """Reply until told to stop."""

    task_name = "endless"
    consumes = (Transcript,)
    produces = Reply

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        while True:
            yield Reply(text="more ")
            await asyncio.sleep(0.02)


class Failing(Module):
    """Fail after so many words."""

    task_name = "failing"
    consumes = (Transcript,)
    produces = Reply
    concurrency: ClassVar[int] = 8

    class Params(BaseModel):
        max_tokens: int = 0

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        await inputs.whole(Transcript)
        for _ in range(params.max_tokens):
            yield Reply(text="word ")
        if params.max_tokens:
            raise ModuleFailed("The words ran out.")
        raise PromptTooLong("The prompt is longer than 8 tokens; send less.")


class Tone(Module):
    """Speak a tone of 0.1 s for each character, in two pieces; `voice` says how loud."""

    task_name = "tone"
    consumes = (Reply,)
    produces = Speech

    class Params(BaseModel):
        voice: str = "alloy"
        speed: float = Field(1.0, ge=0.5, le=2)

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        reply = await inputs.whole(Reply)
        text = reply.text if reply else ""
        count = int(0.1 * len(text) * RATE / params.speed)
        loud = 0.5 if params.voice == "alloy" else 0.25
        tone = np.sin(np.arange(count) * 2 * np.pi * 440 / RATE).astype(np.float32)
        for half in np.array_split(tone * np.float32(loud), 2):
            yield Speech(samples=half, sample_rate=RATE, text=text)


class Phone(Module):
    """Answer speech with speech."""

    task_name = "phone"
    consumes = (Audio,)
    produces = Speech

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        await inputs.whole(Audio)
        yield Speech(samples=np.zeros(1600, dtype=np.float32), sample_rate=RATE)


class Absent(Module):
    """Lack something."""

    task_name = "absent"
    consumes = (Transcript,)
    produces = Reply

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        return ["The model is not installed: pip install it."]

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        yield Reply(text="never")
