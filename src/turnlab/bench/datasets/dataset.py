"""Datasets: turns to replay, with references where they are known, in a folder with a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnlab.audio import open_recording
from turnlab.bench.datasets.files import Finder, Measures, Wrong, check_length, measure_all, shown
from turnlab.bench.datasets.manifest import DatasetProblems, Row, line_of, read_manifest
from turnlab.errors import InvalidDataset, TurnlabError
from turnlab.turns.voice_activity import VoiceActivity


@dataclass(frozen=True, kw_only=True)
class DatasetTurn:
    """A recording, what goes with it, and what is known of it; see docs/reference/datasets.md."""

    id: str
    audio: Path
    """Absolute."""
    transcript: str | None = None
    """What is said, as a reference; None if it is not known."""
    reply: str | None = None
    """A reply that would be right."""
    images: tuple[Path, ...] = ()
    tags: tuple[str, ...] = ()
    conversation: str | None = None
    """Turns that share it are one Conversation, in the order of `index`."""
    index: int = 0
    emotion: Mapping[str, Any] | None = None
    """What the speaker feels, such as `{"label": "joy"}`."""
    passages: tuple[str, ...] | None = None
    """Names of sources that answer it."""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What people think of `reply`: by person, then by criterion."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the manifest that Turnlab gives no meaning to, as they stand there."""
    duration_s: float = 0.0
    """Length of the recording, by its header."""


@dataclass(frozen=True)
class Dataset:
    """A folder of turns that was checked."""

    folder: Path
    name: str
    turns: tuple[DatasetTurn, ...]
    content_hash: str
    """SHA-256 of all that a Cluster or a metric reads, bytes of recordings and pictures included;
    the order of turns, names of files, `tags` and `extra` are no part of it."""

    @classmethod
    def load(cls, folder: Path, *, quick: bool = False, speech: bool = False) -> Dataset:
        """Read and check the dataset in `folder`.

        Recordings are not decoded: their headers are read, their bytes hashed. With `quick` files
        are looked for but not opened: `content_hash` is empty and `duration_s` what the manifest
        says, 0 if nothing. With `speech` each recording is decoded, and one without a voice is an
        error.

        Raises InvalidDataset; all that is wrong is in its `problems`.
        """
        folder = Path(folder).absolute()
        if not folder.is_dir():
            raise InvalidDataset(f"There is no folder {folder}; give that of a dataset.")
        problems: list[str] = []
        rows = read_manifest(folder, problems)
        _check_unique(rows, problems)
        found = _find_files(folder, rows, problems)
        measured = {} if quick else _measure(rows, found, problems)
        if speech:
            _check_speech(rows, found, problems)
        if problems:
            then = f"`turnlab dataset check {folder}` lists them all."
            raise DatasetProblems.of(folder, sorted(problems, key=line_of), then)
        turns = tuple(_turn(row, found, measured) for row in rows)
        digest = "" if quick else _content_hash(turns, measured)
        return cls(folder=folder, name=folder.resolve().name, turns=turns, content_hash=digest)

    @property
    def duration_s(self) -> float:
        """Seconds of all recordings together."""
        return sum(turn.duration_s for turn in self.turns)


def _check_unique(rows: list[Row], problems: list[str]) -> None:
    ids: dict[str, str] = {}
    places: dict[tuple[str, int], str] = {}
    for row in rows:
        if (first := ids.setdefault(row.id, row.place)) != row.place:
            problems.append(f"{row.place}: id: {shown(row.id)} is that of {first} too")
        if row.conversation is None:
            continue
        key = (row.conversation, row.index)
        if (first := places.setdefault(key, row.place)) != row.place:
            problems.append(
                f"{row.place}: index: {first} is turn {row.index} of {shown(row.conversation)} too"
            )


def _names(row: Row) -> list[tuple[str, str]]:
    """The files of a turn, each with its key."""
    audio = [("audio", row.audio)] if row.audio else []
    return audio + [("images", name) for name in row.images]


def _find_files(folder: Path, rows: list[Row], problems: list[str]) -> dict[str, Path]:
    """The files by their names in the manifest; what cannot be found is a problem."""
    finder = Finder(folder)
    found: dict[str, Path] = {}
    for row in rows:
        for key, name in _names(row):
            try:
                found[name] = found.get(name) or finder.find(name)
            except Wrong as error:
                problems.append(f"{row.place}: {key}: {error}")
    return found


_Measured = dict[tuple[str, Path], Measures]
"""By key of the manifest and file: the same file may wrongly be named as both."""


def _measure(rows: list[Row], found: dict[str, Path], problems: list[str]) -> _Measured:
    """What each file is; what is wrong with one, and lengths that differ, are problems."""
    named = [(row, key, found[name]) for row in rows for key, name in _names(row) if name in found]
    recordings = dict.fromkeys(path for _, key, path in named if key == "audio")
    pictures = dict.fromkeys(path for _, key, path in named if key == "images")
    results = {
        "audio": measure_all(recordings, recordings=True),
        "images": measure_all(pictures, recordings=False),
    }
    measured: _Measured = {}
    for row, key, path in named:
        match results[key][path]:
            case Wrong() as error:
                problems.append(f"{row.place}: {key}: {error}")
            case Measures() as measures:
                measured[key, path] = measures
                if key == "audio":
                    _check_length(row, measures.duration_s, problems)
    return measured


def _check_length(row: Row, found_s: float, problems: list[str]) -> None:
    try:
        check_length(row.audio, row.duration_s, found_s)
    except Wrong as error:
        problems.append(f"{row.place}: duration_s: {error}")


def _check_speech(rows: list[Row], found: dict[str, Path], problems: list[str]) -> None:
    detector = VoiceActivity()
    for row in rows:
        if row.audio in found:
            try:
                open_recording(found[row.audio], detector, measure=False)
            except TurnlabError as error:
                problems.append(f"{row.place}: audio: {error.message}")


def _turn(row: Row, found: dict[str, Path], measured: _Measured) -> DatasetTurn:
    audio = found[row.audio]
    measures = measured.get(("audio", audio))
    return DatasetTurn(
        id=row.id,
        audio=audio,
        transcript=row.transcript,
        reply=row.reply,
        images=tuple(found[name] for name in row.images),
        tags=row.tags,
        conversation=row.conversation,
        index=row.index,
        emotion=row.emotion,
        passages=row.passages,
        scores=row.scores,
        extra=row.extra,
        duration_s=measures.duration_s if measures else row.duration_s or 0.0,
    )


def _content_hash(turns: tuple[DatasetTurn, ...], measured: _Measured) -> str:
    digest = hashlib.sha256()
    for turn in sorted(turns, key=lambda turn: turn.id):
        known = {
            "id": turn.id,
            "audio": measured["audio", turn.audio].digest,
            "images": [measured["images", path].digest for path in turn.images],
            "transcript": turn.transcript,
            "reply": turn.reply,
            "conversation": turn.conversation,
            "index": turn.index,
            "emotion": turn.emotion,
            "passages": turn.passages,
            "scores": turn.scores,
        }
        digest.update(json.dumps(known, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


__all__ = ["Dataset", "DatasetProblems", "DatasetTurn"]
