"""What a Worker that speaks plain HTTP says it has made: checked, and turned into a Chunk."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import soundfile
import soxr

from turnlab.audio import RATE, RATES_HZ
from turnlab.chunks import (
    Audio,
    Caption,
    Chunk,
    Emotion,
    Image,
    Passage,
    Passages,
    Reply,
    Sound,
    Speech,
    Transcript,
    Value,
)
from turnlab.errors import InvalidRequest, ModuleFailed, TurnlabError
from turnlab.pictures import LIMIT_BYTES, picture_type
from turnlab.profiles import LatencyProfile, SpanKind

MODALITIES = ("T", "A", "V", "M")
MOST_PASSAGES = 1_000
MOST_TIMINGS = 200
MOST_SPEECH_S = 3_600.0
"""Of the sound that one Task may make."""

MOST_SAMPLES = 32 * 2**20
"""The same in samples of all channels: what 64 MiB of 16-bit WAV hold, 23 min at 24 kHz."""

MOST_SAMPLES_PER_S = 48_000 * 8
"""Of all channels together: a small file can claim more than is worth decoding."""

RESERVED = ("created", "claimed", "first_input", "first_output", "end")
"""Points that the API end itself notes."""

_TIMING = re.compile(r"(ts|model|transfer|wait)_([A-Za-z0-9_]{1,64})")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_MESSAGE = 2_000
_BLOCK = 2**16


def chunk_of(kind: type[Chunk], profile: Mapping[str, Any], file: bytes | None = None) -> Chunk:
    """The Chunk of `kind` that a `result_profile`, and a sound or a picture, stand for.

    Raises InvalidRequest that names what is missing or wrong.
    """
    if kind in (Audio, Speech):
        chunk: Chunk = _sound(kind, profile, file)
    elif kind is Image:
        chunk = _picture(file)
    elif file is not None:
        raise InvalidRequest(f"The Task makes {kind.kind}, which needs no file; leave it out.")
    elif kind in _MAKERS:
        chunk = _MAKERS[kind](profile)
    else:
        raise InvalidRequest(f"{kind.kind} cannot be posted over HTTP; run a `turnlab worker`.")
    if flaw := chunk.flaw():
        raise InvalidRequest(f"The result is no {kind.kind}: {flaw}.")
    return chunk


def further(chunk: Chunk, profile: Mapping[str, Any]) -> dict[str, Any]:
    """What the `result_profile` says beside what the Chunk itself tells."""
    known = chunk.profile()
    return {key: value for key, value in profile.items() if key not in known}


def failure_of(error: Mapping[str, Any]) -> TurnlabError:
    """The failure that the Worker reports, under its own code. Raises InvalidRequest."""
    code, message = error.get("code", ModuleFailed.code), error.get("message", "")
    if not (isinstance(code, str) and _CODE.fullmatch(code)):
        raise InvalidRequest("error.code is 1 to 64 lower-case letters, digits and underscores.")
    if not isinstance(message, str) or not message.strip():
        raise InvalidRequest("error.message says what failed, as a text.")
    failed = ModuleFailed(message[:_MOST_MESSAGE])
    failed.code = code
    return failed


def check_timings(profile: Mapping[str, Any]) -> dict[str, float]:
    """A `latency_profile` as the Worker sent it, moments as Unix seconds. Raises InvalidRequest.

    `ts_` keys are moments: Unix seconds, or ISO 8601 with its offset. `model_`, `transfer_` and
    `wait_` keys are durations in seconds.
    """
    if len(profile) > MOST_TIMINGS:
        raise InvalidRequest(f"latency_profile has more than {MOST_TIMINGS} keys.")
    return {key: _timing(key, value) for key, value in profile.items()}


def note_timings(
    latency: LatencyProfile, timings: Mapping[str, float], held: tuple[float, float], unix_s: float
) -> None:
    """Put the Worker's timings on the API's clock.

    `held` is when the Worker got the Task and when it gave the result; `unix_s` is the Unix time
    less the API's clock. Moments are as good as the Worker's wall clock, and moved into `held`.
    Only the length of a duration is known, not when it was: they are laid end to end, in
    their order, up to the end of `held`. Together they cannot have been longer than it: where the
    Worker says so, for it counted twice what went on at once, all are shortened alike.
    """
    began_s, ended_s = held
    durations: list[tuple[SpanKind, str, float]] = []
    for key, value in timings.items():
        family, _, label = key.partition("_")
        if family == "ts":
            latency.point(label, min(max(value - unix_s, began_s), ended_s))
        else:
            durations.append((SpanKind(family), label, value))
    total_s = sum(length_s for _, _, length_s in durations)
    share = min(1.0, (ended_s - began_s) / total_s) if total_s else 1.0
    at_s = ended_s
    for kind, label, length_s in reversed(durations):
        start_s = max(began_s, at_s - share * length_s)  # sums of fractions are not exact
        latency.add(kind, label, start_s, at_s)
        at_s = start_s


def _timing(key: str, value: object) -> float:
    match = _TIMING.fullmatch(key)
    if match is None:
        raise InvalidRequest(
            f"latency_profile has {key[:80]!r}; its keys begin with ts_, model_, transfer_ or "
            "wait_, and go on with letters, digits and underscores."
        )
    moment = match[1] == "ts"
    if moment and match[2] in RESERVED:
        raise InvalidRequest(f"{key} is noted by the API end itself; give it another name.")
    if moment and isinstance(value, str):
        value = _moment(key, value)
    number = _number(value, key)
    if not moment and not 0.0 <= number <= 86_400.0:
        raise InvalidRequest(f"{key} is a duration in seconds, 0 to 86400.")
    return number


def _moment(key: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{key} is neither Unix seconds nor ISO 8601.") from None
    if moment.tzinfo is None:
        raise InvalidRequest(f"{key} has no offset; write it like 2026-01-02T03:04:05.678Z.")
    return moment.timestamp()


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidRequest(f"{what} is no number.")
    return float(value)


def _text(profile: Mapping[str, Any], key: str = "text", where: str = "result_profile") -> str:
    text = profile.get(key)
    if not isinstance(text, str):
        raise InvalidRequest(f"{where}.{key} must be a text.")
    return text


def _texts(profile: Mapping[str, Any], key: str) -> dict[str, str]:
    """A text for some modalities."""
    found = _by_modality(profile, key)
    return {name: _text(found, name, f"result_profile.{key}") for name in found}


def _by_modality(profile: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = profile.get(key, {})
    if not isinstance(found, dict) or not set(found) <= set(MODALITIES):
        raise InvalidRequest(f"result_profile.{key} is an object with keys of T, A, V, M.")
    return found


def _emotion(profile: Mapping[str, Any]) -> Emotion:
    values = {}
    for name in (each for each in MODALITIES if each in profile):
        values[name] = _number(profile[name], f"result_profile.{name}")
        if not -1.0 <= values[name] <= 1.0:
            raise InvalidRequest(f"result_profile.{name} is between -1 (bad) and 1 (good).")
    if not values:
        raise InvalidRequest("result_profile needs one of T, A, V, M, between -1 and 1.")
    words = profile.get("words")
    if words is not None and not isinstance(words, str):
        raise InvalidRequest("result_profile.words must be a text.")
    confidences = {
        name: {
            label: _number(value, f"result_profile.confidences.{name}.{label}")
            for label, value in (each.items() if isinstance(each, dict) else ())
        }
        for name, each in _by_modality(profile, "confidences").items()
    }
    return Emotion(
        values=values,
        labels=_texts(profile, "labels"),
        confidences=confidences,
        missing=_texts(profile, "missing"),
        remark=words,
    )


def _passages(profile: Mapping[str, Any]) -> Passages:
    rows = profile.get("passages")
    if not isinstance(rows, list) or len(rows) > MOST_PASSAGES:
        raise InvalidRequest(f"result_profile.passages is a list of at most {MOST_PASSAGES}.")
    return Passages(items=tuple(_passage(row, place) for place, row in enumerate(rows)))


def _passage(row: object, place: int) -> Passage:
    where = f"result_profile.passages[{place}]"
    if not isinstance(row, dict):
        raise InvalidRequest(f"{where} is an object with text, source and score.")
    score = _number(row.get("score", 0.0), f"{where}.score")
    return Passage(text=_text(row, "text", where), source=_text(row, "source", where), score=score)


def _value(profile: Mapping[str, Any]) -> Value:
    if "value" not in profile:
        raise InvalidRequest("result_profile.value is missing; it may be any JSON.")
    return Value(value=profile["value"])


_MAKERS: Mapping[type[Chunk], Any] = {
    Transcript: lambda profile: Transcript(text=_text(profile), final=True),
    Caption: lambda profile: Caption(text=_text(profile)),
    Reply: lambda profile: Reply(text=_text(profile)),
    Emotion: _emotion,
    Passages: _passages,
    Value: _value,
}


def _picture(file: bytes | None) -> Image:
    if file is None:
        raise InvalidRequest("The Task makes Image; post it as the part `file`.")
    media_type = picture_type(file)
    if media_type is None or len(file) > LIMIT_BYTES:
        raise InvalidRequest(
            f"The file is no PNG, JPEG, WebP or GIF of at most {LIMIT_BYTES // 2**20} MiB."
        )
    return Image(data=file, media_type=media_type)


def _sound(kind: type[Chunk], profile: Mapping[str, Any], file: bytes | None) -> Sound:
    if file is None:
        raise InvalidRequest(f"The Task makes {kind.kind}; post a WAV as the part `file`.")
    samples, rate = _decoded(file)
    if kind is Speech:
        text = _text(profile) if "text" in profile else ""
        return Speech(samples=samples, sample_rate=rate, text=text)
    resampled = np.asarray(soxr.resample(samples, rate, RATE), dtype=np.float32)
    return Audio(samples=resampled, sample_rate=RATE)


def _decoded(file: bytes) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
    try:
        with soundfile.SoundFile(io.BytesIO(file)) as sound:
            rate, channels = sound.samplerate, sound.channels
            _check_sound(rate, channels, sound.frames)
            mono = _mono(sound)
    except soundfile.LibsndfileError as error:
        text = f"The file is no sound that can be decoded ({error.error_string}); post a WAV."
        raise InvalidRequest(text) from error
    if not len(mono):
        raise InvalidRequest("The file holds no samples.")
    return mono, int(rate)


def _check_sound(rate: int, channels: int, frames: int) -> None:
    """Raise InvalidRequest for what a small file may claim and no Task makes."""
    if not (RATES_HZ[0] <= rate <= RATES_HZ[1] and rate * channels <= MOST_SAMPLES_PER_S):
        raise InvalidRequest(
            f"The file claims {rate} Hz and {channels} channels; post one channel."
        )
    most_s = min(MOST_SPEECH_S, MOST_SAMPLES / (rate * channels))
    if frames > most_s * rate:
        raise InvalidRequest(f"The file is longer than {most_s:g} s.")


def _mono(sound: soundfile.SoundFile) -> np.ndarray[Any, np.dtype[np.float32]]:
    """All channels as one, of which only a block is in memory undiluted."""
    mono = np.empty(sound.frames, dtype=np.float32)
    found = 0
    while found < len(mono):
        block = sound.read(min(_BLOCK, len(mono) - found), dtype="float32", always_2d=True)
        if not len(block):
            break  # shorter than it claims
        mono[found : found + len(block)] = block.mean(axis=1)
        found += len(block)
    return mono[:found]
