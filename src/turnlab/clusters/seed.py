"""Reads the seed's Python declarations of Clusters as data: nothing in the file is executed.

What is understood is what the seed writes: constants, dicts of them by name, and the table
`CLUSTERS = {NAME: DICT}`. Without that table, a dict is a Cluster if a text `X_NAME` stands
beside it or if it looks like one.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from turnlab.clusters.declaration import Cluster, invalid
from turnlab.errors import InvalidCluster, UnreadableFile

LIMIT_BYTES = 1024 * 1024
LIMIT_VALUES = 100_000
"""Values that may be read in all. Names that name names could otherwise stand for any number."""

LIMIT_DEPTH = 32
"""How deep values may lie in each other."""

TABLE = "CLUSTERS"
_NAME = "_NAME"

Entry = tuple[str, ast.expr, int]
"""A Cluster's name, its expression, and the number of the statement that it stands in."""


@dataclass(frozen=True)
class Declarations:
    """The Clusters that a file declares, and what is worth knowing about how it was read."""

    clusters: tuple[Cluster, ...]
    warnings: tuple[str, ...]


def read_declarations(path: Path) -> Declarations:
    """The Clusters that the Python file at `path` declares.

    Raises UnreadableFile, or InvalidCluster that names file, line and remedy.
    """
    return _Reader(path, _parse(path)).read()


def _parse(path: Path) -> ast.Module:
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > LIMIT_BYTES:
        raise InvalidCluster(f"{path} is larger than {LIMIT_BYTES} bytes; split it.")
    try:
        return ast.parse(data)
    except SyntaxError as error:
        raise InvalidCluster(f"{path}:{error.lineno} is not Python: {error.msg}.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidCluster(f"{path} is not Python that can be read: {error}.") from error


class _Reader:
    """One file. Follows its top-level assignments in order, as running it would."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree
        self.bound: dict[str, list[tuple[int, ast.expr]]] = {}
        """Each name's expressions, with the number of the statement that binds them."""
        self.used: set[str] = set()
        self.others: list[ast.stmt] = []
        self.warnings: list[str] = []
        self.left = LIMIT_VALUES

    def read(self) -> Declarations:
        """Everything that the file declares."""
        for number, statement in enumerate(self.tree.body):
            self._bind(number, statement)
        clusters: dict[str, Cluster] = {}
        for name, node, at in self._table() if TABLE in self.bound else self._alone():
            if name in clusters:
                self._refuse(node, f"{name} is there twice", "leave one of them")
            clusters[name] = self._cluster(name, node, at)
        self._check_others()
        if not clusters:
            remedy = f"write {TABLE} = {{NAME: DICT}} as the seed does"
            raise invalid(str(self.path), None, "declares no Cluster", remedy)
        return Declarations(clusters=tuple(clusters.values()), warnings=tuple(self.warnings))

    def _bind(self, number: int, statement: ast.stmt) -> None:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                self.bound.setdefault(name, []).append((number, value))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case _:
                self.others.append(statement)

    def _table(self) -> Iterator[Entry]:
        """What the table CLUSTERS holds."""
        self.used.add(TABLE)
        at, table = self.bound[TABLE][-1]
        if not isinstance(table, ast.Dict):
            self._refuse(table, f"{TABLE} is no dict", "write {NAME: DICT, ...}")
        for key, value in self._pairs(table):
            yield self._key(key, at), value, at
        for variable, node in self._candidates():
            if variable not in self.used:
                what = f"{variable} is not in {TABLE}; left out"
                self.warnings.append(f"{self.path}:{node.lineno}: {what}")

    def _alone(self) -> Iterator[Entry]:
        """The dicts that are Clusters by themselves."""
        for variable, node in self._candidates():
            self.used.add(variable)
            at, _ = self.bound[variable][-1]
            name = self.bound.get(variable + _NAME)
            yield self._key(name[-1][1], name[-1][0]) if name else variable, node, at

    def _candidates(self) -> Iterator[tuple[str, ast.Dict]]:
        for variable, found in self.bound.items():
            _, node = found[-1]
            named = variable + _NAME in self.bound
            if isinstance(node, ast.Dict) and _looks_like_one(node, named):
                yield variable, node

    def _cluster(self, name: str, node: ast.expr, at: int) -> Cluster:
        node, at = self._follow(node, at)
        if not isinstance(node, ast.Dict):
            self._refuse(node, f"{name} is no dict", "write {COMPONENT: {...}, ...}")
        return Cluster.from_dict(name, self._value(node, at), source=f"{self.path}:{node.lineno}")

    def _value(self, node: ast.expr, at: int, field: str = "", depth: int = 0) -> Any:
        """The plain data that an expression stands for; `field` is the key that it belongs to."""
        self.left -= 1
        if self.left < 0 or depth > LIMIT_DEPTH:
            self._refuse(node, "there is too much in one value", "a Cluster is smaller")
        node, at = self._follow(node, at)
        match node:
            case ast.Constant(value=None | bool() | str() | float() as value):
                return value
            case ast.Constant(value=int() as value) if value < 2**63:
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -self._value(node.operand, at)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item, at, depth=depth + 1) for item in items]
            case ast.Dict():
                return self._dict(node, at, depth + 1)
            case ast.Name(id=name):
                return self._unbound(node, name, field)
        what = f"a {type(node).__name__} is not plain data"
        self._refuse(node, what, "write a constant, a list, a dict or a name of one")

    def _dict(self, node: ast.Dict, at: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in self._pairs(node):
            name = self._key(key, at)
            if name in found:
                self._refuse(key, f"the key {name!r} is there twice", "leave one of them")
            found[name] = self._value(value, at, name, depth)
        return found

    def _pairs(self, node: ast.Dict) -> Iterator[tuple[ast.expr, ast.expr]]:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self._refuse(value, "a dict is unpacked here", "write its entries")
            else:
                yield key, value

    def _key(self, node: ast.expr, at: int) -> str:
        name = self._value(node, at)
        if not isinstance(name, str):
            self._refuse(node, f"the key {name!r} is no text", "write a text")
        return str(name)

    def _follow(self, node: ast.expr, at: int) -> tuple[ast.expr, int]:
        """The expression that a name stands for at statement `at`, through any number of names."""
        while isinstance(node, ast.Name):
            found = self.bound.get(node.id, [])
            earlier = bisect_left(found, at, key=lambda binding: binding[0])
            if not earlier:
                break
            self.used.add(node.id)
            at, node = found[earlier - 1]
        return node, at

    def _unbound(self, node: ast.Name, name: str, field: str) -> str:
        """The demonstration in the seed's documentation writes `"task_name": image2text`."""
        if field != "task_name" or any(name in _bound_by(other) for other in self.others):
            self._refuse(node, f"{name} is not data of this file", "write the value itself")
        what = f"{name} is not defined; read as the text {name!r}"
        self.warnings.append(f"{self.path}:{node.lineno}: {what}")
        return name

    def _check_others(self) -> None:
        """Refuse statements that may change a Cluster, tell of those that were passed over."""
        lines = []
        for other in self.others:
            if isinstance(other, (ast.Import, ast.ImportFrom, ast.FunctionDef)):
                continue
            mentioned = {n.id for n in ast.walk(other) if isinstance(n, ast.Name)} & self.used
            if mentioned:
                what = f"this would change {', '.join(sorted(mentioned))} if it were run"
                self._refuse(other, what, "write it into the dict itself")
            lines.append(str(other.lineno))
        if lines:
            shown = ", ".join(lines[:8]) + (f" and {len(lines) - 8} more" if lines[8:] else "")
            self.warnings.append(f"{self.path}: nothing is run; passed over what begins in {shown}")

    def _refuse(self, node: ast.expr | ast.stmt, problem: str, remedy: str) -> NoReturn:
        raise InvalidCluster(f"{self.path}:{node.lineno}: {problem}; {remedy}.")


def _looks_like_one(node: ast.Dict, named: bool) -> bool:
    """Whether it maps names to dicts, which have an order unless a text names the Cluster."""
    return bool(node.values) and all(
        (named and isinstance(value, ast.Name))
        or (isinstance(value, ast.Dict) and (named or "order" in map(_constant, value.keys)))
        for value in node.values
    )


def _constant(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _bound_by(statement: ast.stmt) -> set[str]:
    """The names that a statement other than a plain assignment gives a meaning."""
    match statement:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(alias.asname or alias.name).partition(".")[0] for alias in names}
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
    names_in = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names_in if isinstance(node.ctx, ast.Store)}
