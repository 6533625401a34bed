"""The manifest of a dataset: `manifest.jsonl`, one JSON object a turn, checked line by line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnlab.bench.datasets.files import Wrong, shown
from turnlab.bench.datasets.keys import MOST_TURNS, check_values, extra_of
from turnlab.errors import InvalidDataset

MANIFEST = "manifest.jsonl"
LONGEST_LINE = 2**20
"""Bytes of one line."""
LARGEST = 2**30
"""Bytes of all lines together."""


class DatasetProblems(InvalidDataset):
    """The dataset has errors; `problems` lists them all, the message shows the first ten."""

    SHOWN = 10

    def __init__(
        self,
        message: str | None = None,
        *,
        component: str | None = None,
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, component=component)
        self.problems = problems

    @classmethod
    def of(cls, folder: Path, problems: list[str], then: str = "") -> DatasetProblems:
        """The error that tells of these problems in `folder`, and what shows all of them."""
        count = len(problems)
        more = f", of which the first {cls.SHOWN} are" if count > cls.SHOWN else ""
        lines = [f"{folder} has {count:,} error{'s' if count != 1 else ''}{more}:"]
        lines += [f"  {each}" for each in problems[: cls.SHOWN]]
        if then and count > cls.SHOWN:
            lines.append(then)
        return cls("\n".join(lines), problems=tuple(problems))


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a manifest; a key whose value is wrong counts as not given."""

    place: str
    """Where it stands, such as `manifest.jsonl:12`."""
    id: str
    audio: str
    """Empty if it is not given."""
    transcript: str | None
    reply: str | None
    images: tuple[str, ...]
    tags: tuple[str, ...]
    conversation: str | None
    index: int
    emotion: Mapping[str, Any] | None
    passages: tuple[str, ...] | None
    scores: Mapping[str, Mapping[str, float]]
    duration_s: float | None
    extra: Mapping[str, Any]


def read_manifest(folder: Path, problems: list[str]) -> list[Row]:
    """The lines that are well formed; what is wrong with the others is added to `problems`.

    Raises InvalidDataset if there is no manifest that can be read.
    """
    path = folder / MANIFEST
    rows: list[Row] = []
    places: dict[str, int] = {}
    try:
        if (size := path.stat().st_size) > LARGEST:
            problems.append(
                f"{MANIFEST} is larger than {LARGEST // 2**20:,} MiB ({size:,} bytes); split it"
            )
            return []
        for number, line in _lines(path):
            if number > MOST_TURNS:
                problems.append(f"{MANIFEST} has more than {MOST_TURNS:,} lines; split it")
                break
            row = _row(f"{MANIFEST}:{number}", line, places, problems)
            if row is not None:
                rows.append(row)
    except OSError as error:
        raise InvalidDataset(
            f"{path} cannot be read ({error.strerror}); a dataset is a folder with a {MANIFEST}. "
            "`turnlab dataset make` makes one of a folder of recordings."
        ) from error
    if not rows and not problems:
        problems.append(f"{MANIFEST} has no turns")
    return rows


def line_of(problem: str) -> int:
    """The line that a problem tells of, 0 for none; problems are told in that order."""
    place = re.match(rf"{re.escape(MANIFEST)}:(\d+): ", problem)
    return int(place[1]) if place else 0


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their number; of one that is too long, its beginning."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            rest = line
            while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
                rest = file.readline(LONGEST_LINE + 1)
            if line.strip():
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _row(place: str, line: bytes, places: dict[str, int], problems: list[str]) -> Row | None:
    try:
        values = parse_object(line)
    except Wrong as error:
        problems.append(f"{place}: {error}")
        return None
    checked, wrong = check_values(values)
    problems += [f"{place}: {each}" for each in wrong]
    checked["id"] = checked["id"] or place
    conversation = checked["conversation"]
    if checked["index"] is None:  # turns of a Conversation come in their order
        checked["index"] = places.get(conversation, 0) if conversation is not None else 0
    if conversation is not None:
        places[conversation] = checked["index"] + 1
    return Row(place=place, extra=extra_of(values), **checked)


def parse_object(line: bytes) -> dict[str, Any]:
    """One JSON object of a line, with nothing in it that JSON cannot say or that gets lost.

    Raises Wrong.
    """
    if len(line) > LONGEST_LINE:
        raise Wrong(f"the line is longer than {LONGEST_LINE // 1024:,} KiB")
    try:
        text = line.decode()
        values = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number
        )
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise Wrong("the line is not UTF-8") from None
    except UnicodeEncodeError:
        raise Wrong("a text holds half a character (a lone surrogate)") from None
    except json.JSONDecodeError as error:
        raise Wrong(f"the line is no JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise Wrong("the line is nested too deeply") from None
    except ValueError as error:
        raise Wrong(f"the line is no JSON ({error!s:.100})") from None
    if not isinstance(values, dict):
        raise Wrong("the line is no JSON object")
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise Wrong(f"the key {shown(name)} is there twice")
        values[name] = value
    return values


def _constant(name: str) -> float:
    raise Wrong(f"{name} is no number of JSON")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Wrong(f"{shown(text)} is too large a number")
    return value
