"""Writes a Cluster as the TOML that `load_cluster` reads back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turnlab.clusters.budget import Limit, voice_to_voice
from turnlab.clusters.declaration import Cluster, Component, invalid
from turnlab.clusters.loader import LIMIT_BYTES


def to_toml(cluster: Cluster, note: str = "") -> str:
    """The Cluster as TOML, led by `note` as a comment; it loads back to an equal Cluster.

    Raises InvalidCluster if a parameter is something that TOML cannot hold, such as None, or if
    the file would be larger than `load_cluster` takes.
    """
    lines = [f"# {line}".rstrip() for line in note.splitlines()]
    lines.append(f"name = {_text(cluster.name)}")
    if cluster.description:
        lines.append(f"description = {_text(cluster.description)}")
    if cluster.budget:
        lines += ["", "[budget]", *_budget(cluster.budget)]
    for component in cluster.components:
        lines += ["", "[[component]]", *_rows(cluster, component)]
    written = "\n".join(lines) + "\n"
    if len(written.encode()) > LIMIT_BYTES:
        raise invalid(cluster.source or cluster.name, None, "is too large", "shorten its texts")
    return written


def _budget(limits: Sequence[Limit]) -> Iterator[str]:
    """A leading limit that `voice_to_voice_s` stands for is written so."""
    first, rest = limits[0], limits[1:]
    if first.bound > 0 and first == voice_to_voice(first.bound):
        yield f"voice_to_voice_s = {_value(first.bound)}"
    else:
        rest = limits
    if rest:
        yield f"limits = {_value([limit.text for limit in rest])}"


def _rows(cluster: Cluster, component: Component) -> Iterator[str]:
    try:
        if component.is_task:
            yield f"task = {_text(component.task_name or '')}"
            if component.name != component.task_name:
                yield f"name = {_text(component.name)}"
        else:
            yield f"signal = {_text(component.name)}"
        if component.params:
            yield f"params = {_value(component.params)}"
        if component.after:
            yield f"after = {_value(list(component.after))}"
        if component.timeout_s is not None:
            yield f"timeout_s = {_value(component.timeout_s)}"
        if component.open:
            yield f"open = {_value(list(component.open))}"
    except _Unwritable as error:
        source = cluster.source or cluster.name
        problem = f"has a parameter that TOML cannot hold, {error}"
        raise invalid(source, component.name, problem, "leave it out or change it") from error


class _Unwritable(ValueError):
    """TOML has no such value."""


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() if -(2**63) <= value < 2**63:  # what every TOML reader takes
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            pairs = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
    raise _Unwritable("None" if value is None else f"a value of type {type(value).__name__}")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise _Unwritable(f"the key {key!r}")
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _line(key)


def _text(text: str) -> str:
    """A string, over several lines where the text has them."""
    rows = text.split("\n")
    if len(rows) == 1:
        return _line(text)
    joined = "\n".join(_line(row)[1:-1] for row in rows)
    return f'"""\n{joined}"""'


def _line(text: str) -> str:
    """A string on one line. JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unwritable(f"the text {text[:60]!r}") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
