"""Which column of a table is which key of a manifest, and its values as JSON can say them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from turnlab.bench.datasets.files import Wrong
from turnlab.bench.datasets.keys import KEYS
from turnlab.bench.datasets.tables import Kind
from turnlab.errors import InvalidDataset, InvalidRequest

OWN = "turnlab_json"
"""The column in which an export keeps what Arrow has no type for: `emotion`, `scores`, `extra`."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id",),
    "audio": ("audio", "file_name", "file", "path"),
    "transcript": ("transcript", "transcription", "text", "sentence"),
    "reply": ("reply", "response"),
    "images": ("images", "image"),
    "tags": ("tags",),
    "conversation": ("conversation", "conversation_id"),
    "index": ("index", "turn_index"),
    "emotion": ("emotion",),
    "passages": ("passages",),
    "scores": ("scores",),
    "duration_s": ("duration_s",),
}
"""By key the columns that are taken for it, the first that is there."""

_TEXT = {Kind.TEXT}
_NAME = {Kind.TEXT, Kind.INTEGER}
_FITS: Mapping[str, Collection[Kind]] = {
    "id": _NAME,
    "audio": {Kind.MEDIUM, Kind.BYTES, Kind.TEXT},
    "transcript": _TEXT,
    "reply": _TEXT,
    "images": {Kind.MEDIUM, Kind.MEDIA, Kind.BYTES, Kind.TEXT, Kind.TEXTS},
    "tags": {Kind.TEXTS},
    "conversation": _NAME,
    "index": {Kind.INTEGER, Kind.TEXT},
    "emotion": {Kind.TEXT, Kind.OBJECT},
    "passages": {Kind.TEXTS},
    "scores": {Kind.OBJECT},
    "duration_s": {Kind.NUMBER, Kind.INTEGER, Kind.TEXT},
}


@dataclass(frozen=True)
class Columns:
    """What becomes of each column."""

    keys: Mapping[str, str]
    """By key of the manifest its column."""
    extra: Mapping[str, str]
    """By column the key that it is kept under in `extra`."""
    own: bool
    """Whether Turnlab wrote the table."""


def plan_columns(
    kinds: Mapping[str, Kind], asked: Mapping[str, str], drop: Collection[str] = ()
) -> Columns:
    """What becomes of the columns; `asked` says it by key, an empty column meaning none.

    A column that no key takes is kept in `extra`, unless it is in `drop`.

    Raises InvalidRequest for a key or column that is not there, InvalidDataset if there are no
    recordings, or media that a dataset has no place for.
    """
    own = kinds.get(OWN) is Kind.TEXT
    _check_asked(kinds, asked, drop)
    keys = {
        key: found for key in NAMES if (found := _column(key, kinds, asked, set(drop))) is not None
    }
    if "audio" not in keys:
        raise InvalidDataset(
            f"No column holds recordings; there are {_listed(kinds)}. Say which with "
            "--column audio=NAME."
        )
    rest = [name for name in kinds if name not in {*keys.values(), *drop, OWN}]
    if lost := [name for name in rest if kinds[name] in (Kind.MEDIUM, Kind.MEDIA)]:
        raise InvalidDataset(
            f"A dataset has no place for the sounds or pictures of {_listed(lost)}; leave them "
            f"out with --drop {lost[0]}."
        )
    return Columns(keys, {name: _extra_name(name, kinds) for name in rest}, own)


def _check_asked(
    kinds: Mapping[str, Kind], asked: Mapping[str, str], drop: Collection[str]
) -> None:
    for key in asked:
        if key not in NAMES:
            raise InvalidRequest(
                f"{key[:80]!r} is no key of a dataset; there are {_listed(NAMES)}."
            )
    for name in [*filter(None, asked.values()), *drop]:
        if name not in kinds:
            raise InvalidRequest(f"There is no column {name[:80]!r}; there are {_listed(kinds)}.")


def _column(
    key: str, kinds: Mapping[str, Kind], asked: Mapping[str, str], drop: set[str]
) -> str | None:
    if (name := asked.get(key)) is not None:
        if name and kinds[name] not in _FITS[key]:
            raise InvalidRequest(f"The column {name!r} ({kinds[name]}) cannot be {key}.")
        return name or None
    taken = drop | set(asked.values())
    fitting = (n for n in NAMES[key] if kinds.get(n) in _FITS[key] and n not in taken)
    return next(fitting, None)


def _extra_name(name: str, kinds: Mapping[str, Kind]) -> str:
    """Its own name, unless that is a key which means something else."""
    kept = f"source_{name}" if name in KEYS else name
    while kept != name and kept in kinds:
        kept += "_"
    return kept


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:30]) or "none"


def values_of(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The line of a manifest, all but its files. Raises Wrong."""
    values: dict[str, Any] = {}
    for key, column in columns.keys.items():
        if key not in ("audio", "images") and row.get(column) is not None:
            values[key] = _converted(key, row[column])
    extra = {kept: plain(row.get(column)) for column, kept in columns.extra.items()}
    own = _own(row.get(OWN)) if columns.own else {}
    if values.get("index") == 0 and "conversation" not in values:
        del values["index"]
    if values.get("tags") == []:
        del values["tags"]
    return values | extra | own


def _own(text: Any) -> dict[str, Any]:
    """What an export kept aside. Raises Wrong."""
    if text is None:
        return {}
    try:
        kept = json.loads(text)
        return {
            **{key: kept[key] for key in ("emotion", "scores") if key in kept},
            **{key: value for key, value in kept["extra"].items() if key not in KEYS},
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Wrong(f"{OWN} is not what an export wrote; leave it out with --drop {OWN}") from None


def _converted(key: str, value: Any) -> Any:
    try:
        match key:
            case "id" | "conversation":
                return str(value)
            case "index":
                return int(value)
            case "duration_s":
                return float(value)
            case "emotion" if isinstance(value, str):
                return {"label": value}
    except ValueError:
        raise Wrong(f"{key}: {value[:80]!r} is no number") from None
    return plain(value)


def plain(value: Any) -> Any:
    """A value as JSON can say it.

    Moments are in ISO 8601, bytes are `{"base64": ...}`, numbers that JSON has no word for are
    "nan", "inf" and "-inf", and what else there is is its text.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case dict():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
    return str(value)
