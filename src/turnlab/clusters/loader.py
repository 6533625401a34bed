"""Reads a Cluster from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnlab.clusters.budget import Limit, read_limit, voice_to_voice
from turnlab.clusters.declaration import (
    Cluster,
    Component,
    ComponentType,
    invalid,
    make_cluster,
)
from turnlab.errors import InvalidBudget, InvalidCluster, UnreadableFile

LIMIT_BYTES = 256 * 1024


class _Component(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task: str | None = None
    signal: str | None = None
    name: str | None = None
    params: dict[str, Any] = {}
    after: list[str] = []
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    open: list[str] = []


class _Budget(BaseModel):
    model_config = ConfigDict(extra="forbid")

    voice_to_voice_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    limits: Annotated[list[str], Field(max_length=100)] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    description: str = ""
    budget: _Budget = _Budget()
    component: Annotated[list[_Component], Field(min_length=1)]


def load_cluster(path: Path) -> Cluster:
    """The Cluster that the TOML file at `path` declares, not yet checked against Modules.

    Raises UnreadableFile, or InvalidCluster that names file, place and remedy.
    """
    parsed = _parse(path)
    components = [_component(str(path), number, row) for number, row in enumerate(parsed.component)]
    return make_cluster(
        parsed.name,
        components,
        description=parsed.description,
        budget=_limits(str(path), parsed.budget),
        source=str(path),
    )


def _limits(source: str, budget: _Budget) -> tuple[Limit, ...]:
    """`voice_to_voice_s` first, then the others as written."""
    whole_s = budget.voice_to_voice_s
    first = [] if whole_s is None else [voice_to_voice(whole_s)]
    try:
        return (*first, *map(read_limit, budget.limits))
    except InvalidBudget as error:
        raise InvalidCluster(f"{source}: budget: {error.message}") from error


def _parse(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > LIMIT_BYTES:
        raise InvalidCluster(f"{path} is larger than {LIMIT_BYTES} bytes; it is no Cluster.")
    try:
        return _File.model_validate(tomllib.loads(data.decode()))
    except RecursionError:
        raise InvalidCluster(f"{path} nests too deeply; it is no Cluster.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidCluster(
            f"{path}: {where}: {first['msg']}; see docs/reference/clusters.md."
        ) from error
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise InvalidCluster(f"{path} is not TOML: {error}.") from error


def _component(source: str, number: int, row: _Component) -> Component:
    name = row.name or row.task or row.signal
    if name is None or (row.task is None) == (row.signal is None):
        place = row.name or f"number {number + 1}"
        raise invalid(source, place, "is neither a task nor a signal", "give it one of the two")
    return Component(
        name=name,
        component_type=ComponentType.TASK if row.task else ComponentType.SIGNAL,
        task_name=row.task,
        params=row.params,
        after=tuple(row.after),
        timeout_s=row.timeout_s,
        open=tuple(row.open),
    )
