"""The folder that Turnlab keeps its records in, and the secret that lies there."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

_SECRET_FILE = "secret_key"


def home_folder() -> Path:
    """`$TURNLAB_HOME`, else `turnlab` in the user's data folder; it need not exist yet."""
    if chosen := os.environ.get("TURNLAB_HOME"):
        return Path(chosen).expanduser().absolute()
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():  # the XDG specification has relative paths ignored
        data = Path("~/.local/share").expanduser()
    return data / "turnlab"


def make_folder(folder: Path) -> None:
    """Make the folder for this user alone, where it is missing. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def secret_key() -> str:
    """`$TURNLAB_SECRET_KEY`, else the key in the home folder, made on first use. Raises OSError."""
    if chosen := os.environ.get("TURNLAB_SECRET_KEY"):
        return chosen
    path = home_folder() / _SECRET_FILE
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
