"""Finds Modules: built in, in a folder of the user's, or installed as a package."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from turnlab import modules
from turnlab.errors import InvalidModule, UnknownModule
from turnlab.modules.base import Module

ENTRY_POINT = "turnlab.modules"

_TASK_NAME = re.compile(r"^\s*task_name\b[^=\n]*=\s*[\"'](\w+)[\"']", re.MULTILINE)
_TESTS = re.compile(r"test_.*|.*_test|conftest")
"""What pytest takes for its own."""


class Registry:
    """The Modules by task_name. Later finds replace built-ins, so that a user may override one."""

    def __init__(self, found: Iterable[type[Module]] = ()) -> None:
        self._modules: dict[str, type[Module]] = {}
        self._unusable: dict[str, InvalidModule] = {}
        self._problems: list[InvalidModule] = []
        for module in found:
            self.add(module)

    def __iter__(self) -> Iterator[type[Module]]:
        return iter(sorted(self._modules.values(), key=lambda module: module.task_name))

    def __contains__(self, task_name: object) -> bool:
        """Whether something claims to perform the task; `get` says so if it cannot be used."""
        return task_name in self._modules or task_name in self._unusable

    @property
    def problems(self) -> tuple[InvalidModule, ...]:
        """What was found and cannot be used: files that fail to import, packages that do."""
        return tuple(self._problems)

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks that something claims to perform, usable or not."""
        return tuple(sorted({*self._modules, *self._unusable}))

    def add(self, module: type[Module]) -> None:
        """Register a Module class. Raises InvalidModule if it is none or has no task_name."""
        if not (isinstance(module, type) and issubclass(module, Module)):
            raise InvalidModule(f"{module!r} is no Module class; name a class or a module.")
        if not module.task_name:
            raise InvalidModule(f"{module.__name__} names no task_name.")
        self._modules[module.task_name] = module
        self._unusable.pop(module.task_name, None)

    def refuse(self, error: InvalidModule, task_names: Iterable[str]) -> None:
        """Note what cannot be used, and that it was meant to perform `task_names`.

        An earlier Module of such a name is not used in its place: the user meant theirs.
        """
        self._problems.append(error)
        for task_name in task_names:
            self._modules.pop(task_name, None)
            self._unusable[task_name] = error

    def get(self, task_name: str) -> type[Module]:
        """The Module that performs `task_name`.

        Raises UnknownModule that names the nearest, or the InvalidModule that keeps the one
        that was meant from being used.
        """
        if task_name in self._unusable:
            raise InvalidModule(self._unusable[task_name].message)
        if task_name not in self._modules:
            near = difflib.get_close_matches(task_name, self._modules, n=1)
            names = ", ".join(sorted(self._modules))
            hint = f"did you mean {near[0]!r}?" if near else f"there are {names}."
            raise UnknownModule(f"No Module performs {task_name!r}; {hint}")
        return self._modules[task_name]


def find_modules(folders: Iterable[Path] = ()) -> Registry:
    """All Modules: built-ins, then entry points, then those in `folders`.

    A file or package that cannot be used is left out and named in the registry's `problems`.
    In one process a file is imported once for each content that it has: as long as it does not
    change, it gives the same classes. Raises InvalidModule if a folder is none.
    """
    registry = Registry(_built_in())
    for entry in entry_points(group=ENTRY_POINT):
        _add_installed(registry, entry)
    for folder in folders:
        _add_folder(registry, Path(folder))
    return registry


def is_test(path: Path) -> bool:
    """Whether the file is a test, by its name; it may lie beside the Modules that it tests."""
    return _TESTS.fullmatch(path.stem) is not None


def _built_in() -> Iterator[type[Module]]:
    for info in pkgutil.iter_modules(modules.__path__):
        if info.name not in ("base", "registry"):
            yield from _defined_in(importlib.import_module(f"{modules.__name__}.{info.name}"))


def _add_installed(registry: Registry, entry: EntryPoint) -> None:
    package = f" of {entry.dist.name}" if entry.dist else ""
    where = f"The entry point {entry.name!r}{package} ({entry.value})"
    try:
        found = entry.load()
        for module in _defined_in(found) if isinstance(found, ModuleType) else [found]:
            registry.add(module)
    except (Exception, SystemExit) as error:
        what = error if isinstance(error, InvalidModule) else repr(error)
        refused = InvalidModule(f"{where} cannot be loaded: {what}; mend or uninstall it.")
        registry.refuse(refused, [entry.name])


def _add_folder(registry: Registry, folder: Path) -> None:
    if not folder.is_dir():
        raise InvalidModule(f"{folder} is no folder; --modules and TURNLAB_MODULES name folders.")
    seen: dict[str, Path] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        if is_test(path):
            continue
        try:
            found = list(_defined_in(_import_file(path)))
        except InvalidModule as error:
            registry.refuse(error, _meant_by(path))
            continue
        for module in found:
            if module.task_name in seen:
                registry.refuse(_twice(path, module, seen), [module.task_name])
            else:
                seen[module.task_name] = path
                registry.add(module)


def _twice(path: Path, module: type[Module], seen: dict[str, Path]) -> InvalidModule:
    return InvalidModule(
        f"{path} performs {module.task_name}, as {seen[module.task_name]} does; "
        "give one of them another task_name."
    )


def _import_file(path: Path) -> ModuleType:
    """The file as a module, named for its content, so that each content is imported once."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidModule(f"{path} cannot be read: {error.strerror}.") from error
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    prefix = f"turnlab_user_{path.stem}_{place}_"
    name = prefix + hashlib.sha256(source).hexdigest()[:12]
    if name not in sys.modules:
        older = [each for each in sys.modules if each.startswith(prefix)]
        sys.modules[name] = _executed(name, path, source)
        for each in older:
            del sys.modules[each]
    return sys.modules[name]


def _executed(name: str, path: Path, source: bytes) -> ModuleType:
    """The module that `source` makes. It is not read through Python's cache of compiled files,
    which would take an edit of the same size and second for the old file."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise InvalidModule(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pydantic and dataclasses look for a class's module
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InvalidModule(f"{path} cannot be imported: {error!r}; mend it.") from error
    return module


def _meant_by(path: Path) -> list[str]:
    """The tasks that a file which cannot be imported names; its own name if it names none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        text = ""
    return _TASK_NAME.findall(text) or [path.stem]


def _defined_in(module: ModuleType) -> Iterator[type[Module]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, Module) and found.__module__ == module.__name__ and found.task_name:
            yield found
