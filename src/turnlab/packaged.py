"""Model files that come inside installed packages, found without importing the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from turnlab.errors import MissingModel


def installed(package: str) -> bool:
    """Whether `package` can be imported; it is not imported for the answer."""
    return find_spec(package) is not None


def packaged(package: str, *parts: str) -> Path | None:
    """The path of a file or folder that `package` ships, None if it is not there."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, *parts)
        if path.exists():
            return path
    return None


def model_path(given: str | None, package: str, parts: tuple[str, ...], install: str) -> Path:
    """The local path that was given, or the one in `package`.

    Raises MissingModel that says what to install (`install`, a pip command's arguments).
    """
    if given is not None:
        with looked_for(given):
            path = Path(given).expanduser()
            there = path.exists()
        if not there:
            raise MissingModel(f"There is no model at {path}; give the path of one that is there.")
        return path
    found = packaged(package, *parts)
    if found is None:
        raise MissingModel(
            f"The default model is not installed: pip install {install}; or give a local path."
        )
    return found


@contextmanager
def looked_for(given: str) -> Iterator[None]:
    """Have a path that Python or the system refuses, such as `~nobody/x`, raise MissingModel."""
    try:
        if "\0" in given:  # which some of pathlib takes for a file that is not there
            raise ValueError("no path holds a NUL")
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingModel(
            f"{given[:200]!r} cannot be looked for ({error!s:.300}); give the path of one that is."
        ) from error
