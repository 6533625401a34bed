"""What a field of a message may hold: each check gives the value or raises ValueError."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnlab.profiles import Interval, SpanKind

Check = Callable[[object], Any]

CHECK, DUMP = "check", "dump"
"""The keys of a dataclass field's metadata."""

MOST_NAME = 128
MOST_LABEL = 64
MOST_TEXT = 2_000
MOST_WHOLE = 2**53
MOST_SECONDS = 1e12
"""Far beyond the moments of any monotonic clock."""

MOST_INTERVALS = 64
"""Of one message, and of its points; more go in messages of their own, so that headers fit."""

MOST_ROWS = 1_000
"""Modules or kinds in one message."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A Module that a worker serves: how many Tasks of it at once, and whether it is loaded."""

    task_name: str
    version: str
    loaded: bool
    places: int

    def as_json(self) -> dict[str, Any]:
        """As messages and records have it."""
        return {
            "task_name": self.task_name,
            "version": self.version,
            "loaded": self.loaded,
            "places": self.places,
        }


def metadata(check: Check, dump: Callable[[Any], Any] | None = None) -> Mapping[str, Any]:
    """The metadata of a field that holds what `check` gives and is sent as `dump` says."""
    return {CHECK: check, DUMP: dump}


def _text(most: int) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"it must be a text of at most {most} characters")
        return value

    return check


_label = _text(MOST_LABEL)


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME or not value.isprintable():
        raise ValueError(f"it must be 1 to {MOST_NAME} characters that can be printed")
    return value


def _whole(least: int, most: int = MOST_WHOLE) -> Check:
    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return value

    return check


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not abs(float(value)) <= MOST_SECONDS:  # type: ignore[arg-type]
        raise ValueError("it must be a number of seconds")
    return float(value)  # type: ignore[arg-type]


def _maybe_seconds(value: object) -> float | None:
    return None if value is None else _seconds(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError("it must be a finite number")
    return float(value)  # type: ignore[arg-type]


def _rows(value: object, most: int = MOST_ROWS) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"it must be a list of at most {most}")
    return value


def _pairs(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MOST_ROWS:
        raise ValueError(f"it must be an object of at most {MOST_ROWS} names")
    return {_name(name): each for name, each in value.items()}


def _intervals(value: object) -> tuple[Interval, ...]:
    return tuple(_interval(row) for row in _rows(value, MOST_INTERVALS))


def _interval(row: object) -> Interval:
    if not isinstance(row, list) or len(row) != 4:
        raise ValueError("an interval is its kind, its label, its start and its end")
    kind, label, start_s, end_s = row
    return Interval(
        kind=SpanKind(kind), label=_label(label), start_s=_seconds(start_s), end_s=_seconds(end_s)
    )


def _interval_rows(intervals: tuple[Interval, ...]) -> list[Any]:
    return [[str(each.kind), each.label, each.start_s, each.end_s] for each in intervals]


def _points(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > MOST_INTERVALS:
        raise ValueError(f"they must be at most {MOST_INTERVALS} names with their moments")
    return {_label(name): _seconds(at) for name, at in value.items()}


def _cause(value: object) -> tuple[str, int] | None:
    if value is None:
        return None
    row = _rows(value, 2)
    if len(row) != 2:
        raise ValueError("a cause is a kind and a number")
    return _name(row[0]), _whole(-1)(row[1])


def _inputs(value: object) -> tuple[tuple[str, str, int], ...]:
    rows = [_rows(row, 3) for row in _rows(value)]
    if any(len(row) != 3 for row in rows):
        raise ValueError("an input is a kind, its producer and how many there are already")
    return tuple((_name(row[0]), _name(row[1]), _whole(0)(row[2])) for row in rows)


def _offers(value: object) -> tuple[Offer, ...]:
    offers = tuple(_offer(row) for row in _rows(value))
    if len({offer.task_name for offer in offers}) != len(offers):
        raise ValueError("each task may be there once")
    return offers


def _offer(row: object) -> Offer:
    if not isinstance(row, dict) or set(row) != {"task_name", "version", "loaded", "places"}:
        raise ValueError("a Module is its task_name, version, loaded and places")
    return Offer(
        task_name=_name(row["task_name"]),
        version=_name(row["version"]),
        loaded=_truth(row["loaded"]),
        places=_whole(0, 1_000_000)(row["places"]),
    )


def _offer_rows(offers: tuple[Offer, ...]) -> list[Any]:
    return [offer.as_json() for offer in offers]


def _names(value: object) -> tuple[str, ...]:
    return tuple(_name(each) for each in _rows(value))


def _reasons(value: object) -> dict[str, str]:
    return {name: _text(MOST_TEXT)(each) for name, each in _pairs(value).items()}


NAME = metadata(_name)
SHORT = metadata(_text(MOST_NAME))
TEXT = metadata(_text(MOST_TEXT))
COUNT = metadata(_whole(0))
SOME = metadata(_whole(1))
NUMBER = metadata(_number)
PLACES = metadata(_whole(0, 1_000_000))
URGENCY = metadata(_whole(-1_000_000, 1_000_000))
SECONDS = metadata(_seconds)
MAYBE_SECONDS = metadata(_maybe_seconds)
TRUTH = metadata(_truth)
NAMES = metadata(_names, list)
REASONS = metadata(_reasons)
FACTS = metadata(_pairs)
INTERVALS = metadata(_intervals, _interval_rows)
POINTS = metadata(_points)
CAUSE = metadata(_cause)
INPUTS = metadata(_inputs)
OFFERS = metadata(_offers, _offer_rows)
