"""What a Cluster is: an ordered list of Components, from TOML or from the seed's Python dicts."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from turnlab.clusters.budget import VOICE_TO_VOICE, Limit
from turnlab.errors import InvalidCluster
from turnlab.tracks import CLUSTER_NAME

COMPLETED = "completed_"

SIGNALS = (
    "created_data_text",
    *(
        f"{end}_{what}"
        for what in ("task", "track")
        for end in ("completed", "failed", "cancelled")
    ),
)
"""The signals that are sent whatever Modules there are; see turnlab.server.signals."""

RESERVED = frozenset({"init", "user", "listener"})
"""What the chain's beginning and the two ends of a turn are called; no Component may be."""


class ComponentType(StrEnum):
    """A `task` is work for a Module, a `signal` is a hook in the Router."""

    TASK = "task"
    SIGNAL = "signal"


@dataclass(frozen=True, kw_only=True)
class Component:
    """One step of a Cluster. `params` are what the seed calls extra_params."""

    name: str
    component_type: ComponentType = ComponentType.TASK
    task_name: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Components that must have completed first, beside those that it reads from."""
    timeout_s: float | None = None
    """How long its Task may take; None for the Module's own limit."""
    open: tuple[str, ...] = ()
    """Parameters that any client of a server may choose for its own turns."""

    @property
    def is_task(self) -> bool:
        """Whether a Module performs it."""
        return self.component_type is ComponentType.TASK


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A named pipeline, its Components in the order in which they are chained."""

    name: str
    components: tuple[Component, ...]
    description: str = ""
    budget: tuple[Limit, ...] = ()
    """What it is held to; no part of what it does."""
    source: str = ""
    """The file that declares it, for messages."""

    @classmethod
    def from_dict(
        cls, name: str, mapping: Mapping[str, Mapping[str, Any]], source: str | None = None
    ) -> Cluster:
        """A Cluster from a Python dict of the seed: component name to its description.

        Components are chained by `order`, equal orders as they are written. `source` is what
        messages call the place of the dict, by default its name. Raises InvalidCluster that
        names the component and what would satisfy it.
        """
        source = source or name
        rows = sorted(mapping.items(), key=lambda row: _order(source, *row))
        return make_cluster(name, [_from_seed(source, *row) for row in rows], source=source)

    def component(self, name: str) -> Component | None:
        """The Component of that name; `completed_X` and `X` mean each other where only one is."""
        by_name = {component.name: component for component in self.components}
        bare = name.removeprefix(COMPLETED)
        return by_name.get(name) or by_name.get(bare) or by_name.get(COMPLETED + bare)

    @property
    def budget_s(self) -> float | None:
        """The strictest limit of its budget on `voice_to_voice.p95` in seconds, if any."""
        found = [each.bound for each in self.budget if each.metric == VOICE_TO_VOICE and each.upper]
        return min(found, default=None)

    @property
    def content_hash(self) -> str:
        """SHA-256 over everything that changes what the Cluster does, as 64 hex digits."""
        rows = [
            [c.name, c.component_type, c.task_name, dict(c.params), c.after, c.timeout_s]
            for c in self.components
        ]
        text = json.dumps([self.name, rows], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def make_cluster(name: str, components: Iterable[Component], **fields: Any) -> Cluster:
    """A Cluster whose names are well formed and distinct, in order. Raises InvalidCluster."""
    found = list(components)
    source = str(fields.get("source") or name)
    if not CLUSTER_NAME.fullmatch(name):
        raise invalid(source, None, f"cannot be named {name!r}", "use 1 to 128 of A-Z a-z 0-9 _")
    if not any(component.is_task for component in found):
        raise invalid(source, None, "has no task", "give it at least one [[component]]")
    seen: set[str] = set()
    for component in found:
        if not component.name:
            raise invalid(source, None, "has a component without a name", "give it one")
        if component.name in RESERVED:
            raise invalid(source, component.name, "has a reserved name", "give it another name")
        if component.name in seen:
            raise invalid(source, component.name, "is there twice", "give one another name")
        seen.add(component.name)
    return Cluster(name=name, components=_ordered(source, found), **fields)


def check_signals(cluster: Cluster, tasks: Collection[str]) -> None:
    """Raise InvalidCluster if a signal Component is one that nobody ever sends.

    There are `SIGNALS`, and `completed_X` for each X of `tasks` (those that some Module
    performs) and each task Component of the Cluster.
    """
    own = [c for c in cluster.components if c.is_task]
    known = {*tasks, *(c.task_name or "" for c in own), *(_bare(c.name) for c in own)}
    sent = [*SIGNALS, *sorted(COMPLETED + task for task in known)]
    for component in cluster.components:
        if not component.is_task and component.name not in sent:
            near = difflib.get_close_matches(component.name, sent, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sent)}"
            source = cluster.source or cluster.name
            raise invalid(source, component.name, "is a signal that nobody sends", remedy)


def _bare(name: str) -> str:
    return name.removeprefix(COMPLETED)


def invalid(source: str, component: str | None, problem: str, remedy: str) -> InvalidCluster:
    """The error that names file, component and remedy."""
    where = f"{source}: component {component!r}" if component else source
    end = "" if remedy.endswith("?") else "."
    return InvalidCluster(f"{where} {problem}; {remedy}{end}", component=component)


def _order(cluster: str, name: str, value: object) -> float:
    if not isinstance(value, Mapping):
        raise invalid(cluster, name, "is no mapping", "write it as the seed does")
    order = value.get("order")
    if isinstance(order, bool) or not isinstance(order, (int, float)) or math.isnan(order):
        raise invalid(cluster, name, "has no order", "give it a number")
    return order


def _from_seed(cluster: str, name: str, value: Mapping[str, Any]) -> Component:
    unknown = set(value) - {"order", "extra_params", "component_type", "task_name", "after"}
    if unknown:
        raise invalid(cluster, name, f"has {sorted(unknown)}", "the seed knows no such key")
    try:
        component_type = ComponentType(value.get("component_type", "task"))
    except ValueError:
        raise invalid(cluster, name, "is of no known type", "write 'task' or 'signal'") from None
    task_name = value.get("task_name")
    if component_type is ComponentType.TASK and not (task_name and isinstance(task_name, str)):
        raise invalid(cluster, name, "has no task_name", "name the task that it performs")
    params = value.get("extra_params") or {}
    if not isinstance(params, Mapping):
        raise invalid(cluster, name, "has extra_params that are no mapping", "write {} for none")
    after = value.get("after") or ()
    if not isinstance(after, (list, tuple)):
        raise invalid(cluster, name, "has an after that is no list", "write [] for none")
    return Component(
        name=name,
        component_type=component_type,
        task_name=task_name if component_type is ComponentType.TASK else None,
        params=dict(params),
        after=tuple(after),
    )


def _ordered(source: str, components: list[Component]) -> tuple[Component, ...]:
    """As written, except that a Component follows those that its `after` names."""
    names = {component.name for component in components if component.is_task}
    for component in components:
        for other in component.after:
            if other not in names:
                remedy = f"name one of {', '.join(sorted(names))}"
                raise invalid(source, component.name, f"comes after {other!r}", remedy)
    ordered: list[Component] = []
    waiting = list(components)
    while waiting:
        placed = {component.name for component in ordered}
        ready = next((c for c in waiting if placed.issuperset(c.after)), None)
        if ready is None:
            raise invalid(source, waiting[0].name, "comes after itself", "break the circle")
        waiting.remove(ready)
        ordered.append(ready)
    return tuple(ordered)
