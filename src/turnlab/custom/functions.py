"""Loads one function out of a user's Python file."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from turnlab.custom.files import SCRIPTS, require_ending
from turnlab.errors import MissingModel, ModuleFailed


def load_function(path: Path, name: str) -> Callable[..., Any]:
    """The function `name` of the file at `path`, which has been checked (`find_file`).

    Raises MissingModel if it has none of that name, ModuleFailed if it cannot be imported,
    InvalidParams if it is no Python file.
    """
    require_ending(path, SCRIPTS)
    module = _imported(path)
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        names = [n for n, f in inspect.getmembers(module, inspect.isfunction) if n[0] != "_"]
        has = f"it has {', '.join(names)}" if names else "it has none"
        raise MissingModel(f"{path.name} has no function {name}; {has}.")
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise MissingModel(f"{name} of {path.name} is async; write it without, it has a thread.")
    return found


def _imported(path: Path) -> ModuleType:
    """The file as a module of its own name, where dataclasses and pickles look for it.

    It is not read through Python's cache of compiled files, which would take an edit of the same
    size and second for the old file.
    """
    name = f"turnlab_custom_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModuleFailed(f"{path.name} cannot be imported: {error!r:.500}; mend it.") from error
    return module
