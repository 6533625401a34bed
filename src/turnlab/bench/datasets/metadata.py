"""The table of an audiofolder: `metadata.csv` or `metadata.jsonl` beside the recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from turnlab.bench.datasets.files import Wrong
from turnlab.bench.datasets.keys import MOST_TURNS
from turnlab.bench.datasets.manifest import LONGEST_LINE, parse_object
from turnlab.bench.datasets.tables import Kind
from turnlab.errors import InvalidDataset

METADATA = ("metadata.csv", "metadata.jsonl")

_T = TypeVar("_T")


def read_metadata(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metadata.csv` or `metadata.jsonl`. Raises InvalidDataset."""
    return list(_csv(path) if path.suffix == ".csv" else _jsonl(path))


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            if len(set(names)) != len(names):
                raise InvalidDataset(f"{path} has two columns of one name; rename one.")
            for row in _at_most(path, reader):
                if None in row or None in row.values():
                    raise InvalidDataset(f"{path}:{reader.line_num} has not as many fields as 1.")
                yield {name: value or None for name, value in row.items()}
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise InvalidDataset(f"{path} cannot be read ({error!s:.200}).") from error


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            lines = iter(lambda: file.readline(LONGEST_LINE + 1), b"")
            for number, line in enumerate(_at_most(path, lines), 1):
                if line.strip():
                    yield _object(path, number, line)
    except OSError as error:
        raise InvalidDataset(f"{path} cannot be read ({error.strerror}).") from error


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return parse_object(line)
    except Wrong as error:
        raise InvalidDataset(f"{path}:{number}: {error}.") from error


def _at_most(path: Path, rows: Iterable[_T]) -> Iterator[_T]:
    for number, row in enumerate(rows):
        if number >= MOST_TURNS:
            raise InvalidDataset(f"{path} has more than {MOST_TURNS:,} rows; split it.")
        yield row


def kinds_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Kind]:
    """What the columns hold, by all their values."""
    found: dict[str, set[Kind]] = {}
    for row in rows:
        for name, value in row.items():
            kinds = found.setdefault(name, set())
            if value is not None:
                kinds.add(_kind_of(value))
    return {name: _common(kinds) for name, kinds in found.items()}


def _common(kinds: set[Kind]) -> Kind:
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds == {Kind.INTEGER, Kind.NUMBER}:
        return Kind.NUMBER
    return Kind.TEXT if kinds <= {Kind.TEXT, Kind.INTEGER, Kind.NUMBER} else Kind.OTHER


def _kind_of(value: Any) -> Kind:
    match value:
        case bool():
            return Kind.OTHER
        case int():
            return Kind.INTEGER
        case float():
            return Kind.NUMBER
        case str():
            return Kind.TEXT
        case dict():
            return Kind.OBJECT
        case list() if all(isinstance(each, str) for each in value):
            return Kind.TEXTS
    return Kind.OTHER
