"""Turns as they are measured, for the other tests of reports, and a test that they are sound."""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from turnlab.profiles import Span, SpanKind
from turnlab.reports.turn import TaskReport, TurnReport

STREAMED = [
    ("transfer", "speech2text", "", 0.0004),
    ("model", "speech2text", "transcribe", 0.1502),
    ("queue", "quantization_llm", "", 0.0001),
    ("transfer", "quantization_llm", "", 0.0003),
    ("model", "quantization_llm", "prefill", 0.0604),
    ("model", "quantization_llm", "decode", 0.1207),
    ("wait", "text2speech", "", 0.0081),
    ("transfer", "text2speech", "", 0.0002),
    ("model", "text2speech", "synthesize", 0.0703),
    ("playout", "text2speech", "", 0.0051),
]
CHAINED = [
    ("transfer", "speech2text", "", 0.0005),
    ("model", "speech2text", "transcribe", 0.1611),
    ("queue", "quantization_llm", "", 0.0009),
    ("model", "quantization_llm", "prefill", 0.0912),
    ("model", "quantization_llm", "decode", 0.6135),
    ("queue", "text2speech", "", 0.0011),
    ("model", "text2speech", "synthesize", 0.2144),
    ("playout", "text2speech", "", 0.0052),
]
QUESTIONS = {
    "capital.wav": ("What is the capital of France?", "Paris. It lies on the Seine."),
    "two_cities.wav": ("It was the best of times.", "You are quoting Dickens, I believe."),
    "weather.wav": ("Will it rain today?", "I cannot see the sky, but do take an umbrella."),
    "tea.wav": ("How long should I brew tea?", "About four minutes. Longer makes it bitter."),
    "beckett.wav": ("Ever tried. Ever failed.", "No matter. Try again. Fail again. Fail better."),
}


def spans(rows: list[tuple[str, str, str, float]], factor: float = 1.0) -> tuple[Span, ...]:
    """Contiguous spans from 0 with these lengths in seconds."""
    ends = np.cumsum([seconds * factor for *_, seconds in rows]).tolist()
    return tuple(
        Span(kind=SpanKind(kind), component=component, label=label, start_s=start, end_s=end)
        for (kind, component, label, _), start, end in zip(rows, [0.0, *ends], ends, strict=False)
    )


def task(name: str, created_s: float, first_s: float, end_s: float, model_s: float) -> TaskReport:
    points = {"ts_created": created_s, "ts_claimed": created_s + 1e-4, "ts_first_input": created_s}
    return TaskReport(
        name=name,
        task_name=name,
        status="completed",
        latency_profile={**points, "ts_first_output": first_s, "ts_end": end_s}
        | {"model_infer": model_s},
    )


def turn(mode: str = "streamed", label: str = "capital.wav", factor: float = 1.0) -> TurnReport:
    path = spans(STREAMED if mode == "streamed" else CHAINED, factor)
    transcript, reply = QUESTIONS.get(label, ("Hello?", "Hello."))
    total, zero = path[-1].end_s, 1.9
    llm_s, voice_s = (0.151, 0.33) if mode == "streamed" else (0.17, 0.87)
    return TurnReport(
        track_id=f"T-CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION-{len(mode + label):032x}",
        cluster="CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION",
        mode=mode,
        pace="whole",
        status="completed",
        transcript=transcript,
        reply=reply,
        speech_s=2.1,
        voice_to_voice_s=total,
        spans=path,
        zero_s=zero,
        tasks=(
            task("speech2text", zero, zero + llm_s * factor, zero + llm_s * factor, 0.15),
            task("quantization_llm", zero + llm_s * factor, zero + 0.3 * factor, zero + 0.9, 0.55),
            task("text2speech", zero + voice_s * factor, zero + total, zero + 1.9 * factor, 0.6),
        ),
        verdict={"outcome": "pass", "sentence": "Fast enough: within the budget of 1.0 s."},
        label=label,
        question_wav=tone(),
        reply_wav=tone(),
    )


def failed(**changes: Any) -> TurnReport:
    """A turn whose language model ran out of time; what was heard before is kept."""
    error = {"code": "module_timeout", "message": "quantization_llm took longer than 5 s."}
    broken = replace(
        task("quantization_llm", 1.9, 2.0, 7.0, 4.9), status="failed", error_code="module_timeout"
    )
    base = replace(turn(), status="failed", voice_to_voice_s=None, spans=(), reply="")
    return replace(base, tasks=(base.tasks[0], broken), error=error, verdict=None, **changes)


def some_turns() -> list[TurnReport]:
    """Five utterances in both modes, of different speed."""
    pairs = [(label, 0.9 + 0.07 * i) for i, label in enumerate(QUESTIONS)]
    return [turn(mode, label, f) for label, f in pairs for mode in ("chained", "streamed")]


def tone(seconds: float = 0.3) -> bytes:
    """A short quiet tone as a WAV file."""
    wave_form = np.sin(np.arange(int(seconds * 16000)) * 0.17) * 3000
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(wave_form.astype("<i2").tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["streamed", "chained"])
def test_the_samples_are_contiguous_and_add_up(mode: str) -> None:
    sample = turn(mode)
    assert all(a.end_s == b.start_s for a, b in pairwise(sample.spans))
    assert sum(s.duration_s for s in sample.spans) == pytest.approx(sample.voice_to_voice_s)
