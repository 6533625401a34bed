"""Where a user's files lie, and which of them may run code.

Python files and pickled models are code: whoever can write one can do on this machine what the
user can. A Cluster file may come from anywhere, so it cannot say that such a file is to be trusted;
the machine's owner does, by naming folders in `TURNLAB_CODE`. What a file is shows in the name that
it has where it really lies: that of a link says nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from turnlab.errors import InvalidParams, MissingModel, TurnlabError
from turnlab.packaged import looked_for

VARIABLE = "TURNLAB_CODE"
"""Names the folders whose files may run code, separated as in PATH."""

DATA = (".onnx", ".skops")
"""Endings of the files that run no code when they are loaded; all others might."""

PICKLES = (".joblib", ".pickle", ".pkl")

MODELS = (*DATA, *PICKLES)

SCRIPTS = (".py",)


def find_file(given: str, endings: Collection[str]) -> Path:
    """The real path of a file that may be used, whose name there ends in one of `endings`.

    A relative path is looked for in the working directory, then in the folders of `TURNLAB_CODE`.
    Raises MissingModel if there is none, InvalidParams if it is of another ending, or may run code
    and lies in no such folder.
    """
    folders = trusted_folders()
    for base in (Path(), *folders):
        with looked_for(given):
            path = (base / Path(given).expanduser()).resolve()
            there = path.is_file()
        if there:
            return _checked(given, path, endings)
    places = ", ".join(["the working directory", *(str(folder) for folder in folders)])
    raise MissingModel(f"There is no file {given} (looked in {places}); give its path.")


def missing_file(given: str, endings: Collection[str]) -> list[str]:
    """Why the file cannot be used; empty if it can."""
    try:
        find_file(given, endings)
    except TurnlabError as error:
        return [error.message]
    return []


def state_of(given: str, endings: Collection[str]) -> str:
    """A text that changes with the file: another one or an edit; empty while it cannot be used."""
    try:
        path = find_file(given, endings)
        found = path.stat()
    except (OSError, TurnlabError):
        return ""
    return f"{path} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def digest_of(given: str, endings: Collection[str]) -> str:
    """SHA-256 of the file that would be used. Raises MissingModel, InvalidParams."""
    with looked_for(given), find_file(given, endings).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_ending(path: Path, endings: Collection[str]) -> None:
    """Raise InvalidParams unless the file's own name ends in one of `endings`."""
    if path.suffix.lower() not in endings:
        raise InvalidParams(
            f"{path.name} in {path.parent} cannot be loaded, as its own name does not end in "
            f"{' or '.join(endings)}; rename it, or name another file."
        )


def trusted(path: Path) -> bool:
    """Whether the machine's owner lets what lies at this real path run code."""
    return any(path.is_relative_to(folder) for folder in trusted_folders())


def trusted_folders() -> list[Path]:
    """The real paths of the folders that `TURNLAB_CODE` names. Raises InvalidParams."""
    named = os.environ.get(VARIABLE, "").split(os.pathsep)
    try:
        return [Path(folder).expanduser().resolve() for folder in named if folder]
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidParams(
            f"{VARIABLE} names a folder that cannot be looked for ({error}); set it to others."
        ) from error


def _checked(given: str, path: Path, endings: Collection[str]) -> Path:
    require_ending(path, endings)
    if path.suffix.lower() not in DATA and not trusted(path):
        raise InvalidParams(
            f"{given} runs code when it is loaded, and lies in no folder that you trust with "
            f"that: set {VARIABLE} to its folder if you do ({VARIABLE}={path.parent})."
        )
    return path
