"""Finds Modules: built in, in a folder of the user's, or installed as a package."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from turnlab import modules
from turnlab.errors import InvalidModule, UnknownModule
from turnlab.modules.base import Module

ENTRY_POINT = "turnlab.modules"


class Registry:
    """The Modules by task_name. Later finds replace built-ins, so that a user may override one."""

    def __init__(self, found: Iterable[type[Module]] = ()) -> None:
        self._modules: dict[str, type[Module]] = {}
        for module in found:
            self.add(module)

    def __iter__(self) -> Iterator[type[Module]]:
        return iter(sorted(self._modules.values(), key=lambda module: module.task_name))

    def __contains__(self, task_name: object) -> bool:
        return task_name in self._modules

    def add(self, module: type[Module]) -> None:
        """Register a Module class. Raises InvalidModule if it is none or has no task_name."""
        if not (isinstance(module, type) and issubclass(module, Module)):
            raise InvalidModule(f"{module!r} is no Module class; name a class or a module.")
        if not module.task_name:
            raise InvalidModule(f"{module.__name__} names no task_name.")
        self._modules[module.task_name] = module

    def get(self, task_name: str) -> type[Module]:
        """The Module that performs `task_name`. Raises UnknownModule."""
        if task_name not in self._modules:
            raise UnknownModule(
                f"No Module performs {task_name!r}; there are {', '.join(sorted(self._modules))}."
            )
        return self._modules[task_name]


def find_modules(folders: Iterable[Path] = ()) -> Registry:
    """All Modules: built-ins, then entry points, then `folders`. Raises InvalidModule."""
    registry = Registry()
    for found in (_built_in(), _installed(), *(_in_folder(Path(f)) for f in folders)):
        for module in found:
            registry.add(module)
    return registry


def _built_in() -> Iterator[type[Module]]:
    for info in pkgutil.iter_modules(modules.__path__):
        if info.name not in ("base", "registry"):
            yield from _defined_in(importlib.import_module(f"{modules.__name__}.{info.name}"))


def _installed() -> Iterator[type[Module]]:
    for entry in entry_points(group=ENTRY_POINT):
        try:
            found = entry.load()
        except Exception as error:
            raise InvalidModule(
                f"The entry point {entry.name!r} ({entry.value}) cannot be loaded: {error}"
            ) from error
        yield from _defined_in(found) if isinstance(found, ModuleType) else [found]


def _in_folder(folder: Path) -> Iterator[type[Module]]:
    if not folder.is_dir():
        raise InvalidModule(f"{folder} is no folder; --modules and TURNLAB_MODULES name folders.")
    seen: dict[str, Path] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        for module in _defined_in(_import_file(path)):
            if module.task_name in seen:
                raise InvalidModule(
                    f"{path} performs {module.task_name}, as {seen[module.task_name]} does; "
                    "give one of them another task_name."
                )
            seen[module.task_name] = path
            yield module


def _import_file(path: Path) -> ModuleType:
    name = f"turnlab_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidModule(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InvalidModule(f"{path} cannot be imported: {error!r}; mend it.") from error
    return module


def _defined_in(module: ModuleType) -> Iterator[type[Module]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, Module) and found.__module__ == module.__name__ and found.task_name:
            yield found
