"""Where a user's files lie, and which of them may run code.

Python files and pickled models are code: whoever can write one can do on this machine what the
user can. A Cluster file may come from anywhere, so it cannot say that such a file is to be trusted;
the machine's owner does, by naming folders in `TURNLAB_CODE`.
"""

from __future__ import annotations

import os
from pathlib import Path

from turnlab.errors import InvalidParams, MissingModel, TurnlabError

VARIABLE = "TURNLAB_CODE"
"""Names the folders whose files may run code, separated as in PATH."""

CODE = frozenset({".py", ".joblib", ".pkl", ".pickle"})
"""Files that run code when they are loaded, by their endings."""


def find_file(given: str) -> Path:
    """The real path of a file that may be used.

    A relative path is looked for in the working directory, then in the folders of `TURNLAB_CODE`.
    Raises MissingModel if there is none, InvalidParams if it is code and lies in no such folder.
    """
    folders = _folders()
    for base in (Path(), *folders):
        path = (base / Path(given).expanduser()).resolve()
        if path.is_file():
            return _checked(given, path)
    places = ", ".join(["the working directory", *(str(folder) for folder in folders)])
    raise MissingModel(f"There is no file {given} (looked in {places}); give its path.")


def missing_file(given: str) -> list[str]:
    """Why the file cannot be used; empty if it can."""
    try:
        find_file(given)
    except TurnlabError as error:
        return [error.message]
    return []


def trusted(path: Path) -> bool:
    """Whether the machine's owner lets what lies at this real path run code."""
    return any(path.is_relative_to(folder) for folder in _folders())


def _checked(given: str, path: Path) -> Path:
    if path.suffix.lower() in CODE and not trusted(path):
        raise InvalidParams(
            f"{given} runs code when it is loaded, and lies in no folder that you trust with "
            f"that: set {VARIABLE} to its folder if you do ({VARIABLE}={path.parent})."
        )
    return path


def _folders() -> list[Path]:
    named = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [Path(folder).expanduser().resolve() for folder in named if folder]
