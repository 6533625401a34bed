"""The keys of a line of a manifest: what each takes, and the limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from turnlab.bench.datasets.files import Wrong, check_name, shown

MOST_TURNS = 1_000_000
LONGEST_ID = 255
"""Characters; the id of a Track is one too."""

LONGEST_PERSON = 128
"""Characters of the name of somebody who gave scores."""

MOST_IMAGES = 16
MOST_ITEMS = 1_000
"""Tags, passages and people who gave scores, of one turn."""


def check_values(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values of the known keys, defaults filled in, and what is wrong with them."""
    checked: dict[str, Any] = {}
    wrong: list[str] = []
    for name, check in KEYS.items():
        try:
            checked[name] = check(values.get(name))
        except Wrong as error:
            wrong.append(f"{name}: {error}")
            checked[name] = "" if name in ("id", "audio") else check(None)
    return checked, wrong


def _id(value: Any) -> str:
    if value is None:
        raise Wrong("is missing; each turn needs one of its own")
    return _name(value)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or not value.isprintable():
        raise Wrong(f"{shown(value)} is no text of 1 to {LONGEST_ID} printable characters")
    return value


def _maybe_name(value: Any) -> str | None:
    return None if value is None else _name(value)


def _audio(value: Any) -> str:
    if value is None:
        raise Wrong("is missing; give the path of a recording in the folder")
    return _file(value)


def _file(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"{shown(value)} is no path")
    check_name(value)
    return value


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Wrong(f"{shown(value)} is no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return _maybe_texts([] if value is None else value) or ()


def _maybe_texts(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Wrong(f"{shown(value)} is no list of texts")
    if len(value) > MOST_ITEMS:
        raise Wrong(f"has {len(value):,} entries; at most {MOST_ITEMS:,} are taken")
    return tuple(value)


def _images(value: Any) -> tuple[str, ...]:
    names = _texts(value)
    if len(names) > MOST_IMAGES:
        raise Wrong(f"has {len(names):,} pictures; at most {MOST_IMAGES} are taken")
    return tuple(map(_file, names))


def _index(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_TURNS:
        raise Wrong(f"{shown(value)} is no whole number from 0 to {MOST_TURNS - 1:,}")
    return value


def _emotion(value: Any) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise Wrong(f'{shown(value)} is no object, such as {{"label": "joy"}}')
    return value


def _scores(value: Any) -> dict[str, dict[str, float]]:
    by_person = {} if value is None else value
    if not isinstance(by_person, dict) or not all(map(_is_scores, by_person.values())):
        raise Wrong(f'{shown(value)} is not of the form {{"person": {{"criterion": 4}}}}')
    if len(by_person) > MOST_ITEMS:
        raise Wrong(f"has {len(by_person):,} people; at most {MOST_ITEMS:,} are taken")
    for person in by_person:
        if not 0 < len(person) <= LONGEST_PERSON or not person.isprintable():
            raise Wrong(f"{shown(person)} is no name of 1 to {LONGEST_PERSON} characters")
    return {
        person: {name: float(score) for name, score in scores.items()}
        for person, scores in by_person.items()
    }


def _is_scores(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def _seconds(value: Any) -> float | None:
    if value is not None and not (_is_number(value) and value > 0):
        raise Wrong(f"{shown(value)} is no number of seconds above 0")
    return None if value is None else float(value)


KEYS: Mapping[str, Callable[[Any], Any]] = {
    "id": _id,
    "audio": _audio,
    "transcript": _text,
    "reply": _text,
    "images": _images,
    "tags": _texts,
    "conversation": _maybe_name,
    "index": _index,
    "emotion": _emotion,
    "passages": _maybe_texts,
    "scores": _scores,
    "duration_s": _seconds,
}
"""The keys of a line that Turnlab reads, and what checks each."""


def extra_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that Turnlab gives no meaning to."""
    return {key: value for key, value in values.items() if key not in KEYS}
