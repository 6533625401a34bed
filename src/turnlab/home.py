"""The folder that Turnlab keeps its records, its indexes and its secret in."""

from __future__ import annotations

import os
from pathlib import Path


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
