"""What a user's function or model gives, as a Chunk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from turnlab.chunks import Caption, Chunk, Emotion, Reply, Transcript, Value
from turnlab.errors import ModuleFailed, TooMuchOutput

MOST_CHARACTERS = 1_000_000
MOST_ITEMS = 10_000
"""Of one value, all of its parts together."""

TEXTS: tuple[type[Chunk], ...] = (Caption, Reply, Transcript)
"""The kinds that text, a label or a number can be."""


def to_chunk(value: object, kind: type[Chunk], maker: str) -> Chunk:
    """`value` as a Chunk of `kind`: that Chunk itself, or plain data that can be one.

    Raises ModuleFailed that names `maker` if it cannot be one.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, Chunk) or kind not in (Value, Emotion, *TEXTS):
        raise ModuleFailed(f"{maker} gave a {type(value).__name__}; give a {kind.kind}.")
    data = plain(value, maker)
    if kind is Value:
        return Value(value=data)
    if kind is Emotion:
        return _emotion(data, maker)
    text = _words(data, maker, kind)
    return Transcript(text=text, final=True) if kind is Transcript else kind(text=text)  # type: ignore[call-arg]


def plain(value: object, maker: str) -> Any:
    """`value` as JSON: text, finite numbers, truth, lists and dicts of these; arrays as lists.

    Raises ModuleFailed if it is something else, TooMuchOutput if it is too much.
    """
    return _Plain(maker).of(value)


class _Plain:
    def __init__(self, maker: str) -> None:
        self._maker = maker
        self._items = self._characters = 0

    def of(self, value: object, depth: int = 0) -> Any:
        self._items += 1
        if self._items > MOST_ITEMS or depth > 32:
            raise TooMuchOutput(f"{self._maker} gave more than {MOST_ITEMS:,} values; give less.")
        if isinstance(value, np.ndarray):
            self._fits(value.size)
            return self.of(value.tolist(), depth)
        if isinstance(value, np.generic):
            return self.of(value.item(), depth)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return self._number(value)
        if isinstance(value, Mapping):
            return {self._text(str(k)): self.of(each, depth + 1) for k, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(each, depth + 1) for each in value]
        raise ModuleFailed(
            f"{self._maker} gave a {type(value).__name__}; give text, a number, an array, or a "
            "list or dict of these."
        )

    def _fits(self, more: int) -> None:
        if self._items + more > MOST_ITEMS:
            raise TooMuchOutput(f"{self._maker} gave more than {MOST_ITEMS:,} values; give less.")

    def _text(self, value: str) -> str:
        self._characters += len(value)
        if self._characters > MOST_CHARACTERS:
            raise TooMuchOutput(
                f"{self._maker} gave more than {MOST_CHARACTERS:,} characters; give less."
            )
        return value

    def _number(self, value: float) -> float:
        if not math.isfinite(value):
            raise ModuleFailed(f"{self._maker} gave {value}, which is no number; give one.")
        return value


def _words(data: Any, maker: str, kind: type[Chunk]) -> str:
    """Plain data as words of a prompt."""
    match data:
        case str():
            return data
        case bool():
            return "yes" if data else "no"
        case int() | float():
            return f"{data:.6g}"
        case dict():
            return ", ".join(f"{name}: {_words(v, maker, kind)}" for name, v in data.items())
        case list() if all(isinstance(each, str) for each in data):
            return ", ".join(data)
    raise ModuleFailed(f"{maker} gave a list of numbers, which is no {kind.kind}; give text.")


def _emotion(data: Any, maker: str) -> Emotion:
    """A label of all modalities together, or values in -1..1 by modality."""
    if isinstance(data, str):
        return Emotion(values={}, labels={"M": data})
    known = {"T", "A", "V", "M"}
    if isinstance(data, dict) and set(data) <= known and all(map(_is_degree, data.values())):
        return Emotion(values={name: float(value) for name, value in data.items()})
    raise ModuleFailed(
        f"{maker} gave what is no Emotion; give a label, a dict of numbers in -1..1 by T, A, V "
        "and M, or an Emotion."
    )


def _is_degree(value: object) -> bool:
    return isinstance(value, (int, float)) and -1 <= value <= 1
