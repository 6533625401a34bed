"""The files of a dataset: found inside its folder only, measured by their headers, hashed whole."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile

from turnlab.audio import MOST_CHANNELS, RATES_HZ
from turnlab.chunks import Image
from turnlab.errors import InvalidImage
from turnlab.pictures import LIMIT_BYTES, check_picture, picture_type

MOST_BYTES = 2**30
"""The largest recording that a dataset may hold: two and a half hours of 16-bit sound at 48 kHz."""

LONGEST_NAME = 1024
"""Characters of a path in a manifest."""

_THREADS = 8
"""Reading headers and hashing wait for the disk and leave the interpreter's lock."""


LENGTH_TOLERANCE_S = 0.05
"""How far a `duration_s` may be from the length of its file; what encoders of MP3 pad is less."""


class Wrong(Exception):
    """Something of a turn cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What a file was found to be."""

    digest: str
    """SHA-256 of its bytes."""
    duration_s: float = 0.0
    """Of a recording."""


class Finder:
    """Finds the files that a manifest names, none of them outside its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = folder.resolve()
        self._parents: dict[str, bool] = {}

    def find(self, name: str) -> Path:
        """The file of that name, relative to the folder. Raises Wrong."""
        check_name(name)
        path = self._folder / name
        try:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                found = path.stat()
                inside = path.resolve().is_relative_to(self._root)
            else:
                inside = self._is_inside(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            raise Wrong(f"there is no file {shown(name)}") from None
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or "its links go round in a circle"
            raise Wrong(f"{shown(name)} cannot be looked for ({why})") from None
        if not stat.S_ISREG(found.st_mode):
            raise Wrong(f"{shown(name)} is no file")
        if not inside:
            raise Wrong(f"{shown(name)} leads out of the folder by a link; copy the file there")
        return path

    def _is_inside(self, parent: Path) -> bool:
        """Asked once a folder, so that thousands of files in it cost one look each."""
        key = str(parent)
        if key not in self._parents:
            self._parents[key] = parent.resolve().is_relative_to(self._root)
        return self._parents[key]


def check_name(name: str) -> None:
    """Raise Wrong unless `name` is a plain relative path that cannot leave its folder."""
    parts = name.split("/")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise Wrong(f"{shown(name)} is not UTF-8; rename the file")
    if not name or len(name) > LONGEST_NAME or any(ord(letter) < 32 for letter in name):
        raise Wrong(f"{shown(name)} is no path; give one relative to the folder")
    if name.startswith("/") or "\\" in name or name[1:2] == ":":
        raise Wrong(f"{shown(name)} is not relative; give a path inside the folder, with /")
    if ".." in parts:
        raise Wrong(f"{shown(name)} leads out of the folder; give a path inside it")


def shown(text: object) -> str:
    """A value of a manifest as a message quotes it: short, and without control characters."""
    quoted = repr(text)
    return quoted if len(quoted) <= 80 else f"{quoted[:77]}..."


def measure_all(paths: Iterable[Path], *, recordings: bool) -> dict[Path, Measures | Wrong]:
    """What each file was found to be, a recording or a picture, or what is wrong with it."""
    measure = measure_recording if recordings else measure_picture

    def measured(path: Path) -> Measures | Wrong:
        try:
            return measure(path)
        except Wrong as error:
            return error
        except OSError as error:
            return Wrong(f"{shown(path.name)} cannot be read ({error.strerror})")

    wanted = list(paths)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        return dict(zip(wanted, threads.map(measured, wanted), strict=True))


def measure_recording(path: Path) -> Measures:
    """Length and digest of a recording by its header. Raises Wrong, OSError."""
    if path.stat().st_size > MOST_BYTES:
        raise Wrong(f"{shown(path.name)} is larger than {MOST_BYTES // 2**20:,} MiB; cut it")
    try:
        header = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError):
        raise Wrong(
            f"{shown(path.name)} is not audio that can be decoded; give WAV, FLAC, OGG or MP3"
        ) from None
    if header.frames <= 0:
        raise Wrong(f"{shown(path.name)} holds no samples; record it again")
    rate, channels = header.samplerate, header.channels
    if not (RATES_HZ[0] <= rate <= RATES_HZ[1] and channels <= MOST_CHANNELS):
        raise Wrong(f"{shown(path.name)} claims {rate} Hz and {channels} channels")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Measures(digest=digest, duration_s=header.frames / rate)


def check_length(name: str, given_s: float | None, found_s: float) -> None:
    """Raise Wrong if the recording `name` is not as long as it is said to be."""
    if given_s is not None and abs(given_s - found_s) > LENGTH_TOLERANCE_S:
        raise Wrong(f"{shown(name)} is {found_s:.3f} s long, not {given_s:g} s")


def measure_picture(path: Path) -> Measures:
    """The digest of a picture that can be decoded. Raises Wrong, OSError."""
    with path.open("rb") as file:
        data = file.read(LIMIT_BYTES + 1)
    try:
        check_picture(Image(data=data, media_type=picture_type(data) or ""))
    except InvalidImage as error:
        raise Wrong(f"{shown(path.name)}: {error.message.rstrip('.')}") from None
    return Measures(digest=hashlib.sha256(data).hexdigest())
