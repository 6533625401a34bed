"""Moments of a film, as people write them: 3:20, 1:02:03.5 or 95."""

from __future__ import annotations

import re
from collections.abc import Iterable

from turnlab.errors import InvalidVideo

MOST = 500
"""Turns of one film."""

_MOMENT = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,6})?)", re.ASCII)


def parse_moment(text: str) -> float:
    """Seconds of `h:mm:ss`, `mm:ss` or `s`, each with a fraction if need be.

    Raises InvalidVideo for anything else.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise InvalidVideo(f"{text[:40]!r} is no moment; write h:mm:ss, mm:ss or seconds.")
    hours, minutes, seconds = match[1], match[2], float(match[3])
    if (minutes and seconds >= 60) or (hours and int(minutes) >= 60):
        raise InvalidVideo(f"{text!r} is no moment: there are 60 seconds and minutes at most.")
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds


def parse_moments(texts: Iterable[str]) -> list[float]:
    """The moments of a comma-separated list, in ascending order, each once. Raises InvalidVideo."""
    parts = [part for text in texts for part in text.split(",") if part.strip()]
    if not 0 < len(parts) <= MOST:
        raise InvalidVideo(f"Give 1 to {MOST} time points, such as 0,02:53,3:20.")
    return sorted({parse_moment(part) for part in parts})


def told(seconds: float) -> str:
    """The moment as people write it."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    fraction = f".{thousandths:03d}".rstrip("0") if thousandths else ""
    return f"{hours}:{m:02d}:{s:02d}{fraction}" if hours else f"{m}:{s:02d}{fraction}"
