"""The secret that Django signs with."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from turnlab.home import home_folder, make_folder

SECRET_FILE = "secret_key"


def secret_key() -> str:
    """`$TURNLAB_SECRET_KEY`, else the key in the home folder, made on first use. Raises OSError."""
    if chosen := os.environ.get("TURNLAB_SECRET_KEY"):
        return chosen
    path = home_folder() / SECRET_FILE
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def _write_once(path: Path, text: str) -> None:
    """Write a file of mode 0600 that appears whole; of two writers the first one wins."""
    make_folder(path.parent)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
