"""What a picture's pixels tell without any model: shape, brightness, colours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIDE = 24
"""The picture is shrunk to so many pixels each way before its colours are counted."""

_SHARE = 0.15
"""Of a picture a colour must have this share to be named."""

_HUES = (
    (20, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (195, "turquoise"),
    (260, "blue"),
    (295, "purple"),
    (345, "pink"),
    (361, "red"),
)
"""Degrees of the colour circle up to which a colour has its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Shape (wide, tall, square), brightness (dark, medium, bright), most frequent colours."""

    shape: str
    brightness: str
    colours: tuple[str, ...]


def facts(picture: Any) -> Facts:
    """What is so of a decoded picture."""
    small = np.asarray(picture.resize((_SIDE, _SIDE)), dtype=np.float64) / 255
    luma = float((small @ (0.299, 0.587, 0.114)).mean())  # ITU-R BT.601
    return Facts(
        shape=_shape(picture.width / picture.height),
        brightness="dark" if luma < 0.3 else "bright" if luma > 0.65 else "medium",
        colours=_colours(small.reshape(-1, 3)),
    )


def _shape(ratio: float) -> str:
    if ratio > 1.1:
        return "wide"
    return "tall" if ratio < 1 / 1.1 else "square"


def _colours(pixels: NDArray[Any]) -> tuple[str, ...]:
    """At most two that make up a good part of the picture, the most frequent first."""
    counts = Counter(_colour(*map(float, pixel)) for pixel in pixels)
    often = counts.most_common(2)
    return tuple(name for name, count in often if count >= _SHARE * len(pixels))


def _colour(red: float, green: float, blue: float) -> str:
    high, low = max(red, green, blue), min(red, green, blue)
    spread = high - low
    if high < 0.18:
        return "black"
    if spread < 0.12 or spread / high < 0.2:
        return "white" if high > 0.85 else "grey"
    if high == red:
        hue = 60 * ((green - blue) / spread % 6)
    elif high == green:
        hue = 60 * ((blue - red) / spread + 2)
    else:
        hue = 60 * ((red - green) / spread + 4)
    name = next(name for limit, name in _HUES if hue < limit)
    return "brown" if name in ("red", "orange") and hue >= 15 and high < 0.65 else name
