"""Finds the documents below a folder and opens them without following a way out of it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnlab.errors import (
    DocumentTooLarge,
    InvalidDocument,
    TurnlabError,
    UnreadableFile,
)
from turnlab.retrieval.limits import MIB, Limits
from turnlab.retrieval.readers import READERS


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file that may be a document, or an error in its place."""

    path: Path
    root: Path
    error: TurnlabError | None = None

    @property
    def source(self) -> str:
        """The path relative to the root, with `/`; what UTF-8 cannot hold is replaced."""
        text = self.path.relative_to(self.root).as_posix()
        return text.encode("utf-8", "replace").decode()


def resolve(path: Path) -> Path:
    """The absolute path of a file or folder that is there, without links.

    Raises UnreadableFile.
    """
    try:
        return path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise UnreadableFile(f"There is no file or folder {path}.") from error


def find_documents(path: Path, limits: Limits) -> Iterator[Found]:
    """The documents below a resolved folder, or the file itself, ordered by path.

    Hidden files and folders are passed over, and so are files of other kinds, unless the file
    itself was named. Links to what lies inside the folder are passed over, since that is found
    there; a link that leads out comes with an error, as does what cannot be read.
    Raises DocumentTooLarge if the folder holds more files than `limits`.
    """
    if not path.is_dir():
        known = path.suffix.lower() in READERS
        kinds = ", ".join(READERS)
        error = None if known else InvalidDocument(f"It is none of {kinds}; convert it.")
        yield Found(path=path, root=path.parent, error=error)
        return
    for count, (entry, problem) in enumerate(_entries(path)):
        if count >= limits.files:
            raise DocumentTooLarge(f"{path} holds more than {limits.files:,} files; add its parts.")
        if problem or entry.suffix.lower() in READERS:
            yield Found(path=entry, root=path, error=problem)


def read_document(path: Path, limits: Limits) -> tuple[bytes, str]:
    """The bytes of a document and their SHA-256, in hexadecimal.

    Raises UnreadableFile, InvalidDocument if it is no plain file, DocumentTooLarge.
    """
    try:
        # Not waiting, since to open a pipe would wait for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise InvalidDocument("It is no plain file.")
            data = file.read(limits.document_bytes + 1)
    except OSError as error:
        raise UnreadableFile(f"It cannot be read: {error.strerror}.") from error
    if len(data) > limits.document_bytes:
        most = limits.document_bytes / MIB
        raise DocumentTooLarge(f"It is larger than {most:g} MiB; split it or raise --largest-mib.")
    return data, hashlib.sha256(data).hexdigest()


def _entries(root: Path) -> Iterator[tuple[Path, TurnlabError | None]]:
    """Files below `root`, and links and folders that cannot be followed or read."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield folder, UnreadableFile(f"The folder cannot be read: {error.strerror}.")
            continue
        inner = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                yield from _outward(Path(entry.path), root)
            elif entry.is_dir(follow_symlinks=False):
                inner.append(Path(entry.path))
            else:
                yield Path(entry.path), None
        folders.extend(reversed(inner))


def _outward(link: Path, root: Path) -> Iterator[tuple[Path, TurnlabError]]:
    """The link with an error, if what it stands for would be a document outside of `root`."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return  # leads nowhere
    wanted = target.is_dir() or link.suffix.lower() in READERS
    if wanted and not target.is_relative_to(root):
        yield link, InvalidDocument("It is a link that leads out of the folder; add its target.")
