"""Chunks as bytes: a JSON document of their small fields, then samples or a picture as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

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
from turnlab.errors import InvalidModule, ProtocolViolation
from turnlab.wire.frames import pack, unpack

S = TypeVar("S", Audio, Speech)
T = TypeVar("T")

KINDS: dict[str, type[Chunk]] = {
    kind.kind: kind
    for kind in (
        Audio,
        Caption,
        Emotion,
        Image,
        Passages,
        Reply,
        Speech,
        Transcript,
        Value,
    )
}
"""The kinds that go over a wire, by name."""

MOST_RATE = 2**31 - 1

_TEXTS: dict[str, type[Caption] | type[Reply]] = {"Caption": Caption, "Reply": Reply}
_SAMPLES = np.dtype("<f4")


def encode_chunk(chunk: Chunk) -> bytes:
    """`chunk` without its origin. Raises InvalidModule if it is of no kind that goes over a wire
    or holds what JSON cannot."""
    if chunk.kind not in KINDS:
        raise InvalidModule(
            f"{chunk.kind or type(chunk).__name__} is no kind that a worker can be sent; use "
            f"{', '.join(KINDS)}."
        )
    try:
        return pack(_document(chunk), _raw(chunk))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidModule(f"A {chunk.kind} holds what is no JSON: {error!s:.200}") from error


def decode_chunk(kind: str, data: bytes | memoryview) -> Chunk:
    """The Chunk of `kind`. Raises ProtocolViolation unless `data` is exactly one."""
    if kind not in KINDS:
        raise ProtocolViolation(f"{kind[:100]!r} is no kind of Chunk.")
    document, raw = unpack(data, len(data))
    fields = _Fields(kind, document)
    chunk = _decoded(kind, fields, raw)
    fields.close()
    if flaw := chunk.flaw():
        raise ProtocolViolation(f"A {kind} was sent, but {flaw}.")
    return chunk


def _document(chunk: Chunk) -> dict[str, Any]:
    match chunk:
        case Audio():
            return {"rate": chunk.sample_rate}
        case Speech():
            return {"rate": chunk.sample_rate, "text": chunk.text}
        case Image():
            return {"media_type": chunk.media_type}
        case Transcript():
            return {"text": chunk.text, "final": bool(chunk.final)}
        case Caption() | Reply():
            return {"text": chunk.text}
        case Emotion():
            return {
                "values": _floats(chunk.values),
                "labels": dict(chunk.labels),
                "confidences": {name: _floats(each) for name, each in chunk.confidences.items()},
                "missing": dict(chunk.missing),
                "remark": chunk.remark,
            }
        case Passages():
            rows = [[each.text, each.source, float(each.score)] for each in chunk.items]
            return {"items": rows}
        case Value():
            return {"value": chunk.value}
    raise TypeError(f"{type(chunk).__name__} says that it is {chunk.kind}")


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    """Numpy's numbers too."""
    return {name: float(value) for name, value in values.items()}


def _raw(chunk: Chunk) -> bytes:
    if isinstance(chunk, Sound):
        return chunk.samples.astype(_SAMPLES, copy=False).tobytes()
    return bytes(chunk.data) if isinstance(chunk, Image) else b""


def _decoded(kind: str, fields: _Fields, raw: memoryview) -> Chunk:
    if kind == "Image":
        return Image(data=bytes(raw), media_type=fields.get("media_type", str))
    if kind in ("Audio", "Speech"):
        return _sound(kind, fields, raw)
    if len(raw):
        raise ProtocolViolation(f"A {kind} was sent with {len(raw)} raw bytes.")
    if kind in _TEXTS:
        return _TEXTS[kind](text=fields.get("text", str))
    match kind:
        case "Transcript":
            return Transcript(text=fields.get("text", str), final=fields.get("final", bool))
        case "Emotion":
            return _emotion(fields)
        case "Passages":
            return Passages(items=tuple(_passage(row) for row in fields.get("items", list)))
    return Value(value=fields.get("value", object))


def _sound(kind: str, fields: _Fields, raw: memoryview) -> Chunk:
    rate = fields.get("rate", int)
    if not 0 < rate <= MOST_RATE or len(raw) % _SAMPLES.itemsize:
        raise ProtocolViolation(f"A {kind} of {len(raw)} bytes at {rate} Hz was sent.")
    # A copy, since Modules may write into what they read.
    samples = np.frombuffer(raw, _SAMPLES).astype(np.float32)
    if kind == "Audio":
        return Audio(samples=samples, sample_rate=rate)
    return Speech(samples=samples, sample_rate=rate, text=fields.get("text", str))


def _emotion(fields: _Fields) -> Emotion:
    remark = fields.get("remark", (str, type(None)))
    return Emotion(
        values=_mapping(fields.get("values", dict), _number),
        labels=_mapping(fields.get("labels", dict), _text),
        confidences=_mapping(fields.get("confidences", dict), lambda row: _mapping(row, _number)),
        missing=_mapping(fields.get("missing", dict), _text),
        remark=remark,
    )


def _passage(row: object) -> Passage:
    if not isinstance(row, list) or len(row) != 3:
        raise ProtocolViolation("A passage was sent that is no text, source and score.")
    return Passage(text=_text(row[0]), source=_text(row[1]), score=_number(row[2]))


def _mapping(value: object, check: Callable[[object], T]) -> dict[str, T]:
    if not isinstance(value, dict):
        raise ProtocolViolation(f"{value!r:.100} was sent in place of names and what they have.")
    return {name: check(each) for name, each in value.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ProtocolViolation(f"{value!r:.100} was sent in place of a text.")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProtocolViolation(f"{value!r:.100} was sent in place of a number.")
    return float(value)


class _Fields:
    """The document of a Chunk, whose fields must be there, of their type, and no others."""

    def __init__(self, kind: str, document: dict[str, Any]) -> None:
        self._kind = kind
        self._left = document

    def get(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """The field; a truth value is no number."""
        if name not in self._left:
            raise ProtocolViolation(f"A {self._kind} was sent without {name!r}.")
        value = self._left.pop(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ProtocolViolation(f"A {self._kind} was sent whose {name!r} is {value!r:.100}.")
        return value

    def close(self) -> None:
        """Refuse what nobody asked for."""
        if self._left:
            names = ", ".join(self._left)
            raise ProtocolViolation(f"A {self._kind} was sent with the unknown {names:.200}.")
