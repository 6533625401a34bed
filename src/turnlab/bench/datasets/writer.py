"""Writes datasets: whole or not at all, and such that they load without an error."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from turnlab.bench.datasets.files import (
    Wrong,
    check_length,
    check_name,
    measure_picture,
    measure_recording,
    shown,
)
from turnlab.bench.datasets.keys import MOST_TURNS, check_values
from turnlab.bench.datasets.manifest import LONGEST_LINE, MANIFEST
from turnlab.errors import InvalidDataset, OutputFailed

LONGEST_PART = 200
"""Bytes of a file's name; with what is put behind it that fits any file system."""


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that stands at `folder` once all went well, and is gone otherwise.

    Nobody else of the machine can look into it, since it may hold people's voices.

    Raises InvalidDataset if there is something in `folder` already, OutputFailed if none can be
    made there, and what the disk raises later.
    """
    folder = Path(folder).absolute()
    is_empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    if (folder.exists() or folder.is_symlink()) and not is_empty:
        raise InvalidDataset(f"{folder} is there already; give a folder that is not.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", dir=folder.parent))
    except OSError as error:
        raise OutputFailed(
            f"{folder} cannot be made: {error.strerror}; choose another place."
        ) from error
    try:
        yield unfinished
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@dataclass(frozen=True)
class Medium:
    """A recording or a picture to be written: the name that it should have, and its content."""

    name: str
    content: bytes | Path


class DatasetWriter:
    """Writes the turns of one dataset into an open folder."""

    def __init__(self, folder: Path, manifest: IO[bytes]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._digests: dict[str, str] = {}
        self._alike: Counter[str] = Counter()
        self._ids: set[str] = set()
        self._places: set[tuple[str, int]] = set()
        self._next: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, values: Mapping[str, Any], audio: Medium, images: Iterable[Medium] = ()) -> None:
        """Write a turn: what its line says (all but the files), its recording and pictures.

        Raises Wrong if the dataset could not be loaded with it.
        """
        if len(self) >= MOST_TURNS:
            raise InvalidDataset(f"A dataset has at most {MOST_TURNS:,} turns; split this one.")
        there = len(self._digests)
        try:
            self._manifest.write(self._line(values, audio, images))
        except Wrong:
            for name in list(self._digests)[there:]:
                del self._digests[name]
                (self._folder / name).unlink()
            raise

    def _line(self, values: Mapping[str, Any], audio: Medium, images: Iterable[Medium]) -> bytes:
        files: dict[str, Any] = {"audio": self._put(audio, "audio")}
        found_s = measure_recording(self._folder / files["audio"]).duration_s
        if names := [self._put(image, "images") for image in images]:
            files["images"] = names
        for name in names:
            measure_picture(self._folder / name)
        line = {"id": values.get("id"), **files, **values}
        line.setdefault("duration_s", round(found_s, 6))
        self._check(line, found_s)
        encoded = _encoded(line)
        self._remember(line)
        return encoded

    def put_file(self, name: str, text: str) -> None:
        """Write a file of text beside the manifest."""
        (self._folder / name).write_text(text, encoding="utf-8")

    def _check(self, line: dict[str, Any], found_s: float) -> None:
        checked, wrong = check_values(line)
        if wrong:
            raise Wrong("; ".join(wrong))
        check_length(line["audio"], checked["duration_s"], found_s)
        if line["id"] in self._ids:
            raise Wrong(f"id: {shown(line['id'])} is that of an earlier turn too")
        if (name := line.get("conversation")) is not None:
            # Behind the others unless it has a place.
            index = line.setdefault("index", self._next[name])
            if (name, index) in self._places:
                raise Wrong(f"index: there is a turn {index} of {shown(name)} already")

    def _remember(self, line: Mapping[str, Any]) -> None:
        self._ids.add(line["id"])
        if (name := line.get("conversation")) is not None:
            self._places.add((name, line["index"]))
            self._next[name] = line["index"] + 1

    def _put(self, medium: Medium, area: str) -> str:
        """Write the content, unless it is there by that name, and return where it lies."""
        digest = _digest(medium.content)
        name = wished = _fitting(medium.name, area)
        while self._is_taken(name, digest):
            self._alike[wished] += 1
            name = self._other_name(wished, area, self._alike[wished] + 1)
        if name not in self._digests:
            self._digests[name] = digest
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(medium.content, Path):
                shutil.copyfile(medium.content, path)
            else:
                path.write_bytes(medium.content)
        return name

    def _is_taken(self, name: str, digest: str) -> bool:
        """Whether something else has that name, or a name that excludes it."""
        if name in self._digests:
            return self._digests[name] != digest
        return (self._folder / name).exists() or self._is_below_a_file(name)

    def _is_below_a_file(self, name: str) -> bool:
        parents = [str(parent) for parent in PurePosixPath(name).parents]
        return any(parent in self._digests for parent in parents)

    def _other_name(self, wished: str, area: str, number: int) -> str:
        pure = PurePosixPath(wished)
        if self._is_below_a_file(wished):
            return f"{area}-{number}/{pure.name}"
        return str(pure.with_name(f"{pure.stem}-{number}{pure.suffix}"))


@contextmanager
def new_dataset(folder: Path) -> Iterator[DatasetWriter]:
    """A writer of the dataset that stands in `folder` once all went well.

    Raises InvalidDataset if there is something in `folder` already or nothing was written.
    """
    with new_folder(folder) as unfinished:
        with (unfinished / MANIFEST).open("xb") as manifest:
            writer = DatasetWriter(unfinished, manifest)
            yield writer
        if not len(writer):
            raise InvalidDataset(f"There are no turns to put into {folder}.")


def _encoded(line: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except ValueError as error:  # a lone surrogate, a number that is none
        raise Wrong(f"it cannot be written as JSON ({error!s:.100})") from None
    if len(text) > LONGEST_LINE:
        raise Wrong(f"what is known of it is more than {LONGEST_LINE // 1024:,} KiB")
    return text


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fitting(name: str, area: str) -> str:
    """`name` if a file of a dataset can have it, else its last part made to fit, in `area`."""
    parts = name.split("/")
    try:
        check_name(name)
        plain = all(part.strip(". ") and len(part.encode()) <= LONGEST_PART for part in parts)
        if plain and name != MANIFEST:
            return name
    except Wrong:
        pass
    last = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in parts[-1])
    kept = last.encode(errors="replace")[-LONGEST_PART:].decode(errors="ignore").strip(".- ")
    return f"{area}/{kept or 'file'}"
