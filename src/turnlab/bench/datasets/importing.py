"""Datasets made of what the Hugging Face `datasets` library keeps on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soundfile

from turnlab.bench.datasets.columns import Columns, plan_columns, values_of
from turnlab.bench.datasets.files import Finder, Wrong
from turnlab.bench.datasets.keys import LONGEST_ID
from turnlab.bench.datasets.make import PICTURES, RECORDINGS
from turnlab.bench.datasets.manifest import DatasetProblems
from turnlab.bench.datasets.sources import Source, open_source
from turnlab.bench.datasets.writer import Medium, new_dataset
from turnlab.pictures import picture_type

SOURCE_INFO = "huggingface.json"
"""What the library says of the source: its features, description, licence and citation."""


def import_dataset(
    folder: Path,
    out: Path,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    drop: Collection[str] = (),
) -> int:
    """Make a dataset in `out` of the one in `folder`; how many turns it has.

    `columns` says by key of the manifest which column it is, an empty one meaning none; `drop`
    names columns to leave out. What no key takes is kept in `extra`.

    Raises InvalidDataset, whose `problems` are all rows that cannot be taken; InvalidRequest for
    a column that is not there; MissingPackage without the extra [datasets].
    """
    source = open_source(folder, split)
    plan = plan_columns(source.kinds, columns or {}, drop)
    reader = _Reader(source, plan)
    problems: list[str] = []
    with new_dataset(out) as writer:
        for number, row in enumerate(source.rows(), 1):
            try:
                writer.add(*reader.turn(number, row))
            except Wrong as error:
                problems.append(f"row {number}: {error}")
        if problems:
            raise DatasetProblems.of(source.folder, problems)
        if source.info and not plan.own:
            writer.put_file(SOURCE_INFO, json.dumps(source.info, indent=2) + "\n")
    return len(writer)


@dataclass
class _Reader:
    source: Source
    columns: Columns
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.finder = Finder(self.source.folder)
        features = self.source.info.get("features")
        self.labels = dict(_labels(features if isinstance(features, dict) else {}))

    def turn(self, number: int, row: dict[str, Any]) -> tuple[dict[str, Any], Medium, list[Medium]]:
        """What is to be written of a row. Raises Wrong."""
        row = {name: self._named(name, value) for name, value in row.items()}
        values = values_of(row, self.columns)
        audio = self._medium(row.get(self.columns.keys["audio"]), f"{number:06d}", "audio")
        shown = row.get(self.columns.keys.get("images", ""))
        pictures = shown if isinstance(shown, list) else [] if shown is None else [shown]
        images = [
            self._medium(each, f"{number:06d}-{place}", "images")
            for place, each in enumerate(pictures, 1)
        ]
        values.setdefault("id", self._new_id(number, audio))
        return values, audio, images

    def _named(self, name: str, value: Any) -> Any:
        """The label that a number of a ClassLabel stands for."""
        labels = self.labels.get(name)
        is_number = labels and isinstance(value, int) and 0 <= value < len(labels)
        return labels[value] if labels and is_number else value

    def _new_id(self, number: int, audio: Medium) -> str:
        stem = PurePosixPath(audio.name).stem
        fits = stem.isprintable() and len(stem) <= LONGEST_ID and stem not in self.ids
        name = stem if fits else f"row-{number}"
        self.ids.add(name)
        return name

    def _medium(self, value: Any, name: str, area: str) -> Medium:
        """A sound or picture from its bytes, its samples, or the path of a file beside it."""
        if isinstance(value, str):
            return Medium(self._place(value, area), self.finder.find(value))
        if isinstance(value, bytes):
            value = {"bytes": value}
        if not isinstance(value, dict):
            raise Wrong(f"{area}: there is none")
        path = value.get("path") if isinstance(value.get("path"), str) else None
        data = value.get("bytes")
        if data is None and value.get("array") is not None:
            data = _wav(value["array"], value.get("sampling_rate"))
        if data is None and path:
            return Medium(self._place(path, area), self.finder.find(path))
        if not isinstance(data, bytes):
            raise Wrong(f"{area}: it has neither bytes nor a path")
        suffixes = RECORDINGS if area == "audio" else PICTURES
        if not path or not path.lower().endswith(suffixes):
            path = (path or name) + _suffix(data, area)
        return Medium(self._place(path, area), data)

    def _place(self, path: str, area: str) -> str:
        """As it was in an export of Turnlab's own, else by its last part."""
        return path if self.columns.own else f"{area}/{path.rpartition('/')[2]}"


def _labels(features: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name, feature in features.items():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            if isinstance(names, list) and all(isinstance(each, str) for each in names):
                yield name, names


def _suffix(data: bytes, area: str) -> str:
    """By its content, since it has no name of its own; a WAVEX is a WAV."""
    if area == "images":
        return f".{(picture_type(data) or 'image/bin').partition('/')[2]}"
    try:
        format_ = str(soundfile.info(io.BytesIO(data)).format)
        return "." + format_.lower().removesuffix("ex")
    except (soundfile.LibsndfileError, RuntimeError):
        raise Wrong("audio: its bytes are not audio that can be decoded") from None


def _wav(samples: Any, rate: Any) -> bytes:
    """Samples as the library decodes them (floats, mono), without a loss."""
    if not isinstance(rate, int) or not isinstance(samples, list):
        raise Wrong("audio: an array of samples needs a sampling_rate")
    file = io.BytesIO()
    try:
        array = np.asarray(samples, dtype=np.float64)
        exact = np.array_equal(array, array.astype(np.float32))
        subtype = "FLOAT" if exact else "DOUBLE"
        soundfile.write(file, array, rate, subtype=subtype, format="WAV")
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError) as error:
        raise Wrong(f"audio: its samples cannot be written ({error!s:.100})") from None
    return file.getvalue()
